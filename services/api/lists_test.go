package main

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/cursor"
)

// pages walks a list to its end and returns the ids in order.
func pages(t *testing.T, s *service, path, field, id string, between ...func()) (ids []string, requests int) {
	t.Helper()
	after := ""
	for {
		at := path
		if after != "" {
			at += "&cursor=" + url.QueryEscape(after)
		}
		a := s.get(t, at)
		if a.status != http.StatusOK {
			t.Fatalf("GET %s: %d %s", at, a.status, a.body)
		}
		requests++
		page := a.json(t)
		for _, item := range page[field].([]any) {
			ids = append(ids, fmt.Sprint(item.(map[string]any)[id]))
		}
		next, more := page["next_cursor"].(string)
		if !more {
			return ids, requests
		}
		after = next
		for _, f := range between {
			f()
		}
	}
}

func TestListOrders(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db})
	conn := testdb.Connect(t, db)
	if _, err := conn.Exec(t.Context(), `
		insert into orders (customer_name, product_name, quantity, price, status, dead_at, idempotency_key)
		select 'Customer ' || g % 4, 'Product', 1, 1,
			case g % 10 when 3 then 'dead' when 7 then 'pending' else 'completed' end,
			case g % 10 when 3 then now() end,
			'run-' || g % 2 || '-' || lpad(g::text, 4, '0')
		from generate_series(1, 100) g`); err != nil {
		t.Fatal(err)
	}
	expect := func(where, order string) string {
		var ids string
		if err := conn.QueryRow(t.Context(), `select coalesce(string_agg(id::text, ' ' order by `+order+`), '') from orders where `+where).Scan(&ids); err != nil {
			t.Fatal(err)
		}
		return ids
	}
	for _, test := range []struct{ query, where, order string }{
		{"limit=7", "true", "id desc"},
		{"limit=100", "true", "id desc"},
		{"limit=50", "true", "id desc"},
		{"limit=3&status=dead", "status = 'dead'", "id desc"},
		{"limit=3&status=pending", "status = 'pending'", "id desc"},
		{"limit=9&status=completed", "status = 'completed'", "id desc"},
		{"limit=4&customer_name=Customer+2", "customer_name = 'Customer 2'", "id desc"},
		{"limit=4&customer_name=Customer+3&status=dead", "customer_name = 'Customer 3' and status = 'dead'", "id desc"},
		{"limit=4&customer_name=Nobody", "false", "id desc"},
		{"limit=6&idempotency_key_prefix=run-1-", "idempotency_key like 'run-1-%'", "idempotency_key"},
		{"limit=6&idempotency_key_prefix=run-1-&status=pending", "idempotency_key like 'run-1-%' and status = 'pending'", "idempotency_key"},
		{"limit=6&idempotency_key_prefix=run-", "true", "idempotency_key"},
		{"limit=6&idempotency_key_prefix=~", "false", "idempotency_key"},
	} {
		ids, _ := pages(t, s, "/orders?"+test.query, "orders", "id")
		if got, want := strings.Join(ids, " "), expect(test.where, test.order); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.query, got, want)
		}
	}

	// A cursor belongs to its filters.
	dead := s.get(t, "/orders?limit=1&status=dead").json(t)["next_cursor"].(string)
	for _, other := range []string{"/orders?limit=1&cursor=", "/orders?status=pending&cursor=", "/dead-letters?cursor="} {
		if a := s.get(t, other+dead); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: got %d", other, a.status)
		}
	}
	// What is added between two pages neither repeats nor hides an order.
	first := s.get(t, "/orders?limit=2").json(t)
	s.place(t, "/orders", orderJSON(1))
	second := s.get(t, "/orders?limit=2&cursor="+first["next_cursor"].(string)).json(t)
	if id := fmt.Sprint(second["orders"].([]any)[0].(map[string]any)["id"]); id != "98" {
		t.Errorf("the second page begins with %s", id)
	}
}

// Anybody can make a cursor up. It is then a position like any other, or refused: what it says never reaches a statement unread.
func TestForgedCursors(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db})
	if a := s.post(t, "/orders/batch", `{"orders":[`+orderJSON(1)+`,`+orderJSON(2)+`]}`, "Idempotency-Key", "run-1"); a.status != http.StatusCreated {
		t.Fatal(a.body)
	}
	lists := []struct {
		path  string
		scope []string
	}{
		{"/orders?", []string{"orders", "", "", ""}},
		{"/orders?status=pending&", []string{"orders", "pending", "", ""}},
		{"/orders?idempotency_key_prefix=run-&", []string{"orders", "", "", "run-"}},
		{"/orders?status=pending&idempotency_key_prefix=run-&", []string{"orders", "pending", "", "run-"}},
		{"/dead-letters?", []string{"dead_letters", ""}},
	}
	for _, position := range []string{
		"run-\x00", "run-\xff", "\x00", "\xff\xfe", "run-\xed\xa0\x80", "sun-1", "run", "-1", "0", "1e3", "0x10", " 1",
		"9223372036854775807", "-9223372036854775808", "9223372036854775808", "run-ü", "'; drop table orders; --", strings.Repeat("9", 300),
	} {
		for _, list := range lists {
			a := s.get(t, list.path+"cursor="+url.QueryEscape(cursor.Make(position, list.scope...)))
			if a.status != http.StatusOK && a.status != http.StatusUnprocessableEntity {
				t.Errorf("%s with a cursor of %q: %d %s", list.path, position, a.status, a.body)
			}
		}
	}
	// One outside the list leads to no page of another.
	if a := s.get(t, "/orders?idempotency_key_prefix=run-&cursor="+url.QueryEscape(cursor.Make("sun-1", "orders", "", "", "run-"))); a.status != http.StatusUnprocessableEntity {
		t.Errorf("a key with another prefix: %d %s", a.status, a.body)
	}
}

// The status has no index. Few orders among very many are found all the same, over pages that may be empty, and each of
// them once, however many are added between two pages.
func TestRareStatusAmongMany(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db})
	conn := testdb.Connect(t, db)
	if _, err := conn.Exec(t.Context(), `
		insert into orders (customer_name, product_name, quantity, price, status)
		select 'Customer', 'Product', 1, 1, case when g % 13000 = 5 then 'pending' else 'completed' end
		from generate_series(1, 65000) g`); err != nil {
		t.Fatal(err)
	}
	add := func() {
		if _, err := conn.Exec(t.Context(), `insert into orders (customer_name, product_name, quantity, price, status) select 'Customer', 'Product', 1, 1, 'completed' from generate_series(1, 500)`); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		ids, requests := pages(t, s, "/orders?limit=2&status=pending", "orders", "id", add)
		if strings.Join(ids, " ") != "52005 39005 26005 13005 5" || requests < 3 {
			t.Errorf("found %v in %d pages", ids, requests)
		}
	}
}

func TestQueueIsLookedAtOnceASecondAtMost(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db, "DASHBOARD": "off"}) // a dashboard looks by itself
	conn := testdb.Connect(t, db)
	for i := range 6 {
		s.place(t, "/orders", orderJSON(i))
	}
	// One with a consumer, one waiting for a retry, one sent with a delay.
	if _, err := conn.Exec(t.Context(), `
		update pgmq.q_order_queue set vt = now() + interval '1 hour', read_ct = 1 where msg_id in (1, 2);
		update pgmq.q_order_queue set headers = headers || '{"orderflow-retry": 1}' where msg_id = 2;
		update pgmq.q_order_queue set vt = now() + interval '1 hour' where msg_id = 3;
		select pgmq.send('order_queue_dlq', '{}')`); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	await.True(t, "a look", func() (looked bool) {
		got, looked = s.look(t)
		return looked
	})
	for field, want := range map[string]string{
		"queue": "order_queue", "depth": "6", "visible": "3", "in_flight": "1", "delayed": "2", "dead_letters": "1", "enqueued_total": "6",
	} {
		if fmt.Sprint(got[field]) != want {
			t.Errorf("%s is %v, want %s", field, got[field], want)
		}
	}
	if rates := got["rates"].(map[string]any); rates["enqueued_per_second"] != nil || rates["completed_per_second"] != nil {
		t.Errorf("rates before anything is known are %v", rates)
	}
	if asOf, _ := got["as_of"].(string); !exampleTime.MatchString(asOf) {
		t.Errorf("as_of is %q", asOf)
	}
	if consuming := got["consuming"]; fmt.Sprint(consuming) != "map[by: reason: since:<nil> state:running]" {
		t.Errorf("consuming: %v", consuming)
	}
	// What a look takes is a tenth of the time to the next one at most. So two are 0.9 s apart by what they call now, however long each took; and
	// when they took long, too far apart for rates.
	depth, looks, rated := 6, 1, false
	before := got
	place := func() {
		s.place(t, "/orders", orderJSON(depth))
		depth++
	}
	place()
	await.True(t, "two more looks, and rates", func() bool {
		look, looked := s.look(t)
		if !looked {
			return false
		}
		apart := asOf(t, look).Sub(asOf(t, before))
		if apart == 0 {
			return false
		}
		if apart < 900*time.Millisecond {
			t.Errorf("looked again after %s:\n%v\n%v", apart, before, look)
		}
		if apart <= 15*time.Second {
			rated = true
			rates := look["rates"].(map[string]any)
			if fmt.Sprint(look["depth"]) != strconv.Itoa(depth) || rates["enqueued_per_second"] == nil || fmt.Sprint(rates["enqueued_per_second"]) == "0" || fmt.Sprint(rates["completed_per_second"]) != "0" {
				t.Errorf("with %d orders, a look is %v", depth, look)
			}
		}
		place()
		before = look
		looks++
		return looks >= 3 && rated
	})
}

// look is what is known of the queue, unless it could not be looked at.
func (s *service) look(t *testing.T) (look map[string]any, looked bool) {
	t.Helper()
	a := s.get(t, "/queue")
	if a.status != http.StatusOK {
		return nil, false
	}
	return a.json(t), true
}

// asOf is when a queue was looked at.
func asOf(t *testing.T, look map[string]any) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, look["as_of"].(string))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// What keeps the consumers from their work is the queue's to say.
func TestTheQueueSaysWhatItsConsumersAreAt(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db})
	conn := testdb.Connect(t, db)
	for _, test := range []struct{ change, state, by, reason string }{
		{`insert into orderflow.gate (queue, revision, breaker_open, since, reason) values ('order_queue', 1, true, now(), 'nobody is there')`, "breaker_open", "", "nobody is there"},
		{`update orderflow.gate set paused_at = now(), paused_by = 'me'`, "paused", "me", ""},
		{`update orderflow.gate set paused_at = null, breaker_open = false, limit_base = 10, limit_at = now()`, "limited", "", "nobody is there"},
		{`update orderflow.gate set limit_base = 0, patience_until = now() + interval '1 hour'`, "limited", "", "nobody is there"},
		{`update orderflow.gate set patience_until = now()`, "running", "", ""},
		{`delete from orderflow.gate`, "running", "", ""},
	} {
		if _, err := conn.Exec(t.Context(), test.change); err != nil {
			t.Fatal(err)
		}
		var consuming map[string]any
		await.True(t, test.state, func() bool {
			look, looked := s.look(t)
			if looked {
				consuming = look["consuming"].(map[string]any)
			}
			return looked && consuming["state"] == test.state
		})
		since, _ := consuming["since"].(string)
		if consuming["reason"] != test.reason || consuming["by"] != test.by || exampleTime.MatchString(since) == (test.state == "running") {
			t.Errorf("%s: %v", test.state, consuming)
		}
	}
}

// exampleTime is a time as the example wrote it, which older Pythons read.
var exampleTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$`)

func TestPeekHidesNothing(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db})
	for i := range 3 {
		s.place(t, "/orders", orderJSON(i))
	}
	if _, err := testdb.Connect(t, db).Exec(t.Context(), `select pgmq.send('order_queue', 'null'), pgmq.send('order_queue', '[1e400]')`); err != nil {
		t.Fatal(err)
	}
	first, second := s.get(t, "/messages?limit=1000"), s.get(t, "/messages?limit=1000")
	if first.body != second.body || len(first.json(t)["messages"].([]any)) != 5 {
		t.Errorf("%s\n%s", first.body, second.body)
	}
	message := first.json(t)["messages"].([]any)[0].(map[string]any)
	for _, field := range []string{"enqueued_at", "vt"} {
		if at, _ := message[field].(string); !exampleTime.MatchString(at) {
			t.Errorf("%s is %q", field, at)
		}
	}
	if n := len(s.get(t, "/messages?limit=2").json(t)["messages"].([]any)); n != 2 {
		t.Errorf("%d messages", n)
	}
}
