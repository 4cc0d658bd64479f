package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
)

// extremes are what a column of a type can hold and nobody of ours would write: SQL expressions. Another PGMQ client may, or a hand.
var extremes = map[string][]string{
	"bigint":                   {`-9223372036854775808`, `-1`, `0`, `9223372036854775806`, `9223372036854775807`},
	"integer":                  {`-2147483648`, `-1`, `0`, `2147483647`},
	"numeric":                  {`'NaN'`, `0`, `9999999999.99`, `-0.01`},
	"timestamp with time zone": {`'infinity'`, `'-infinity'`, `'4713-01-01 BC'`, `'0001-01-01 00:00:00Z'`, `'9999-12-31 23:59:59.999999Z'`, `'10000-01-01Z'`, `'294276-12-31 23:59:59.999999Z'`},
	"uuid":                     {`'00000000-0000-0000-0000-000000000000'`, `'ffffffff-ffff-ffff-ffff-ffffffffffff'`},
	"text": {
		`''`, `' '`, `E'\x01\x1f\x7f"\\\n\t</script>'`, `U&'\2028\2029\FEFF\200B'`, `U&'\+01F600\+10FFFF'`, `repeat(U&'\0301', 1000)`,
		`repeat('<', 10000000)`, `repeat(U&'\+01F600', 3000000)`, `(select noise from large)`,
	},
	"jsonb": {
		`null`, `'null'`, `'true'`, `'0'`, `'-0.0'`, `'""'`, `'[]'`, `'{}'`, `'{"order_id": 1e400}'`, `'1e-400'`, `('1' || repeat('0', 131000))::jsonb`,
		`(repeat('[', 5000) || repeat(']', 5000))::jsonb`, `(repeat('{"a":', 3000) || '1' || repeat('}', 3000))::jsonb`,
		`'{"order_id": -1}'`, `'{"order_id": 9223372036854775807}'`, `'{"order_id": 9223372036854775808}'`, `'{"order_id": "1"}'`, `'{"order_id": [1]}'`, `'{"order_id": 1.0}'`,
		`jsonb_build_object('', U&'\+01F600\FFFD<>&')`, `jsonb_build_object('order_id', repeat('9', 100000)::numeric)`,
		`to_jsonb(repeat('<', 16382))`, `to_jsonb(repeat('<', 16383))`, `to_jsonb(repeat(U&'\+01F600', 5000))`, `to_jsonb(repeat(U&'\+01F600', 3000000))`,
		`to_jsonb(repeat('a', 10000000))`, `(select numbers from large)`, `to_jsonb((select noise from large))`,
		`'{"orderflow-dead": null}'`, `'{"orderflow-dead": 7}'`, `'{"orderflow-dead": []}'`, `'{"orderflow-retry": {}, "orderflow-released": 1e300, "orderflow-unanswered": "x"}'`,
		`'{"orderflow-dead": {"reason": 7, "error": [1], "attempts": 1e300, "msg_id": "1", "dead_at": {}}}'`,
		`'{"orderflow-dead": {"reason": "", "error": "", "attempts": -1, "msg_id": 1.5, "dead_at": ""}}'`,
		`jsonb_build_object('orderflow-dead', jsonb_build_object('reason', repeat('r', 50000), 'error', repeat('<', 5000000), 'attempts', repeat('9', 50000)::numeric, 'dead_at', repeat('d', 50000)))`,
	},
}

// large holds what takes long to make: 5 MB that do not compress, and many small values.
const large = `create temporary table large as
	select (select string_agg(md5(g::text), '') from generate_series(1, 160000) g) as noise, (select jsonb_agg(g) from generate_series(1, 300000) g) as numbers`

// most is what an answer may have in bytes, whatever lies in the tables: excerpts with every character escaped, for the largest page.
const most = 20 << 20

// Whatever a column holds, each call that reads answers, with a sensible number of bytes; and so does what moves dead letters.
func TestNoRowMakesACallFail(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db, "ADMIN_TOKEN": "sesame", "BODY_LIMIT": "1048576"})
	conn := testdb.Connect(t, db)
	token := []string{"Authorization", "Bearer sesame"}

	// One order and message as usual, which every answer must still be able to show.
	s.place(t, "/orders", orderJSON(1), "Idempotency-Key", "usual")
	if _, err := conn.Exec(t.Context(), large); err != nil {
		t.Fatal(err)
	}
	filled := 0
	for _, table := range []string{"pgmq.q_order_queue", "pgmq.q_order_queue_dlq", "public.orders"} {
		filled += fill(t, conn, table)
	}
	t.Logf("%d rows with extreme values", filled)

	ask := func(method, path, body string) answer {
		t.Helper()
		var headers []string
		if method != http.MethodGet {
			headers = token
		}
		a := s.do(t, method, path, body, headers)
		if a.status >= 500 || len(a.body) > most || a.body != "" && !json.Valid([]byte(a.body)) {
			t.Errorf("%s %s %s: %d, %d bytes: %.300s", method, path, body, a.status, len(a.body), a.body)
		}
		return a
	}
	for _, limit := range []string{"1", "7", "1000"} {
		ask("GET", "/messages?limit="+limit, "")
	}
	ask("GET", "/queue", "")
	ask("GET", "/dead-letters?limit=1000", "")
	for _, reason := range []string{"", "&reason=7", "&reason=rare"} {
		everything(t, ask, "/dead-letters?limit=20"+reason, "dead_letters", "msg_id")
	}
	ask("GET", "/orders?limit=1000", "")
	for _, filter := range []string{"", "&status=pending", "&status=dead", "&status=completed", "&customer_name=", "&idempotency_key_prefix=u"} {
		everything(t, ask, "/orders?limit=20"+filter, "orders", "id")
	}
	ids, err := pgx.CollectRows(must(conn.Query(t.Context(), `select id from orders`)), pgx.RowTo[int64])
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if a := ask("GET", fmt.Sprintf("/orders/%d", id), ""); id > 0 && a.status != http.StatusOK {
			t.Errorf("order %d: %d %.200s", id, a.status, a.body)
		}
	}
	letters := everything(t, ask, "/dead-letters?limit=1000", "dead_letters", "msg_id")
	if n := count(t, db, `select count(*) from pgmq.q_order_queue_dlq`); len(letters) != n {
		t.Errorf("%d of %d dead letters are listed", len(letters), n)
	}
	ask("POST", "/dead-letters/redrive", `{"all": true, "dry_run": true}`)
	for i, id := range letters {
		if i%2 == 0 {
			ask("POST", "/dead-letters/"+id+"/redrive", "")
		} else {
			ask("DELETE", "/dead-letters/"+id, "")
		}
	}
	if a := ask("POST", "/dead-letters/redrive", `{"all": true}`); a.json(t)["incomplete"] != nil {
		t.Errorf("not everything could be redriven: %.300s", a.body)
	}
	if a := s.post(t, "/orders", orderJSON(1), "Idempotency-Key", "usual"); a.status != http.StatusCreated {
		t.Errorf("a replay: %d %.300s", a.status, a.body)
	}
}

// The dashboard looks, and samples, for all: on goroutines of its own, on which nobody catches a panic. Whatever its tables hold, it goes on.
func TestNoRowEndsTheDashboard(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	conn := testdb.Connect(t, db)
	// A rate over next to no time is none.
	var at int64
	err := conn.QueryRow(t.Context(), `
		insert into orderflow.samples
			(queue, slot, step, seconds, accepted, completed, failed, retried, dead, waiting, in_flight, delayed, oldest_age, consumers, latency)
		select 'order_queue', s.step % 720, s.step, 1e-320, 1, 0, 0, 0, 0, 7, 0, 0, 1e-310, 0, array[1, null, 9223372036854775807, 9223372036854775807]
		from (select extract(epoch from clock_timestamp())::bigint / 5 - 2 as step) s
		returning 5 * step`).Scan(&at)
	if err != nil {
		t.Fatal(err)
	}
	execute(t, conn, `insert into orderflow.sampling (queue, seen) values ('order_queue', 'null')`) // which is JSON

	s := started(t, map[string]string{"DATABASE_URL": db})
	events := s.watch(t)
	var past struct {
		Minutes struct {
			At       []int64
			Accepted []*float64 `json:"accepted_per_second"`
			Waiting  []*float64
		}
	}
	events.next("series", &past)
	found := slices.Index(past.Minutes.At, at)
	if found < 0 || past.Minutes.Waiting[found] == nil || *past.Minutes.Waiting[found] != 7 {
		t.Fatalf("the sample of %d is not shown: %+v", at, past)
	}
	if rate := past.Minutes.Accepted[found]; rate != nil {
		t.Errorf("the rate is %g", *rate)
	}
	events.until("a snapshot", func(*overview) bool { return true })
	await.True(t, "another sample is taken", func() bool {
		return count(t, db, `select count(*) from orderflow.sampling where sampled_at is not null`) == 1
	})
}

func must[T any](v T, _ error) T { return v }

// everything asks for a list page by page and returns its ids.
func everything(t *testing.T, ask func(method, path, body string) answer, path, list, id string) []string {
	t.Helper()
	var ids []string
	seen := map[string]bool{}
	for cursor := ""; ; {
		next := path
		if cursor != "" {
			next += "&cursor=" + cursor
		}
		a := ask("GET", next, "")
		if a.status != http.StatusOK {
			return ids
		}
		got := a.json(t)
		for _, item := range got[list].([]any) {
			key := fmt.Sprint(item.(map[string]any)[id])
			if seen[key] {
				t.Fatalf("%s: %s is listed again", path, key)
			}
			seen[key] = true
			ids = append(ids, key)
		}
		if got["next_cursor"] == nil {
			return ids
		}
		cursor = got["next_cursor"].(string)
	}
}

// fill adds a row for each extreme value of each column of a table, and returns how many there are. What the table's constraints refuse
// cannot be there.
func fill(t *testing.T, conn *pgx.Conn, table string) int {
	t.Helper()
	type column struct {
		Name, Type string
		Identity   bool
	}
	columns, err := pgx.CollectRows(must(conn.Query(t.Context(), `
		select a.attname::text as name, format_type(a.atttypid, null) as type, a.attidentity <> '' as identity
		from pg_attribute a where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum`, table)), pgx.RowToStructByPos[column])
	if err != nil || len(columns) < 6 {
		t.Fatal(columns, err)
	}
	usual := map[string]string{"vt": "now()", "customer_name": "'c'", "product_name": "'p'", "quantity": "1", "price": "1", "message": `'{"order_id": 1}'`}
	n := 0
	for _, c := range columns {
		values, ok := extremes[c.Type]
		if !ok {
			t.Fatalf("column %s of %s: nothing is known of the type %s", c.Name, table, c.Type)
		}
		for _, value := range values {
			row := map[string]string{c.Name: "(" + value + ")::" + c.Type}
			for name, v := range usual {
				if row[name] == "" && has(columns, func(c column) bool { return c.Name == name }) {
					row[name] = v
				}
			}
			var names, exprs []string
			for name, v := range row {
				names, exprs = append(names, name), append(exprs, v)
			}
			tag, err := conn.Exec(t.Context(), `insert into `+table+` (`+strings.Join(names, ", ")+`) overriding system value select `+strings.Join(exprs, ", ")+` on conflict do nothing`)
			switch {
			case err == nil:
				n += int(tag.RowsAffected())
			case strings.Contains(err.Error(), "constraint"), strings.Contains(err.Error(), "index row"):
			default:
				t.Fatalf("%s: %s = %s: %v", table, c.Name, value, err)
			}
		}
	}
	return n
}

func has[T any](list []T, is func(T) bool) bool {
	for _, v := range list {
		if is(v) {
			return true
		}
	}
	return false
}
