module values

go 1.25
