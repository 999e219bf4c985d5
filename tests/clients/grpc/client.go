package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const limit = 20 * time.Second

var connection *grpc.ClientConn

func random(length int) []byte {
	message := make([]byte, length)
	if _, err := rand.Read(message); err != nil {
		panic(err)
	}
	return message
}

func within(time time.Duration, pairs ...string) (context.Context, context.CancelFunc) {
	ctx := metadata.AppendToOutgoingContext(context.Background(), pairs...)
	return context.WithTimeout(ctx, time)
}

func call(ctx context.Context, name string, message []byte, options ...grpc.CallOption) ([]byte, error) {
	var answer []byte
	err := connection.Invoke(ctx, "/"+service+"/"+name, &message, &answer, options...)
	return answer, err
}

func stream(ctx context.Context, name string) (grpc.ClientStream, error) {
	description := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	return connection.NewStream(ctx, description, "/"+service+"/"+name)
}

func equal(seen, expected []byte) error {
	if !bytes.Equal(seen, expected) {
		return fmt.Errorf("%.40q in place of %.40q", seen, expected)
	}
	return nil
}

func echoed(message []byte) error {
	ctx, cancel := within(limit)
	defer cancel()
	answer, err := call(ctx, "Unary", message)
	if err != nil {
		return err
	}
	return equal(answer, message)
}

func unaryCall() error { return echoed([]byte("hello")) }

func metadataBothWays() error {
	data := string(random(256))
	ctx, cancel := within(limit, "x-say", "a word", "x-data-bin", data)
	defer cancel()
	var before, after metadata.MD
	if _, err := call(ctx, "Unary", []byte("a"), grpc.Header(&before), grpc.Trailer(&after)); err != nil {
		return err
	}
	for _, one := range []struct {
		seen metadata.MD
		name string
	}{{before, "x-said"}, {after, "x-after"}} {
		if fmt.Sprint(one.seen.Get(one.name)) != "[a word]" || fmt.Sprint(one.seen.Get("x-data-bin")) != "["+data+"]" {
			return fmt.Errorf("%s: %v", one.name, one.seen)
		}
	}
	return nil
}

// all sends the messages, ends its direction, and reads every answer.
func all(ctx context.Context, name string, messages [][]byte) ([][]byte, error) {
	open, err := stream(ctx, name)
	if err != nil {
		return nil, err
	}
	sent := make(chan error, 1)
	go func() {
		for _, message := range messages {
			// Its error is that of the reading.
			if err := open.SendMsg(&message); err != nil {
				break
			}
		}
		sent <- open.CloseSend()
	}()
	answers, err := rest(open)
	if err == nil {
		err = <-sent
	}
	return answers, err
}

func rest(open grpc.ClientStream) ([][]byte, error) {
	var answers [][]byte
	for {
		var answer []byte
		err := open.RecvMsg(&answer)
		if errors.Is(err, io.EOF) {
			return answers, nil
		}
		if err != nil {
			return answers, err
		}
		answers = append(answers, answer)
	}
}

func clientStream() error {
	ctx, cancel := within(limit)
	defer cancel()
	var pieces [][]byte
	for range 100 {
		pieces = append(pieces, random(10_000))
	}
	answers, err := all(ctx, "Up", pieces)
	if err != nil {
		return err
	}
	return equal(bytes.Join(answers, []byte("|")), bytes.Join(pieces, nil))
}

func serverStream() error {
	ctx, cancel := within(limit)
	defer cancel()
	answers, err := all(ctx, "Down", [][]byte{[]byte("300 2000")})
	if err != nil || len(answers) != 300 {
		return fmt.Errorf("%d messages: %w", len(answers), err)
	}
	for number, answer := range answers {
		if err := equal(answer, bytes.Repeat([]byte{byte(number)}, 2000)); err != nil {
			return err
		}
	}
	return nil
}

// inTurns sends a message when the one before was answered: nothing may be held back.
func inTurns() error {
	ctx, cancel := within(limit)
	defer cancel()
	open, err := stream(ctx, "Both")
	if err != nil {
		return err
	}
	for number := range 50 {
		message, answer := []byte(strconv.Itoa(number)), []byte(nil)
		if err := open.SendMsg(&message); err != nil {
			return err
		}
		if err := open.RecvMsg(&answer); err != nil {
			return err
		}
		if err := equal(answer, message); err != nil {
			return err
		}
	}
	if err := open.CloseSend(); err != nil {
		return err
	}
	_, err = rest(open)
	return err
}

func everyStatus() error {
	for code := codes.Code(1); code <= 16; code++ {
		ctx, cancel := within(limit, "x-status", strconv.Itoa(int(code)))
		_, first := call(ctx, "Unary", []byte("a"))
		// After some messages, in trailers.
		_, second := all(ctx, "Down", [][]byte{[]byte("2 5")})
		cancel()
		for _, err := range []error{first, second} {
			seen := status.Convert(err)
			if seen.Code() != code || seen.Message() != "as asked: grüße" {
				return fmt.Errorf("%v in place of %v", err, code)
			}
		}
	}
	return nil
}

// how asks the server of a call that waited, until what it says begins so.
func how(name []byte, begins string) (string, error) {
	ctx, cancel := within(limit)
	defer cancel()
	for {
		said, err := call(ctx, "Ended", name)
		if err != nil {
			return "", err
		}
		if strings.HasPrefix(string(said), begins) {
			return string(said), nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func deadline() error {
	// Server, client and what is between them each have a clock; whichever is first, it is the deadline that is over.
	name := []byte(fmt.Sprintf("%x", random(16)))
	ctx, cancel := within(1500 * time.Millisecond)
	_, err := call(ctx, "Wait", name)
	cancel()
	if status.Code(err) != codes.DeadlineExceeded {
		return fmt.Errorf("ended with %w", err)
	}
	said, err := how(name, "over")
	if err != nil {
		return err
	}
	left, err := strconv.Atoi(strings.TrimPrefix(said, "over "))
	if err != nil || left <= 0 || left > 1500 {
		return fmt.Errorf("the server had %q", said)
	}
	return nil
}

func canceled() error {
	name := []byte(fmt.Sprintf("%x", random(16)))
	ctx, cancel := within(limit)
	defer cancel()
	over := make(chan error, 1)
	go func() {
		_, err := call(ctx, "Wait", name)
		over <- err
	}()
	waits := make(chan error, 1)
	go func() {
		_, err := how(name, "waits")
		waits <- err
	}()
	select {
	case err := <-over:
		return fmt.Errorf("it did not wait: %w", err)
	case err := <-waits:
		if err != nil {
			return err
		}
	}
	cancel()
	if err := <-over; status.Code(err) != codes.Canceled {
		return fmt.Errorf("ended with %w", err)
	}
	_, err := how(name, "over")
	return err
}

func large() error {
	message := random(4 << 20)
	if err := echoed(message); err != nil {
		return err
	}
	ctx, cancel := within(limit)
	defer cancel()
	answers, err := all(ctx, "Both", [][]byte{message, message, message})
	if err != nil || len(answers) != 3 {
		return fmt.Errorf("%d messages: %w", len(answers), err)
	}
	return equal(bytes.Join(answers, nil), bytes.Repeat(message, 3))
}

func many() error {
	over := make(chan error)
	for number := range 100 {
		go func() { over <- echoed(bytes.Repeat([]byte(strconv.Itoa(number)), 1000)) }()
	}
	var failed []error
	for range 100 {
		failed = append(failed, <-over)
	}
	return errors.Join(failed...)
}

func drive(target string) {
	scheme, address, _ := strings.Cut(target, "://")
	secure := insecure.NewCredentials()
	if scheme == "https" {
		var err error
		if secure, err = credentials.NewClientTLSFromFile(os.Getenv("SSL_CERT_FILE"), ""); err != nil {
			panic(err)
		}
	}
	var err error
	// What fails is to be seen, not tried again by the client.
	connection, err = grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(secure),
		grpc.WithDisableRetry(), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{}), grpc.MaxCallRecvMsgSize(1<<30)))
	if err != nil {
		panic(err)
	}
	results := map[string]string{}
	for name, check := range map[string]func() error{
		"unary": unaryCall, "metadata": metadataBothWays, "clientStream": clientStream,
		"serverStream": serverStream, "both": inTurns, "status": everyStatus, "deadline": deadline,
		"cancel": canceled, "large": large, "many": many,
	} {
		results[name] = "ok"
		if err := check(); err != nil {
			results[name] = err.Error()
		}
	}
	line, err := json.Marshal(map[string]any{"client": "grpc-go", "checks": results})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}
