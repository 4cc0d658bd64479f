package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
)

// die gives up the messages of orders as the consumer does.
const die = `
	with gone as (delete from pgmq.q_order_queue q where (q.message ->> 'order_id')::bigint = any ($1) returning q.*),
	dead as (
		update orders o set status = 'dead', dead_at = now(), attempts = 5, last_error = 'boom'
		from gone where o.id = (gone.message ->> 'order_id')::bigint
	)
	select pgmq.send('order_queue_dlq', gone.message, gone.headers || jsonb_build_object('orderflow-dead', jsonb_build_object(
		'reason', $2::text, 'error', 'boom', 'attempts', 5, 'queue', 'order_queue', 'msg_id', gone.msg_id, 'read_ct', 5,
		'dead_at', '2026-01-07T19:48:03+00:00', 'consumer', 'c1')))
	from gone order by gone.msg_id`

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db, "ADMIN_TOKEN": "sesame"})
	conn := testdb.Connect(t, db)
	for i := range 6 {
		s.place(t, "/orders", orderJSON(i))
	}
	for _, d := range []struct {
		ids    []int64
		reason string
	}{{[]int64{1, 2, 3}, "max_attempts"}, {[]int64{4}, "permanent"}} {
		if _, err := conn.Exec(t.Context(), die, d.ids, d.reason); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(t.Context(), `select pgmq.send('order_queue_dlq', '"poison"', '{"orderflow-dead": {"reason": "not_an_object"}}'::jsonb)`); err != nil {
		t.Fatal(err)
	}

	ids, requests := pages(t, s, "/dead-letters?limit=2", "dead_letters", "msg_id")
	if strings.Join(ids, " ") != "5 4 3 2 1" || requests != 3 {
		t.Errorf("listed %v in %d pages", ids, requests)
	}
	letter := s.get(t, "/dead-letters?reason=permanent").json(t)["dead_letters"].([]any)[0].(map[string]any)
	for field, want := range map[string]string{
		"msg_id": "4", "order_id": "4", "reason": "permanent", "error": "boom", "attempts": "5", "origin_msg_id": "4", "dead_at": "2026-01-07T19:48:03+00:00",
	} {
		if fmt.Sprint(letter[field]) != want {
			t.Errorf("%s is %v, want %s", field, letter[field], want)
		}
	}
	if poison := s.get(t, "/dead-letters?reason=not_an_object").json(t)["dead_letters"].([]any); len(poison) != 1 || poison[0].(map[string]any)["order_id"] != nil {
		t.Errorf("poison is %v", poison)
	}

	token := []string{"Authorization", "Bearer sesame"}
	admin := func(method, path, body string) answer { return s.do(t, method, path, body, token) }
	redriven := func(a answer) string {
		t.Helper()
		if a.status != http.StatusOK {
			t.Fatalf("got %d %s", a.status, a.body)
		}
		var got []string
		for _, r := range a.json(t)["redriven"].([]any) {
			got = append(got, fmt.Sprint(r.(map[string]any)["order_id"]))
		}
		return strings.Join(got, " ")
	}
	if a := admin("POST", "/dead-letters/redrive", `{"reason":"max_attempts","limit":2,"dry_run":true}`); redriven(a) != "" || fmt.Sprint(a.json(t)["matched"]) != "2" {
		t.Errorf("dry run: %s", a.body)
	}
	if got := fmt.Sprint(s.get(t, "/orders/1").json(t)["status"]); got != "dead" {
		t.Errorf("after a dry run the order is %s", got)
	}
	if got := redriven(admin("POST", "/dead-letters/redrive", `{"reason":"max_attempts","limit":2}`)); got != "1 2" {
		t.Errorf("redriven by reason: %s", got)
	}
	order := s.get(t, "/orders/1").json(t)
	if order["status"] != "pending" || fmt.Sprint(order["attempts"]) != "0" || order["last_error"] != nil {
		t.Errorf("a redriven order is %v", order)
	}
	if a := admin("POST", "/dead-letters/3/redrive", ""); a.status != http.StatusOK || fmt.Sprint(a.json(t)["order_id"]) != "3" {
		t.Errorf("redrive one: %d %s", a.status, a.body)
	}
	if a := admin("POST", "/dead-letters/3/redrive", ""); a.status != http.StatusNotFound {
		t.Errorf("redrive one again: %d %s", a.status, a.body)
	}
	// An order that is not dead must not get a second message.
	if _, err := conn.Exec(t.Context(), `update orders set status = 'completed', dead_at = null where id = 4`); err != nil {
		t.Fatal(err)
	}
	if a := admin("POST", "/dead-letters/4/redrive", ""); a.status != http.StatusConflict {
		t.Errorf("redrive of a completed order: %d %s", a.status, a.body)
	}
	if a := admin("DELETE", "/dead-letters/4", ""); a.status != http.StatusNoContent || a.body != "" {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	if a := admin("DELETE", "/dead-letters/4", ""); a.status != http.StatusNotFound {
		t.Errorf("delete again: %d %s", a.status, a.body)
	}
	if got := redriven(admin("POST", "/dead-letters/redrive", `{"all":true}`)); got != "<nil>" {
		t.Errorf("redriven all that is left (the poison): %q", got)
	}
	for body, location := range map[string]string{
		`{}`:                               "body",
		`{"all":true,"reason":"x"}`:        "body",
		`{"msg_ids":["x"]}`:                "body.msg_ids[0]",
		`{"reason":"x","limit":0}`:         "body.limit",
		`{"reason":"x","force":true}`:      "body.force",
		`{"reason":"` + "\\u0000" + `x"}`:  "body.reason",
		`{"msg_ids":[1],"dry_run":"true"}`: "body.dry_run",
		// Nothing that a reader could overlook may change what is done.
		`{"all":true,"dry_run":true,"DRY_RUN":false}`: "body.DRY_RUN",
		`{"all":true,"dry_run":true,"dry_run":false}`: "body.dry_run",
		`{"ALL":true}`:                                  "body.ALL",
		`{"msg_ids":[7,99999999999999999999]}`:          "body.msg_ids[1]",
		`{"msg_ids":[1.5]}`:                             "body.msg_ids[0]",
		`{"msg_ids":[0]}`:                               "body.msg_ids[0]",
		`{"msg_ids":null,"all":true}`:                   "body.msg_ids",
		`{"all":true,"limit":10001}`:                    "body.limit",
		`{"reason":"` + strings.Repeat("x", 201) + `"}`: "body.reason",
		`[]`: "body",
		`{"msg_ids":[` + strings.Repeat("1,", 10_000) + `1]}`: "body.msg_ids",
	} {
		a := admin("POST", "/dead-letters/redrive", body)
		if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, `"`+location) {
			t.Errorf("%s: got %d %s", body, a.status, a.body)
		}
	}
	for _, body := range []string{`{`, ``, `{"all":true} x`, `{"msg_ids":[1,]}`} {
		if a := admin("POST", "/dead-letters/redrive", body); a.status != http.StatusBadRequest {
			t.Errorf("malformed %q: got %d %s", body, a.status, a.body)
		}
	}
	if a := admin("POST", "/dead-letters/redrive", `{`); a.status != http.StatusBadRequest {
		t.Errorf("malformed: got %d %s", a.status, a.body)
	}
}

// many makes dead letters of orders 1 to n, whose reason is rare for one of a thousand.
func many(t *testing.T, db string, n int) *pgx.Conn {
	t.Helper()
	conn := testdb.Connect(t, db)
	if _, err := conn.Exec(t.Context(), `
		with o as (
			insert into orders (customer_name, product_name, quantity, price, status, dead_at)
			select 'c', 'p', 1, 1, 'dead', now() from generate_series(1, $1)
			returning id
		)
		insert into pgmq.q_order_queue_dlq (vt, message, headers)
		select now(), jsonb_build_object('order_id', id),
			jsonb_build_object('orderflow-dead', jsonb_build_object('reason', case when id % 1000 = 1 then 'rare' else 'common' end))
		from o order by id`, n); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestRareReasonAmongManyDeadLetters(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db, "ADMIN_TOKEN": "sesame"})
	conn := many(t, db, 45_000)
	ids, requests := pages(t, s, "/dead-letters?reason=rare&limit=20", "dead_letters", "msg_id")
	if len(ids) != 45 || ids[0] != "44001" || ids[44] != "1" || requests < 3 {
		t.Errorf("found %v in %d pages", ids, requests)
	}
	if ids, _ := pages(t, s, "/dead-letters?reason=none&limit=20", "dead_letters", "msg_id"); len(ids) != 0 {
		t.Errorf("found %v", ids)
	}
	a := s.post(t, "/dead-letters/redrive", `{"reason":"rare","dry_run":true}`, "Authorization", "Bearer sesame")
	if a.status != http.StatusOK || fmt.Sprint(a.json(t)["matched"]) != "45" {
		t.Errorf("got %d %s", a.status, a.body)
	}
	// A step of the search ends among these: it looks at 5,000.
	if _, err := conn.Exec(t.Context(), `
		update pgmq.q_order_queue_dlq set headers = '{"orderflow-dead": {"reason": "edge"}}' where msg_id between 39999 and 40001`); err != nil {
		t.Fatal(err)
	}
	if ids, _ := pages(t, s, "/dead-letters?reason=edge&limit=20", "dead_letters", "msg_id"); strings.Join(ids, " ") != "40001 40000 39999" {
		t.Errorf("found %v", ids)
	}
}

// Every id that was named is meant; a limit is there for those who choose by less.
func TestRedriveOfManyIDs(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db, "ADMIN_TOKEN": "sesame"})
	many(t, db, 1200)
	ids := make([]string, 1200)
	for i := range ids {
		ids[i] = strconv.Itoa(i + 1)
	}
	a := s.post(t, "/dead-letters/redrive", `{"msg_ids":[`+strings.Join(ids, ",")+`]}`, "Authorization", "Bearer sesame")
	if got := a.json(t); fmt.Sprint(got["matched"]) != "1200" || len(got["redriven"].([]any)) != 1200 || got["incomplete"] != nil {
		t.Errorf("got %d %.200s", a.status, a.body)
	}
}

// Large letters move few at a time. One transaction with all of them would take longer than any has.
func TestRedriveOfLargeLettersMovesFewAtATime(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db, "ADMIN_TOKEN": "sesame"})
	conn := many(t, db, 7)
	if _, err := conn.Exec(t.Context(), `
		update pgmq.q_order_queue_dlq set message = message || jsonb_build_object('pad', repeat(md5(msg_id::text), (13 << 20) / 32)) where msg_id < 7`); err != nil {
		t.Fatal(err)
	}
	a := s.post(t, "/dead-letters/redrive", `{"all":true}`, "Authorization", "Bearer sesame")
	if got := a.json(t); a.status != http.StatusOK || len(got["redriven"].([]any)) != 7 || got["incomplete"] != nil || got["untried"] != nil {
		t.Errorf("got %d %.200s", a.status, a.body)
	}
	if n := count(t, db, `select count(distinct xmin::text) from pgmq.q_order_queue`); n < 3 {
		t.Errorf("six letters of 13 MiB, and a small one, moved in %d transactions", n)
	}
}

// What was redriven before the rest could not be is told.
func TestRedriveCutShort(t *testing.T) {
	t.Parallel()
	t.Run("by a lock", func(t *testing.T) {
		t.Parallel()
		db := testdb.New(t)
		s := started(t, map[string]string{"DATABASE_URL": connectWithin(db, time.Minute), "ADMIN_TOKEN": "sesame", "REQUEST_TIMEOUT": "20s"}) // half of it is for a lock
		tx := lockLetter(t, many(t, db, 600), 550)
		a := s.post(t, "/dead-letters/redrive", `{"all":true}`, "Authorization", "Bearer sesame")
		if got := a.json(t); a.status != http.StatusOK || len(got["redriven"].([]any)) != 500 || fmt.Sprint(got["untried"]) != "100" || got["incomplete"] != "the database did not finish in time" {
			t.Errorf("got %d %.200s", a.status, a.body)
		}
		if a := s.post(t, "/dead-letters/550/redrive", "", "Authorization", "Bearer sesame"); a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "did not finish in time") {
			t.Errorf("nothing was redriven: got %d %s", a.status, a.body)
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("by an error, in the dashboard", func(t *testing.T) {
		t.Parallel()
		db := testdb.New(t)
		s := started(t, map[string]string{"DATABASE_URL": db, "ADMIN_TOKEN": typedToken})
		execute(t, many(t, db, 600), `create function never() returns trigger language plpgsql as $$ begin raise 'never'; end $$`)
		execute(t, testdb.Connect(t, db), `create trigger never before delete on pgmq.q_order_queue_dlq for each row when (old.msg_id = 550) execute function never()`)
		b := s.browser(t)
		b.signIn(typedToken)
		if a := b.post("/ui/dead-letters/redrive", "up_to", "600", "confirm", "yes"); !strings.Contains(a.body, "500 dead letters are back in the queue. Then it failed") {
			t.Errorf("got %d\n%s", a.status, a.body)
		}
	})
	t.Run("by the shutdown", func(t *testing.T) {
		t.Parallel()
		db := testdb.New(t)
		s := started(t, map[string]string{"DATABASE_URL": db, "ADMIN_TOKEN": "sesame", "DRAIN_TIMEOUT": "1m"})
		tx := lockLetter(t, many(t, db, 600), 1)
		answers := make(chan answer, 1)
		go func() {
			a, err := s.try(http.MethodPost, "/dead-letters/redrive", `{"all":true}`, []string{"Authorization", "Bearer sesame"})
			if err != nil {
				t.Error(err)
			}
			answers <- a
		}()
		await.True(t, "the redrive to be under way", func() bool { return writing(t, db) })
		s.stop()
		s.log.await(t, "shutting down")
		await.True(t, "the end of serving", func() bool { _, err := s.try(http.MethodGet, "/livez", "", nil); return err != nil })
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		a := <-answers
		if got := a.json(t); a.status != http.StatusOK || len(got["redriven"].([]any)) != 500 || got["incomplete"] != "shutting down" {
			t.Errorf("got %d %.200s", a.status, a.body)
		}
	})
}

func lockLetter(t *testing.T, conn *pgx.Conn, id int64) pgx.Tx {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `select from pgmq.q_order_queue_dlq where msg_id = $1 for update`, id); err != nil {
		t.Fatal(err)
	}
	return tx
}

func TestTheAdminsCallsNeedTheToken(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	with := started(t, map[string]string{"DATABASE_URL": db, "ADMIN_TOKEN": "sesame"})
	without := started(t, map[string]string{"DATABASE_URL": db})
	for _, call := range []struct{ method, path, body string }{
		{"POST", "/dead-letters/redrive", `{"all":true}`},
		{"POST", "/dead-letters/redrive", `what`},
		{"POST", "/dead-letters/1/redrive", ""},
		{"DELETE", "/dead-letters/1", ""},
		{"DELETE", "/dead-letters/abc", ""},
		{"POST", "/queue/pause", ""},
		{"POST", "/queue/pause", `{"reason":"a move"}`},
		{"POST", "/queue/resume", ""},
	} {
		for _, token := range []string{"", "Bearer open", "Bearer", "Basic sesame", "sesame", "Bearer sesame2"} {
			a := with.do(t, call.method, call.path, call.body, []string{"Authorization", token})
			if a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s with %q: got %d %s", call.method, call.path, token, a.status, a.body)
			}
		}
		if a := without.do(t, call.method, call.path, call.body, []string{"Authorization", "Bearer sesame"}); a.status != http.StatusForbidden {
			t.Errorf("%s %s without a token configured: got %d %s", call.method, call.path, a.status, a.body)
		}
	}
	if n := count(t, db, `select count(*) from orderflow.gate`); n != 0 {
		t.Error("somebody without the token has paused the queue")
	}
	if strings.Contains(with.log.String(), "sesame") {
		t.Error("the token is in the log")
	}
}

// What a trigger holds back is not taken for moved or deleted, nor for something that is not there: the
// call is to come again, and nothing has changed.
func TestDeadLettersThatAreHeldBack(t *testing.T) {
	t.Parallel()
	const (
		redrive, remove = "redrive", "delete"
		never           = `create function never() returns trigger language plpgsql as 'begin return null; end'; create trigger never before %s for each row execute function never()`
		unbind          = `drop function never cascade`
	)
	for name, test := range map[string]struct{ call, cause, end string }{
		"the order stays":           {redrive, fmt.Sprintf(never, "update on orders"), unbind},
		"the letter stays":          {redrive, fmt.Sprintf(never, "delete on pgmq.q_order_queue_dlq"), unbind},
		"the message is not sent":   {redrive, fmt.Sprintf(never, "insert on pgmq.q_order_queue"), unbind},
		"the letter is not deleted": {remove, fmt.Sprintf(never, "delete on pgmq.q_order_queue_dlq"), unbind},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testdb.New(t)
			s := started(t, map[string]string{"DATABASE_URL": db, "ADMIN_TOKEN": "sesame"})
			s.place(t, "/orders", orderJSON(1))
			conn := testdb.Connect(t, db)
			change := func(sql string) {
				t.Helper()
				if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := conn.Exec(t.Context(), die, []int64{1}, "permanent"); err != nil {
				t.Fatal(err)
			}
			change(test.cause)
			calls := map[string][]func() answer{
				redrive: {
					func() answer { return s.do(t, http.MethodPost, "/dead-letters/1/redrive", "", admin) },
					func() answer { return s.do(t, http.MethodPost, "/dead-letters/redrive", `{"all":true}`, admin) },
				},
				remove: {func() answer { return s.do(t, http.MethodDelete, "/dead-letters/1", "", admin) }},
			}[test.call]
			for _, call := range calls {
				if a := call(); a.status != http.StatusServiceUnavailable {
					t.Errorf("got %d %s", a.status, a.body)
				}
			}
			s.log.await(t, "the database refused a request")
			if n := count(t, db, `select count(*) from orders o, pgmq.q_order_queue_dlq d where o.status = 'dead' and d.msg_id = 1 and not exists (select from pgmq.q_order_queue)`); n != 1 {
				t.Error("something was changed")
			}
			change(test.end)
			if a := calls[0](); a.status >= http.StatusMultipleChoices {
				t.Errorf("got %d %s", a.status, a.body)
			}
		})
	}
}

var admin = []string{"Authorization", "Bearer sesame"}
