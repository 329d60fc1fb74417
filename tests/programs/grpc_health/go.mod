module grpc_health

go 1.21
