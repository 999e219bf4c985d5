// Drives Go's net/http through the base URL; prints one JSON line. With LASTCALL_HTTP=2 it speaks HTTP/2.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"sync/atomic"
	"time"
)

var (
	base    = os.Args[1]
	body    = make([]byte, 3_000_000)
	version = 1
	client  = &http.Client{Timeout: 20 * time.Second}
)

func transport() *http.Transport {
	protocols := new(http.Protocols)
	if os.Getenv("LASTCALL_HTTP") == "2" {
		version = 2
		protocols.SetHTTP2(true)
		protocols.SetUnencryptedHTTP2(true)
	} else {
		protocols.SetHTTP1(true)
	}
	// Without a 100 the request would not be sent before the client gives up.
	return &http.Transport{
		ExpectContinueTimeout: time.Minute, DisableCompression: true, Protocols: protocols,
	}
}

func sum(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

// send returns the whole answer.
func send(request *http.Request) (*http.Response, []byte, error) {
	answer, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != 200 {
		err = fmt.Errorf("status %d", answer.StatusCode)
	}
	if err == nil && answer.ProtoMajor != version {
		err = fmt.Errorf("by %s", answer.Proto)
	}
	return answer, got, err
}

func get(path string) (*http.Request, error) { return http.NewRequest("GET", base+path, nil) }

// chunked hides the length, so that net/http has to send chunks.
func chunked() io.Reader { return struct{ io.Reader }{bytes.NewReader(body)} }

func download(query string) error {
	request, err := get("/bytes?n=2000000" + query)
	if err != nil {
		return err
	}
	answer, got, err := send(request)
	if err != nil {
		return err
	}
	if len(got) != 2_000_000 || sum(got) != answer.Header.Get("X-Sha256") {
		return fmt.Errorf("%d bytes, wrong or too few", len(got))
	}
	return nil
}

type said struct {
	Length             int
	Sha256             string
	Chunked, Continued bool
	Trailers           map[string]string
}

func upload(content io.Reader, change func(*http.Request)) (said, error) {
	var heard said
	request, err := http.NewRequest("POST", base+"/upload", content)
	if err != nil {
		return heard, err
	}
	change(request)
	_, got, err := send(request)
	if err != nil {
		return heard, err
	}
	if err := json.Unmarshal(got, &heard); err != nil {
		return heard, err
	}
	if heard.Length != len(body) || heard.Sha256 != sum(body) {
		return heard, fmt.Errorf("the server has read %d bytes, wrong or too few", heard.Length)
	}
	return heard, nil
}

func uploadPlain() error {
	_, err := upload(bytes.NewReader(body), func(*http.Request) {})
	return err
}

func uploadChunked() error {
	heard, err := upload(chunked(), func(*http.Request) {})
	if err == nil && !heard.Chunked && os.Getenv("LASTCALL_BEHIND") != "2" {
		err = fmt.Errorf("the chunks did not arrive as chunks")
	}
	return err
}

func continues() error {
	heard, err := upload(bytes.NewReader(body), func(request *http.Request) {
		request.Header.Set("Expect", "100-continue")
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
		_ = cancel // It ends with the process.
		*request = *request.WithContext(ctx)
	})
	if err == nil && !heard.Continued {
		err = fmt.Errorf("the server did not see Expect")
	}
	return err
}

func requestTrailers() error {
	heard, err := upload(chunked(), func(request *http.Request) {
		request.Trailer = http.Header{"X-Checked": []string{"yes"}}
	})
	if err == nil && heard.Trailers["x-checked"] != "yes" {
		err = fmt.Errorf("the trailer did not arrive: %v", heard.Trailers)
	}
	return err
}

func trailers() error {
	request, err := get("/trailers")
	if err != nil {
		return err
	}
	request.Header.Set("TE", "trailers")
	if version == 1 {
		request.Header.Set("Connection", "TE")
	}
	answer, got, err := send(request)
	if err != nil {
		return err
	}
	if answer.Trailer.Get("X-Sha256") != sum(got) {
		return fmt.Errorf("trailers %v", answer.Trailer)
	}
	return nil
}

func echo() error {
	request, err := http.NewRequest("POST", base+"/echo", chunked())
	if err != nil {
		return err
	}
	_, got, err := send(request)
	if err == nil && !bytes.Equal(got, body) {
		err = fmt.Errorf("%d bytes, wrong or too few", len(got))
	}
	return err
}

func many() error {
	opened := 0
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if !info.Reused {
			opened++
		}
	}}
	client.CloseIdleConnections()
	for i := 0; i < 200; i++ {
		request, err := get("/bytes?n=1000")
		if err != nil {
			return err
		}
		request = request.WithContext(httptrace.WithClientTrace(request.Context(), trace))
		answer, got, err := send(request)
		if err != nil {
			return err
		}
		if sum(got) != answer.Header.Get("X-Sha256") {
			return fmt.Errorf("request %d: wrong body", i)
		}
	}
	if opened != 1 {
		return fmt.Errorf("%d connections for 200 requests", opened)
	}
	return nil
}

// concurrent sends 100 requests at once, of HTTP/2 on the connection that is there.
func concurrent() error {
	var opened atomic.Int32
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if !info.Reused {
			opened.Add(1)
		}
	}}
	over := make(chan error)
	for i := range 100 {
		go func() {
			request, err := get(fmt.Sprintf("/bytes?n=%d", 1000+i))
			if err != nil {
				over <- err
				return
			}
			request = request.WithContext(httptrace.WithClientTrace(request.Context(), trace))
			answer, got, err := send(request)
			if err == nil && (len(got) != 1000+i || sum(got) != answer.Header.Get("X-Sha256")) {
				err = fmt.Errorf("request %d: wrong body", i)
			}
			over <- err
		}()
	}
	var failed []error
	for range 100 {
		failed = append(failed, <-over)
	}
	if count := opened.Load(); version == 2 && count > 1 {
		failed = append(failed, fmt.Errorf("%d connections", count))
	}
	return errors.Join(failed...)
}

// rolling uploads, eight at once, as long as the file is there.
func rolling(file string) error {
	piece := body[:20_000]
	uploads := func() error {
		for count := 0; ; count++ {
			if _, err := os.Stat(file); err != nil && count > 0 {
				return nil
			}
			request, err := http.NewRequest("POST", base+"/upload?wait=20", bytes.NewReader(piece))
			if err != nil {
				return err
			}
			// Without it net/http may not try again what failed.
			request.GetBody = nil
			_, got, err := send(request)
			if err != nil {
				return fmt.Errorf("upload %d: %w", count, err)
			}
			var heard said
			if err := json.Unmarshal(got, &heard); err != nil || heard.Sha256 != sum(piece) {
				return fmt.Errorf("upload %d: the server has read %d bytes (%w)", count, heard.Length, err)
			}
		}
	}
	over := make(chan error)
	for range 8 {
		go func() { over <- uploads() }()
	}
	var failed []error
	for range 8 {
		failed = append(failed, <-over)
	}
	return errors.Join(failed...)
}

func main() {
	client.Transport = transport()
	if _, err := rand.Read(body); err != nil {
		panic(err)
	}
	type check struct {
		name string
		run  func() error
	}
	checks := []check{
		{"download", func() error { return download("") }},
		{"downloadChunked", func() error { return download("&chunked") }},
		{"upload", uploadPlain},
		{"uploadChunked", uploadChunked},
		{"echo", echo},
		{"trailers", trailers},
		{"requestTrailers", requestTrailers},
		{"continue", continues},
		{"many", many},
		{"concurrent", concurrent},
	}
	if file := os.Getenv("LASTCALL_ROLLING"); file != "" {
		checks = []check{{"rolling", func() error { return rolling(file) }}}
	}
	results := map[string]string{}
	for _, check := range checks {
		results[check.name] = "ok"
		if err := check.run(); err != nil {
			results[check.name] = err.Error()
		}
	}
	line, err := json.Marshal(map[string]any{"client": "go", "checks": results})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}
