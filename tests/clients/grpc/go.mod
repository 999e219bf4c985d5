module lastcall.dev/grpc

go 1.25.0

require google.golang.org/grpc v1.83.0
