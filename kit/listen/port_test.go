package listen_test

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"orderflow.example/kit/listen"
)

func TestWhoeverObservesIsToldOfAPort(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	var told []string
	ctx := listen.Observe(t.Context(), func(name, address string) { told = append(told, name, address) })
	l, err := listen.Port(ctx, "API", "127.0.0.1", 0, 10, log)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if len(told) != 2 || told[0] != "API" || told[1] != l.Addr().String() {
		t.Fatal(told)
	}
	accepted := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, err = io.WriteString(conn, "hello")
			_ = conn.Close()
		}
		accepted <- err
	}()
	conn, err := net.Dial("tcp", told[1])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if text, err := io.ReadAll(conn); err != nil || string(text) != "hello" || <-accepted != nil {
		t.Error(string(text), err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if _, err := listen.Port(ctx, "API", "127.0.0.1", port, 10, log); err == nil || !strings.HasPrefix(err.Error(), "API_HOST and API_PORT: ") || len(told) != 2 {
		t.Error(err, told)
	}
}
