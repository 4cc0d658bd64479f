package queue

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderflow.example/kit/testdb"
)

// counting is a queue, a connection to its database, and the number of bytes that the queue's connections have read.
func counting(t *testing.T) (*Queue, *pgx.Conn, *atomic.Int64) {
	t.Helper()
	url := testdb.New(t)
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	var read atomic.Int64
	dial := cfg.ConnConfig.DialFunc
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return &counted{conn, &read}, err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return New(pool, "order_queue"), testdb.Connect(t, url), &read
}

type counted struct {
	net.Conn
	read *atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

func exec(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestLargeValuesAreCut(t *testing.T) {
	t.Parallel()
	q, conn, _ := counting(t)
	const noise = `(select string_agg(md5(g::text), '') from generate_series(1, %d) g)` // 32 characters each, which do not compress
	noisy := func(n int) string { return `to_jsonb(` + fmt.Sprintf(noise, n) + `)` }
	for _, sent := range []struct{ message, headers string }{
		{`'{"order_id": 1}'`, `'{"schema": 1}'`},
		{`null`, `null`},
		{`to_jsonb(repeat('a', 16382))`, `'null'`}, // with its quotes just what is shown
		{`to_jsonb(repeat('a', 16383))`, `'{}'`},
		{`to_jsonb(repeat(U&'\+01F600', 5000))`, `'{}'`}, // few characters, many bytes
		{noisy(2000), noisy(1000)},
		{noisy(150_000), `'{}'`},                   // more than is unpacked
		{`'[]'`, `to_jsonb(repeat('a', 5000000))`}, // perhaps more
		{`'"after"'`, `'{}'`},                      // what was not unpacked does not count
	} {
		exec(t, conn, `insert into pgmq.q_order_queue (vt, message, headers) values (now(), (`+sent.message+`)::jsonb, (`+sent.headers+`)::jsonb)`)
	}
	messages, err := q.Peek(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	describe := func(c *Cut) string {
		switch {
		case c == nil:
			return "whole"
		case c.StoredBytes < 100:
			return fmt.Sprintf("stored in %d bytes?", c.StoredBytes)
		case c.Excerpt == nil:
			return "cut"
		}
		return fmt.Sprintf("excerpt of %d characters", len([]rune(*c.Excerpt)))
	}
	var got []string
	for _, m := range messages {
		cut := m.Truncated
		if cut == nil {
			cut = &Truncated{}
		}
		got = append(got, fmt.Sprintf("%d %s %s", len(m.Message), describe(cut.Message), describe(cut.Headers)))
	}
	want := []string{
		"15 whole whole", "4 whole whole", "16384 whole whole", "4 excerpt of 500 characters whole", "4 excerpt of 500 characters whole",
		"4 excerpt of 500 characters excerpt of 500 characters", "4 cut whole", "2 whole cut", "7 whole whole",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if string(messages[0].Message) != `{"order_id": 1}` || string(messages[0].Headers) != `{"schema": 1}` || string(messages[1].Headers) != "null" {
		t.Errorf("%s %s", messages[0].Message, messages[0].Headers)
	}
}

// Whatever lies in the queue, the api gets no more of it than an answer may have; and an answer is filled from its beginning.
func TestLargeValuesNeverReachThisProcess(t *testing.T) {
	t.Parallel()
	q, conn, read := counting(t)
	for _, table := range []string{"pgmq.q_order_queue", "pgmq.q_order_queue_dlq"} {
		// 10 MB each, compressed and not; then many of a size that would be shown.
		exec(t, conn, `
			with large as (select to_jsonb(string_agg(md5(g::text), '')) as text from generate_series(1, 312500) g)
			insert into `+table+` (vt, message, headers) select now(), large.text, '{"orderflow-dead": {"reason": "too_large"}}' from large, generate_series(1, 3)`)
		exec(t, conn, `insert into `+table+` (vt, message, headers) select now(), to_jsonb(repeat('a', 10000000)), to_jsonb(repeat('b', 10000000)) from generate_series(1, 3)`)
		exec(t, conn, `
			insert into `+table+` (vt, message, headers)
			select now(), to_jsonb(repeat('m', 10000)), jsonb_build_object('orderflow-dead', jsonb_build_object('reason', 'many', 'error', repeat('e', 3000)))
			from generate_series(1, 990)`)
	}
	const enough = 4 << 20

	messages, err := q.Peek(t.Context(), 1000)
	if err != nil || len(messages) != 996 {
		t.Fatal(len(messages), err)
	}
	if n := read.Swap(0); n > enough {
		t.Errorf("peeking read %d bytes", n)
	}
	whole := 0
	for i, m := range messages[6:] {
		if m.Truncated == nil {
			whole++
			if whole != i+1 {
				t.Fatalf("message %d is shown after others that are not", m.MsgID)
			}
		}
	}
	if whole < 50 || whole > 100 { // of 13 KB each in 1 MiB
		t.Errorf("%d messages are shown", whole)
	}

	page, err := q.DeadLetters(t.Context(), LetterFilter{}, 1000, "")
	if err != nil || len(page.DeadLetters) != 996 {
		t.Fatal(len(page.DeadLetters), err)
	}
	if n := read.Swap(0); n > enough {
		t.Errorf("listing dead letters read %d bytes", n)
	}
	for _, d := range page.DeadLetters[:990] {
		if d.Reason == nil || *d.Reason != "many" || len(*d.Error) != 1000 {
			t.Fatalf("what a letter died of is not shown: %+v", d)
		}
	}
	large, err := q.DeadLetters(t.Context(), LetterFilter{Reason: "too_large"}, 1000, "")
	if err != nil || len(large.DeadLetters) != 3 || large.DeadLetters[0].Truncated.Message == nil || *large.DeadLetters[0].Reason != "too_large" {
		t.Errorf("letters with a large body: %+v, %v", large.DeadLetters, err)
	}
}

// A page of messages that are each small enough to be looked into must not cost the server as much as all of them together; and what each
// letter died of is told in any case.
func TestOnlySoMuchIsUnpackedForAnAnswer(t *testing.T) {
	t.Parallel()
	q, conn, _ := counting(t)
	const letters = 40
	exec(t, conn, `
		with large as (select string_agg(md5(g::text), '') as pad from generate_series(1, 32768) g)
		insert into pgmq.q_order_queue_dlq (vt, message, headers)
		select now(), jsonb_build_object('order_id', n, 'pad', large.pad), '{"orderflow-dead": {"reason": "failed"}}'
		from large, generate_series(1, 40) n`)
	page, err := q.DeadLetters(t.Context(), LetterFilter{}, 1000, "")
	if err != nil || len(page.DeadLetters) != letters {
		t.Fatal(len(page.DeadLetters), err)
	}
	begun := 0
	for i, d := range page.DeadLetters {
		if d.Reason == nil || *d.Reason != "failed" || d.Truncated == nil || d.Truncated.Message == nil || d.Truncated.Message.StoredBytes < 1<<20 {
			t.Fatalf("letter %d is shown as %+v", d.MsgID, d)
		}
		if d.Truncated.Message.Excerpt != nil {
			if begun++; begun != i+1 {
				t.Errorf("letter %d has an excerpt after others that have none", d.MsgID)
			}
		}
	}
	if begun < 4 || begun > 8 { // of 1 MiB each
		t.Errorf("%d of %d letters of 1 MiB were unpacked", begun, letters)
	}
}
