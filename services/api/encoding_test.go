package main

import (
	"net/http"
	"strings"
	"testing"

	"orderflow.example/kit/testdb"
)

// encoded is a migrated database with an encoding of its own.
func encoded(t *testing.T, encoding string) string {
	t.Helper()
	db := testdb.Encoded(t, encoding)
	runMigrate(t, db, nil)
	return db
}

// A database's encoding may have what UTF-8 does not have. A message with such a character hides no other one.
func TestWhatUTF8LacksIsShownAsAQuestionMark(t *testing.T) {
	t.Parallel()
	db := encoded(t, "WIN1252")
	s := started(t, map[string]string{"DATABASE_URL": db})
	conn := testdb.Connect(t, db)
	execute(t, conn, `set client_encoding = UTF8`)
	execute(t, conn, `
		select pgmq.send(q, '{"order_id": 7, "name": "Müller"}'::jsonb, '{"orderflow-dead": {"reason": "failed", "error": "Störung"}}'::jsonb)
		from unnest(array['order_queue', 'order_queue_dlq']) q`)
	for _, path := range []string{"/messages", "/dead-letters", "/ui/dead-letters"} {
		if a := s.get(t, path); a.status != http.StatusOK || !strings.Contains(a.body, "Müller") {
			t.Errorf("%s: got %d %s", path, a.status, a.body)
		}
	}
	execute(t, conn, `
		select pgmq.send(q, e'{"order_id": "\x81", "name": "a\x81b"}'::jsonb, e'{"orderflow-dead": {"reason": "\x8d", "error": "\x8f", "attempts": "\x90", "dead_at": "\x9d", "msg_id": "\x81"}}'::jsonb)
		from unnest(array['order_queue', 'order_queue_dlq']) q`)
	for _, path := range []string{"/messages", "/dead-letters", "/ui/dead-letters"} {
		if a := s.get(t, path); a.status != http.StatusOK || !strings.Contains(a.body, "a?b") || !strings.Contains(a.body, "M?ller") {
			t.Errorf("%s: got %d %s", path, a.status, a.body)
		}
	}
	execute(t, conn, `
		insert into orders (id, customer_name, product_name, quantity, price, status, dead_at, last_error, processed_by, idempotency_key)
		values (1, 'Müller', 'Straße', 1, 1, 'pending', null, null, null, 'run-2'), (2, e'a\x81b', e'\x8d', 1, 1, 'dead', now(), e'\x8f', e'\x90', 'run-3'),
			(3, 'odd', 'key', 1, 1, 'pending', null, null, null, e'run-1\x81')`)
	execute(t, conn, `
		insert into orderflow.history (order_id, created_at, slot, seq, times, msg_id, read_ct, enqueued_at, outcome, ended_at, settled_at, error)
		select o.id, o.created_at, 1, 1, 1, 1, 1, now(), 'failed', now(), now(), e'a\x81b' from orders o where o.id = 2`)
	for _, path := range []string{"/orders", "/orders?status=dead", "/orders?idempotency_key_prefix=run-", "/orders/2", "/orders/2/history", "/ui/orders", "/ui/orders/2", "/"} {
		if a := s.get(t, path); a.status != http.StatusOK || !strings.Contains(a.body, "a?b") {
			t.Errorf("%s: got %d %s", path, a.status, a.body)
		}
	}
	// Pages end at keys as they are.
	for path, want := range map[string]string{"/orders?limit=1&idempotency_key_prefix=run-": "M?ller", "/orders/1": "Müller"} {
		if a := s.get(t, path); a.status != http.StatusOK || !strings.Contains(a.body, want) {
			t.Errorf("%s: got %d %s", path, a.status, a.body)
		}
	}
	if a := s.get(t, "/dead-letters?reason=failed"); a.status != http.StatusOK || !strings.Contains(a.body, "Müller") || !strings.Contains(a.body, "Störung") {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

// What the database's encoding does not have is the client's to change: it is told which field.
func TestWhatTheDatabaseCannotHoldIsNamed(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": encoded(t, "LATIN1")})
	a := s.post(t, "/orders", `{"customer_name":"Müller","product_name":"Straße","quantity":1,"price":1}`)
	if a.status != http.StatusCreated || !strings.Contains(a.body, "Müller") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if a := s.get(t, "/orders/1"); !strings.Contains(a.body, "Müller") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if a := s.get(t, "/messages"); !strings.Contains(a.body, "Müller") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	a = s.post(t, "/orders", `{"customer_name":"Müller","product_name":"Ωmega","quantity":1,"price":1}`)
	if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "body.product_name") || strings.Contains(a.body, "customer_name") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	// A question, too, may have them.
	for _, path := range []string{"/orders?customer_name=%CE%A9", "/dead-letters?reason=%CE%A9"} {
		if a := s.get(t, path); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "encoding") {
			t.Errorf("%s: got %d %s", path, a.status, a.body)
		}
	}
}
