package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"orderflow.example/services/api/internal/testdb"
)

// stuck is a client that asks for a large answer, and reads its head only.
func stuck(t *testing.T, s *service, request string) *http.Response {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp //nolint:bodyclose // it is not to be read
}

// Large answers that their clients do not take have the same budget as large requests. When it is used up, others are told to come
// again: before anything is written for them.
func TestLargeAnswersAreBounded(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	// Room for one answer of a thousand orders, not for two.
	s := started(t, map[string]string{"DATABASE_URL": db, "BODY_LIMIT": "100KiB", "BODY_BUDGET": "1500KiB", "REQUEST_TIMEOUT": "20s"})
	one := `{"customer_name":"` + strings.Repeat("c", 180) + `","product_name":"` + strings.Repeat("p", 180) + `","quantity":1,"price":1}`
	batch := func(n int) string { return `{"orders":[` + strings.Repeat(one+",", n-1) + one + `]}` }
	for range 10 {
		if a := s.post(t, "/orders/batch", batch(100)); a.status != http.StatusCreated {
			t.Fatalf("got %d %s", a.status, a.body)
		}
	}
	const list = "GET /orders?limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n"
	if first := stuck(t, s, list); first.StatusCode != http.StatusOK {
		t.Fatalf("the first: %s", first.Status)
	}
	// It came while the first one was not slow yet, or took its room; either way there is none for two.
	if a := s.get(t, "/orders?limit=10"); a.status != http.StatusOK {
		t.Errorf("a small answer: %d %s", a.status, a.body)
	}
	refused := 0
	for range 20 {
		resp := stuck(t, s, list)
		if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "" {
			refused++
		} else if resp.StatusCode != http.StatusOK {
			t.Errorf("another: %s", resp.Status)
		}
	}
	if refused == 0 {
		t.Error("twenty one large answers were under way at the same time")
	}

	// A batch whose answer has no room is not written.
	before := count(t, db, `select count(*) from orders`)
	written := 0
	for range 20 {
		body := batch(150)
		resp := stuck(t, s, fmt.Sprintf("POST /orders/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		switch resp.StatusCode {
		case http.StatusCreated:
			written++
		case http.StatusServiceUnavailable:
		default:
			t.Errorf("a batch: %s", resp.Status)
		}
	}
	if n := count(t, db, `select count(*) from orders`) - before; n != 150*written || written == 20 {
		t.Errorf("%d batches were answered 201, and %d orders written", written, n)
	}
}
