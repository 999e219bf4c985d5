package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// ended says of each call that waited whether it waits still, or what time it had.
var ended sync.Map

// tell says back what metadata came, before and after the messages; ends with the status that is asked for.
func tell(stream grpc.ServerStream) error {
	came, _ := metadata.FromIncomingContext(stream.Context())
	if said := came.Get("x-say"); len(said) > 0 {
		data := came.Get("x-data-bin")[0]
		if err := stream.SendHeader(metadata.Pairs("x-said", said[0], "x-data-bin", data)); err != nil {
			return err
		}
		stream.SetTrailer(metadata.Pairs("x-after", said[0], "x-data-bin", data))
	}
	if code := came.Get("x-status"); len(code) > 0 {
		number, err := strconv.Atoi(code[0])
		if err != nil {
			return err
		}
		return status.Error(codes.Code(number), "as asked: grüße")
	}
	return nil
}

// one reads the one message of a call and answers it.
func one(answer func(grpc.ServerStream, []byte) ([]byte, error)) grpc.StreamHandler {
	return func(_ any, stream grpc.ServerStream) error {
		var message []byte
		if err := stream.RecvMsg(&message); err != nil {
			return err
		}
		said, err := answer(stream, message)
		if err != nil {
			return err
		}
		return stream.SendMsg(&said)
	}
}

func unary(stream grpc.ServerStream, message []byte) ([]byte, error) { return message, tell(stream) }

// each reads every message, until the client has ended its direction.
func each(stream grpc.ServerStream, message func([]byte) error) error {
	for {
		var came []byte
		err := stream.RecvMsg(&came)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = message(came)
		}
		if err != nil {
			return err
		}
	}
}

func up(_ any, stream grpc.ServerStream) error {
	var whole []byte
	err := each(stream, func(piece []byte) error {
		whole = append(whole, piece...)
		return nil
	})
	if err == nil {
		err = tell(stream)
	}
	if err != nil {
		return err
	}
	return stream.SendMsg(&whole)
}

// down answers `count size` with so many messages of so many bytes, each of its own number.
func down(_ any, stream grpc.ServerStream) error {
	var message []byte
	if err := stream.RecvMsg(&message); err != nil {
		return err
	}
	var count, size int
	if _, err := fmt.Sscan(string(message), &count, &size); err != nil {
		return err
	}
	for number := 0; number < count; number++ {
		piece := make([]byte, size)
		for at := range piece {
			piece[at] = byte(number)
		}
		if err := stream.SendMsg(&piece); err != nil {
			return err
		}
	}
	return tell(stream)
}

func both(_ any, stream grpc.ServerStream) error {
	err := each(stream, func(message []byte) error { return stream.SendMsg(&message) })
	if err != nil {
		return err
	}
	return tell(stream)
}

// wait answers when the call is over, and remembers what time it had.
func wait(stream grpc.ServerStream, message []byte) ([]byte, error) {
	left := "-"
	if deadline, some := stream.Context().Deadline(); some {
		left = strconv.FormatInt(time.Until(deadline).Milliseconds(), 10)
	}
	ended.Store(string(message), "waits")
	<-stream.Context().Done()
	ended.Store(string(message), "over "+left)
	return nil, context.Cause(stream.Context())
}

func howItEnded(_ grpc.ServerStream, message []byte) ([]byte, error) {
	said, known := ended.Load(string(message))
	if !known {
		return []byte("unknown"), nil
	}
	return []byte(said.(string)), nil
}

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	description := grpc.ServiceDesc{ServiceName: service, HandlerType: (*any)(nil)}
	for name, handler := range map[string]grpc.StreamHandler{
		"Unary": one(unary), "Up": up, "Down": down, "Both": both, "Wait": one(wait), "Ended": one(howItEnded),
	} {
		description.Streams = append(description.Streams, grpc.StreamDesc{
			StreamName: name, Handler: handler, ServerStreams: true, ClientStreams: true,
		})
	}
	server := grpc.NewServer(grpc.ForceServerCodec(raw{}), grpc.MaxRecvMsgSize(1<<30))
	server.RegisterService(&description, nil)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	panic(server.Serve(listener))
}
