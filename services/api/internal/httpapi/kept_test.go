package httpapi

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"orderflow.example/kit/listen"
	"orderflow.example/services/api/internal/metrics"
)

// newServer is a server whose orders are written at once, and which has nothing to read.
func newServer() *Server {
	return New(Config{
		Writer: instant{}, Monitor: alwaysUp{}, Observer: metrics.New("test"), Log: slog.New(slog.DiscardHandler),
		RequestTimeout: time.Second, BodyLimit: 1 << 20, OrderBodyLimit: 1 << 10, BodyBudget: 8 << 20,
	})
}

// serve lets a server answer until the test ends, and returns where.
func serve(t *testing.T, s *Server) (address string) {
	t.Helper()
	ln, err := listen.TCP(t.Context(), "127.0.0.1:0", 100, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// A connection may be kept for longer than an answer may take. What the next request is answered by others than its route (to go on, or that
// it is refused) arrives all the same.
func TestAnAnswerLongAgoDoesNotSilenceAConnection(t *testing.T) {
	t.Parallel()
	s := newServer()
	s.app.Server().ConnState = func(c net.Conn, state fasthttp.ConnState) {
		if state == fasthttp.StateIdle { // the time for the answer is over, as it is half a minute later
			if err := c.SetWriteDeadline(time.Unix(1, 0)); err != nil {
				t.Error(err)
			}
		}
	}
	address := serve(t, s)

	const order = `{"customer_name":"Customer 1","product_name":"Product 1","quantity":2,"price":11.0}`
	head := "POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	sized := head + "Content-Length: " + strconv.Itoa(len(order)) + "\r\n"
	for name, test := range map[string]struct {
		request string
		want    int
		body    string // sent when it may be
	}{
		"another order":                {sized + "\r\n" + order, http.StatusCreated, ""},
		"an order that waits":          {sized + "Expect: 100-continue\r\n\r\n", http.StatusContinue, order},
		"a body that is too large":     {head + "Content-Length: 1025\r\n\r\n", http.StatusRequestEntityTooLarge, ""},
		"headers that are":             {"GET /orders HTTP/1.1\r\nX: " + strings.Repeat("x", maxHead) + "\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge, ""},
		"no HTTP":                      {"GET /orders HTTP/2\r\n\r\n", http.StatusBadRequest, ""},
		"a host that fasthttp refuses": {"GET /livez HTTP/1.1\r\nHost: [\r\n\r\n", http.StatusBadRequest, ""},
	} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewReader(conn)
		exchange := func(request string) int {
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return 0
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			return resp.StatusCode
		}
		if got := exchange(sized + "\r\n" + order); got != http.StatusCreated {
			t.Errorf("%s: the one before is answered %d", name, got)
		}
		if got := exchange(test.request); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		} else if test.body != "" {
			if got := exchange(test.body); got != http.StatusCreated {
				t.Errorf("%s: and then %d", name, got)
			}
		}
		_ = conn.Close()
	}
}

// Should a target come through that the HTTP server finds another path in, or should it learn to find one in what it reads well today, the
// request is refused: nothing is routed by a path that a proxy has not seen.
func TestNothingIsRoutedByAnotherPathThanItsTargetHas(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"//orders/livez?x=://", "//livez?x=://", "///livez?x=://"} {
		s := newServer()
		s.app.Server().HeaderReceived = func(h *fasthttp.RequestHeader) (keep fasthttp.RequestConfig) {
			h.SetRequestURI(target)
			return keep
		}
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", serve(t, s))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusBadRequest || !resp.Close {
			t.Errorf("%s: %d, closing: %t", target, resp.StatusCode, resp.Close)
		}
		_ = resp.Body.Close()
		_ = conn.Close()
	}
}
