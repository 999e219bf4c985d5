// Go's gRPC, as a server (`grpc-go serve`: prints its port, ends with its standard input) and as a client
// (`grpc-go http://HOST:PORT`, or https: prints one JSON line). Messages are bytes as they are, so nothing has
// to be generated.
package main

import (
	"fmt"
	"os"
)

const service = "lastcall.Test"

// raw is the codec of messages that are bytes.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(value any) ([]byte, error) {
	message, ok := value.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("%T is no message", value)
	}
	return *message, nil
}

func (raw) Unmarshal(data []byte, value any) error {
	message, ok := value.(*[]byte)
	if !ok {
		return fmt.Errorf("%T is no message", value)
	}
	*message = append([]byte(nil), data...)
	return nil
}

func main() {
	if os.Args[1] == "serve" {
		serve()
		return
	}
	drive(os.Args[1])
}
