// A gRPC health server and a client that asks it again and again.
package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	pb "google.golang.org/grpc/health/grpc_health_v1"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer()
	pb.RegisterHealthServer(server, health.NewServer())
	go server.Serve(listener)
	connection, err := grpc.Dial(listener.Addr().String(), grpc.WithInsecure(), grpc.WithBlock())
	if err != nil {
		panic(err)
	}
	client := pb.NewHealthClient(connection)
	for number := 0; ; number++ {
		service := ""
		if number%5 == 4 {
			service = "unknown"
		}
		_, err := client.Check(context.Background(), &pb.HealthCheckRequest{Service: service})
		fmt.Println(err == nil)
		time.Sleep(50 * time.Millisecond)
	}
}
