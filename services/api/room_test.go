package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"orderflow.example/kit/testdb"
)

// stuck is a client that asks for a large answer, and reads its head only.
func stuck(t *testing.T, s *service, request string) *http.Response {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.(*net.TCPConn).SetReadBuffer(32 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// Large answers that their clients do not take have the same budget as large requests. When it is used up, others are told to come
// again: before anything is written for them.
func TestLargeAnswersAreBounded(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	// Room for one or two answers of a thousand orders.
	s := started(t, map[string]string{"DATABASE_URL": db, "BODY_LIMIT": "100KiB", "BODY_BUDGET": "1500KiB"})
	s.place(t, "/orders", orderJSON(0)) // the writer has its connection now
	one := `{"customer_name":"` + strings.Repeat("c", 180) + `","product_name":"` + strings.Repeat("p", 180) + `","quantity":1,"price":1}`
	batch := func(n int) string { return `{"orders":[` + strings.Repeat(one+",", n-1) + one + `]}` }
	for range 10 {
		if a := s.post(t, "/orders/batch", batch(100)); a.status != http.StatusCreated {
			t.Fatalf("got %d %s", a.status, a.body)
		}
	}
	const list = "GET /orders?limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n"
	if a := s.get(t, "/orders?limit=10"); a.status != http.StatusOK {
		t.Errorf("a small answer: %d %s", a.status, a.body)
	}
	var under []*http.Response
	for range 20 {
		switch resp := stuck(t, s, list); {
		case resp.StatusCode == http.StatusOK:
			under = append(under, resp)
		case resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "":
			t.Errorf("got %s", resp.Status)
		}
	}
	refusals := 20 - len(under) // none, where each took so long that the one before had lost its room
	if len(under) == 0 {
		t.Fatal("no large answer was given")
	}
	whole, room := 0, 1500<<10/int(under[0].ContentLength)
	for _, resp := range under { // those who were slow have lost theirs to others
		if _, err := io.Copy(io.Discard, resp.Body); err == nil {
			whole++
		}
	}
	if whole == 0 || whole > room {
		t.Errorf("%d large answers were under way at the same time; there was room for %d", whole, room)
	}

	// What is held and what was refused is counted.
	second := &service{url: s.metrics}
	if text := second.get(t, "/metrics").body; refusals > 0 && strings.Contains(text, "orderflow_api_body_budget_refused_total 0\n") {
		t.Error("what was refused is not counted")
	}

	// A batch whose answer has no room is not written. Nobody loses the room while he is worked for.
	before := count(t, db, `select count(*) from orders`)
	release := hold(t, db)
	answers := make(chan answer, 20)
	for range cap(answers) {
		go func() {
			a, err := s.try(http.MethodPost, "/orders/batch", batch(150), nil)
			if err != nil { // its body took so long that the room went to another's
				a.status = http.StatusServiceUnavailable
			}
			answers <- a
		}()
	}
	written, refused := 0, 0
	take := func() {
		switch a := <-answers; a.status {
		case http.StatusCreated:
			written++
		case http.StatusServiceUnavailable:
			refused++
		default:
			t.Errorf("a batch: %d %s", a.status, a.body)
		}
	}
	for range cap(answers) / 2 { // no more than seven of them find room
		take()
	}
	release()
	for range cap(answers) / 2 {
		take()
	}
	if n := count(t, db, `select count(*) from orders`) - before; written == 0 || refused < cap(answers)/2 || n != 150*written {
		t.Errorf("%d batches were answered 201, %d were refused, and %d orders written", written, refused, n)
	}
}
