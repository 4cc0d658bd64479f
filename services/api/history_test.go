package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/program"
	"orderflow.example/kit/testdb"
)

// events are what a story tells, in short.
func events(t *testing.T, a answer) string {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	var told []string
	for _, e := range a.json(t)["events"].([]any) {
		event := e.(map[string]any)
		text := fmt.Sprint(event["event"])
		for _, field := range []string{"attempt", "times", "reason", "error", "by", "note"} {
			if v, is := event[field]; is {
				text += fmt.Sprintf(" %s=%v", field, v)
			}
		}
		told = append(told, text)
	}
	return strings.Join(told, "\n")
}

func TestHistoryTellsAnOrdersStory(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": url, "ADMIN_TOKEN": "sesame"})
	admin := []string{"Authorization", "Bearer sesame"}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	s.place(t, "/orders", `{"customer_name":"Zoë","product_name":"tea","quantity":3,"price":1}`, "traceparent", "00-"+trace+"-00f067aa0ba902b7-01")

	waiting := s.get(t, "/orders/1/history")
	if got := events(t, waiting); got != "accepted\nqueued" {
		t.Errorf("waiting:\n%s", got)
	}
	story := waiting.json(t)
	if story["trace_id"] != trace || story["status"] != "pending" {
		t.Errorf("%s", waiting.body)
	}
	standing := func(state string) {
		t.Helper()
		message, _ := s.get(t, "/orders/1/history").json(t)["message"].(map[string]any)
		if message["state"] != state || fmt.Sprint(message["msg_id"]) != "1" || (message["due_at"] == nil) != (state == "missing") {
			t.Errorf("message is %v, want it %s", message, state)
		}
	}
	standing("waiting")
	exec(`select from pgmq.read('order_queue', 60, 1)`)
	standing("in_flight")

	note := func(fields string) {
		t.Helper()
		exec(`select orderflow.note_history(jsonb_build_array(jsonb_build_object('order_id', id, 'created_at', created_at, 'msg_id', 1,
			'enqueued_at', created_at, 'ended_at', clock_timestamp()) || $1::jsonb)) from orders`, fields)
	}
	note(`{"read_ct": 1, "outcome": "failed", "attempt": 1, "error": "` + strings.Repeat("x", 1000) + `", "retry_at": "2100-01-01T00:00:00Z"}`)
	exec(`update pgmq.q_order_queue set headers = headers || '{"orderflow-retry": 1}'`)
	standing("delayed")
	note(`{"read_ct": 2, "outcome": "unanswered"}`)
	note(`{"read_ct": 3, "outcome": "released"}`)
	note(`{"read_ct": 4, "outcome": "released"}`)
	note(`{"read_ct": 5, "outcome": "permanent", "attempt": 2, "reason": "permanent", "error": "never"}`)
	exec(`select pgmq.send('order_queue_dlq', message, '{"orderflow-dead": {"reason": "permanent", "msg_id": 1}}') from pgmq.q_order_queue`)
	exec(`delete from pgmq.q_order_queue`)
	standing("missing")
	exec(`update orders set status = 'dead', dead_at = clock_timestamp(), attempts = 2, last_error = 'never'`)
	dead := "accepted\nqueued\nfailed attempt=1 error=" + strings.Repeat("x", 500) + "\nunanswered\nreleased times=2\npermanent attempt=2 error=never\n" +
		"dead reason=permanent error=never"
	if got := events(t, s.get(t, "/orders/1/history")); got != dead {
		t.Errorf("dead:\n%s", got)
	}

	if a := s.do(t, http.MethodPost, "/dead-letters/1/redrive?note=again", "", admin); a.status != http.StatusOK {
		t.Fatalf("redrive: %d %s", a.status, a.body)
	}
	dead += "\nredriven by=api, admin token note=again"
	exec(`delete from pgmq.q_order_queue`)
	exec(`update orders set created_at = created_at - interval '1 hour'`)
	exec(`update orderflow.history set created_at = created_at - interval '1 hour'`)
	command(t, url, program.OK, "requeue", "-apply", "-note", "it was purged")
	dead += "\nrequeued by=api requeue, role " + conn.Config().User + " note=it was purged"
	exec(`update orders set status = 'completed', attempts = 1, effects = 1, started_at = clock_timestamp(), completed_at = clock_timestamp(), processed_by = 'c'`)
	if got := events(t, s.get(t, "/orders/1/history")); got != dead+"\ncompleted attempt=1" {
		t.Errorf("completed:\n%s", got)
	}

	// Another order that has the id by now has a story of its own.
	exec(`update orders set created_at = created_at + interval '1 hour'`)
	if got := events(t, s.get(t, "/orders/1/history")); got != "accepted\nqueued\ncompleted attempt=1" {
		t.Errorf("another order's:\n%s", got)
	}

	if unknown := s.get(t, "/orders/2/history"); unknown.status != http.StatusNotFound || unknown.json(t)["detail"] != "Order not found" {
		t.Errorf("got %d %s", unknown.status, unknown.body)
	}
	if wrong := s.get(t, "/orders/0/history"); wrong.status != http.StatusUnprocessableEntity {
		t.Errorf("got %d %s", wrong.status, wrong.body)
	}
}

// A dead letter that is deleted was the order's last chance: its story says who took it, and why.
func TestHistoryTellsOfADeletedDeadLetter(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": url, "ADMIN_TOKEN": typedToken})
	conn := testdb.Connect(t, url)
	for i := range 3 {
		s.place(t, "/orders", orderJSON(i))
	}
	execute(t, conn, `
		with m as (delete from pgmq.q_order_queue returning msg_id, message)
		select pgmq.send('order_queue_dlq', message, jsonb_build_object('orderflow-dead', jsonb_build_object('reason', 'permanent', 'msg_id', msg_id))) from m order by msg_id`)
	execute(t, conn, `update orders set status = 'dead', dead_at = clock_timestamp(), last_error = 'no'`)
	admin := []string{"Authorization", "Bearer " + typedToken}
	if a := s.do(t, http.MethodDelete, "/dead-letters/1?note=a+duplicate", "", admin); a.status != http.StatusNoContent {
		t.Fatalf("delete: %d %s", a.status, a.body)
	}
	b := s.browser(t)
	b.signIn(typedToken)
	b.post("/ui/dead-letters/2/delete", "note", "  refunded ")
	b.post("/ui/dead-letters/3/redrive")
	for id, want := range map[string]string{
		"1": "dead error=no\ndeleted by=api, admin token note=a duplicate",
		"2": "dead error=no\ndeleted by=dashboard, admin token note=refunded",
		"3": "redriven by=dashboard, admin token",
	} {
		if got := events(t, s.get(t, "/orders/"+id+"/history")); got != "accepted\nqueued\n"+want {
			t.Errorf("order %s:\n%s", id, got)
		}
	}
	if page := b.get("/ui/orders/2").body; !strings.Contains(page, "Its dead letter was deleted") || !strings.Contains(page, "refunded") || !strings.Contains(page, "by dashboard, admin token") {
		t.Errorf("the page of order 2:\n%s", page)
	}
}

// Whatever the table holds, the story can be read.
func TestHistoryOfExtremeValuesIsReadable(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": url})
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), `
		insert into orders (customer_name, product_name, quantity, price, created_at, message_id, status, attempts, completed_at, started_at)
		values ('a', 'b', 1, 1, '-infinity', 9223372036854775807, 'pending', 2147483647, 'infinity', '4713-01-01 BC'),
		       ('a', 'b', 1, 1, 'infinity', null, 'completed', -5, 'infinity', '-infinity');
		insert into orderflow.history (order_id, created_at, slot, seq, times, msg_id, read_ct, enqueued_at, outcome, attempt, due_at, ended_at, settled_at, error)
		select id, created_at, s, (array[1, 2147483647])[s], -1, -1, -1, '-infinity', repeat('o', 10000), 7, 'infinity', '-infinity', 'infinity', repeat('é', 100000)
		from orders, generate_series(1, 2) s`); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"1", "2"} {
		a := s.get(t, "/orders/"+id+"/history")
		if a.status != http.StatusOK || len(a.json(t)["events"].([]any)) < 4 || len(a.body) > 10_000 {
			t.Errorf("got %d, %d bytes: %.1000s", a.status, len(a.body), a.body)
		}
	}
}
