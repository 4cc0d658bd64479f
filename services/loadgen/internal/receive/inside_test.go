package receive

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/services/loadgen/internal/receive/faults"
	"orderflow.example/services/loadgen/internal/receive/memory"
)

// The order is the same, whichever way it is written.
func TestAnOrderIsFoundInEveryShape(t *testing.T) {
	t.Parallel()
	want := memory.Webhook{ID: "x", Order: memory.Order{ID: 7, Created: 1_767_815_283_123_456}, Data: memory.DataOf([4]string{"Ada", "Lamp", "2", "9.5"})}
	for _, body := range []string{
		`{"order_id":7,"customer_name":"Ada","product_name":"Lamp","quantity":2,"price":9.50,"created_at":"2026-01-07T19:48:03.123456+00:00"}`,
		`{"type":"order","timestamp":"2026-01-08T00:00:00Z","data":{"order_id":7,"customer_name":"Ada","product_name":"Lamp","quantity":2,"price":9.5,"created_at":"2026-01-07T19:48:03.123456Z"}}`,
		`{"type":"order","data":{"id":7,"customer_name":"Ada","product_name":"Lamp","quantity":2.0,"price":"9.5","created_at":"2026-01-07T20:48:03.123456+01:00","attempts":{}}}`,
	} {
		if got := read("x", []byte(body)); got != want {
			t.Errorf("%s\n%+v, want %+v", body, got, want)
		}
	}
	seen := map[memory.Data]string{}
	for _, body := range []string{``, `{}`, `[]`, `null`, `{"data":{"order_id":"seven"}}`, `{"data":{"order_id":1e30}}`, `{"data":[{"order_id":7}]}`, `{"order_id":7`} {
		got := read("x", []byte(body))
		if got.Order != (memory.Order{}) || seen[got.Data] != "" {
			t.Errorf("%q is about %+v, and looks like %q", body, got.Order, seen[got.Data])
		}
		seen[got.Data] = body
	}
}

func TestFaultsAreOrderedFromThisMachineOrWithAToken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		admins, from, header string
		want                 bool
	}{
		{"", "127.0.0.1:1", "", true},
		{"", "[::1]:1", "", true},
		{"", "10.0.0.1:1", "", false},
		{"", "10.0.0.1:1", "Bearer ", false},
		{"one,two", "10.0.0.1:1", "Bearer two", true},
		{"one,two", "10.0.0.1:1", "Bearer one,two", false},
		{"one", "10.0.0.1:1", "Bearer ", false},
		{"one", "10.0.0.1:1", "one", false},
		{"one", "10.0.0.1:1", "Basic one", false},
	} {
		req := &http.Request{RemoteAddr: c.from, Header: http.Header{"Authorization": {c.header}}}
		if got := (&control{admins: c.admins}).allowed(req); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// alone is a receiver without a memory and without keys, for what comes before these.
func alone() *receiver {
	return &receiver{
		plan: faults.NewPlan(faults.Set{}, 0, 1), maxBody: 1 << 10, slowest: slowest, room: make(chan struct{}, 1), log: slog.New(slog.DiscardHandler),
		counts: map[string]int64{}, ordered: map[string]int64{},
	}
}

// Who sends a head and no body is answered at some time, and the connection closed: he takes up one of the places for webhooks.
func TestABodyThatDoesNotComeIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	r := alone()
	r.slowest = time.Millisecond
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	for method, status := range map[string]string{"POST": "400", "PUT": "405"} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, err = io.WriteString(conn, method+" / HTTP/1.1\r\nHost: receiver\r\nContent-Length: 5\r\n\r\n")
		if err = errors.Join(err, conn.SetDeadline(time.Now().Add(await.Limit()))); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 "+status+" ") {
			t.Errorf("%s: %q, %v", method, answer, err)
		}
	}
	if byResult, _ := r.tallies(); byResult[resultUnreadable] != 1 {
		t.Errorf("%v", byResult)
	}
}

// A receiver that can remember nothing more does not stay: its port is closed, and it ends with an error.
func TestAReceiverWhoseMemoryHasFailedLeaves(t *testing.T) {
	t.Parallel()
	r := alone()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := &presence{handler: r, host: "127.0.0.1", log: r.log}
	if err := p.come(ctx); err != nil {
		t.Fatal(err)
	}
	failed, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- r.serve(ctx, p, failed) }()
	close(failed)
	if err := await.Value(t, "the receiver has ended", ended); err == nil || !strings.Contains(err.Error(), "the state file cannot be written") {
		t.Error(err)
	}
	if conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.address); err == nil {
		_ = conn.Close()
		t.Error("the port is still open")
	}
}
