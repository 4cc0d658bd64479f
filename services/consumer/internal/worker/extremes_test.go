package worker_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"orderflow.example/kit/await"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/message"
)

// extremes are values of each column that another program, or a hand, can put into a row of the queue.
var extremes = map[string][]string{
	"read_ct":     {"0", "1", "5", "-1", "-2147483648", "2147483646", "2147483647"},
	"enqueued_at": {"now()", "'infinity'", "'-infinity'", "'4713-01-01 00:00:00+00 BC'", "'294276-12-31 23:59:59.999999+00'"},
	"vt":          {"now()", "'-infinity'", "'4713-01-01 00:00:00+00 BC'", "'epoch'"},
	"headers": {
		"null", "'null'", "'{}'", "'[]'", `'"text"'`, "'7'", "'true'",
		`'{"orderflow-failed": 2147483647}'`, `'{"orderflow-failed": 1e300, "orderflow-released": -1e300}'`,
		`'{"orderflow-unanswered": 2147483647, "orderflow-started": {"1": 1, "2": 1, "3": 1, "4": 1}}'`, `'{"orderflow-unanswered": -1e300, "orderflow-started": [1, 2, 3]}'`,

		`'{"orderflow-released": 2147483647, "orderflow-retry": 2147483647}'`, `'{"orderflow-unanswered": {}, "orderflow-failed": {}, "orderflow-retry": [], "orderflow-error": 7}'`,
		`'{"orderflow-dead": {"reason": 1}, "orderflow-headers": "x"}'`, `'{"traceparent": 1}'`,
		`jsonb_build_object('x', repeat('header ', 100000))`, // 700,000 bytes, of which few are stored
	},
	// ORDER is a good order's body.
	"message": {
		"ORDER", "null", "'null'", "'[]'", "'{}'", "'7'", `'"text"'`, "'false'",
		`ORDER || '{"order_id": 1e400}'`, `ORDER || '{"order_id": -1}'`, `ORDER || '{"order_id": 9223372036854775807}'`,
		`ORDER || '{"order_id": 1e131071}'`, `ORDER || '{"order_id": {"a": [1]}}'`, `ORDER - 'order_id'`,
		`ORDER || '{"created_at": "infinity"}'`, `ORDER || '{"created_at": "294277-01-01T00:00:00"}'`, `ORDER || '{"created_at": 7}'`,
		`ORDER || '{"quantity": 1e131071}'`, `ORDER || '{"price": -1e131071}'`, `ORDER || '{"more": null}'`,
		`ORDER || jsonb_build_object('more', repeat('x', 2000000))`, // beyond MAX_MESSAGE_BYTES
		`jsonb_build_object('more', repeat('x', 2000000))`,
		`to_jsonb(repeat('x', 2000000))`,
		`ORDER || jsonb_build_object('more', (select jsonb_agg(1e131071::numeric) from generate_series(1, 20)))`, // 2.6 MB as text, 400 bytes stored
	},
}

// A database's encoding may have what UTF-8 does not have. A message with such a character cannot be read, and goes to the dead letters; the
// others are processed.
func TestACharacterThatUTF8LacksStopsNoOther(t *testing.T) {
	for encoding, character := range map[string]string{"WIN1252": `\x81`, "EUC_JP": `\xa9\xa1`} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			b := &bundle{DB: dbtest.NewEncoded(t, encoding), t: t}
			b.Exec(`select pgmq.send($1, e'{"a": "`+character+`"}'::jsonb)`, dbtest.QueueName)
			b.Exec(`select pgmq.send($1, '{}'::jsonb, e'{"a": "`+character+`"}'::jsonb)`, dbtest.QueueName)
			b.Publish(10)
			r := b.start(settings(), noop)
			if a := b.settled(); a.Completed != 10 || a.Letters != 2 {
				t.Fatalf("%+v", a)
			}
			if n := dbtest.One[int](b.DB, `select count(*) from pgmq.q_order_queue_dlq where headers -> 'orderflow-dead' ->> 'reason' = $1`, message.ReasonUnreadable); n != 2 {
				t.Errorf("%d of 2 dead letters are unreadable", n)
			}
			r.stop()
		})
	}
}

// Whatever stands in some rows of the queue, the others are processed; those that can be worked on are, too, and the rest goes to the
// dead letters with a reason. Nothing is read for ever, and nothing is processed twice.
func TestNoRowsValueStopsTheOthers(t *testing.T) {
	b := setup(t)
	var n tries
	r := b.start(settings(), handle(func(_ context.Context, m message.Message) error { n.note(m); return nil }))
	rapid.Check(t, func(rt *rapid.T) {
		b.Exec(`truncate public.orders, pgmq.q_order_queue, pgmq.q_order_queue_dlq`)
		rows := rapid.IntRange(1, 12).Draw(rt, "rows")
		insert := "begin;"
		sound := 0 // rows that can be worked on
		for i := range rows {
			value := map[string]string{}
			for _, column := range slices.Sorted(maps.Keys(extremes)) {
				value[column] = rapid.SampledFrom(extremes[column]).Draw(rt, fmt.Sprintf("%s of row %d", column, i))
			}
			insert += fmt.Sprintf(`
				with o as (insert into public.orders (customer_name, product_name, quantity, price) values ('strange', 'p', 1, 1) returning *)
				insert into pgmq.q_order_queue (read_ct, enqueued_at, vt, headers, message)
				select %s, %s, %s, %s, %s from o;`, value["read_ct"], value["enqueued_at"], value["vt"], value["headers"],
				strings.ReplaceAll(value["message"], "ORDER", `jsonb_build_object('order_id', o.id, 'customer_name', o.customer_name, 'created_at', o.created_at)`))
			if slices.Contains([]string{"ORDER", `ORDER || '{"more": null}'`}, value["message"]) &&
				!slices.Contains([]string{"2147483646", "2147483647"}, value["read_ct"]) && !strings.Contains(value["headers"], "failed") && !strings.Contains(value["headers"], `"4": 1`) {
				sound++
			}
		}
		b.Exec(insert + "commit")
		b.Publish(10)
		await.True(t, "the queue is empty", func() bool { return b.Audit().Queued == 0 })
		if good := dbtest.One[int](b.DB, `select count(*) from public.orders where customer_name <> 'strange' and status = 'completed' and effects = 1`); good != 10 {
			rt.Fatalf("%d of 10 good orders are completed", good)
		}
		if a := b.Audit(); a.Duplicated != 0 || a.Completed+a.Letters != 10+rows {
			rt.Fatalf("%+v of %d strange rows", a, rows)
		}
		if vague := dbtest.One[int](b.DB, `select count(*) from pgmq.q_order_queue_dlq where coalesce(headers->'orderflow-dead'->>'error', '') = ''`); vague != 0 {
			rt.Fatalf("%d dead letters do not say why", vague)
		}
		if done := dbtest.One[int](b.DB, `select count(*) from public.orders where customer_name = 'strange' and status = 'completed'`); done < sound {
			rt.Fatalf("%d of %d orders that can be worked on are completed", done, sound)
		}
	})
	r.stop()
}

// A row whose value cannot even be made text, as after damage to the table's TOAST, stops nobody. Damage cannot be made by SQL; a cast
// that fails for one row can.
func TestARowThatCannotBeReadIsSetAside(t *testing.T) {
	b := setup(t)
	b.Exec(`create function as_text(value jsonb) returns text language plpgsql as $$ begin
		if value @> '{"order_id": 37}' then raise exception 'missing chunk number 0 for toast value 16400' using errcode = 'XX001'; end if;
		return jsonb_out(value)::text; end $$`)
	b.Exec(`create cast (jsonb as text) with function as_text(jsonb)`)
	b.Publish(100)
	// A compressed body is made text by that cast.
	b.Exec(`update pgmq.q_order_queue set message = message || jsonb_build_object('more', repeat('x', 100000)) where message @> '{"order_id": 37}'`)
	r := b.start(settings(), noop)
	if await.True(t, "the others are completed, and it is a dead letter", func() bool {
		a := b.Audit()
		return a.Completed == 99 && a.Letters == 1 && a.Queued == 0
	}); dbtest.One[string](b.DB, `select (headers->'orderflow-dead'->>'reason') || ': ' || (headers->'orderflow-dead'->>'error') from pgmq.q_order_queue_dlq`) !=
		"unreadable: the message cannot be read: ERROR: missing chunk number 0 for toast value 16400 (SQLSTATE XX001)" {
		t.Error("the dead letter does not say what is wrong")
	}
	r.stop()
}

// Bodies are held in memory up to a number of bytes, whatever the batch.
func TestReadsAreBoundedInBytes(t *testing.T) {
	b := setup(t)
	s := settings()
	s.Batch, s.Concurrency, s.HeldBytes, s.MessageBytes = 1000, 1000, 4<<20, 1<<20
	const large = 30
	b.Publish(large)
	b.Exec(`update pgmq.q_order_queue set message = message || jsonb_build_object('more', (select string_agg(md5(random()::text || i), '') from generate_series(1, 16000) i))`)
	release := make(chan struct{})
	r := b.start(s, handle(func(context.Context, message.Message) error { <-release; return nil }))
	await.True(t, "it holds what it may", func() bool { return r.metric("messages_received_total") >= 8 })
	b.Publish(1)
	if got := r.metric("messages_received_total"); got > 9 {
		t.Errorf("%v messages of half a megabyte are held, where 4 MiB are allowed", got)
	}
	close(release)
	if a := b.settled(); a.Completed != large+1 {
		t.Errorf("%+v", a)
	}
	r.stop()
}
