package queue_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/queue"
)

func TestAMessageThatIsTooLargeComesWithoutItsBody(t *testing.T) {
	for kind, more := range map[string]string{
		"compressed":            `repeat('x', 2000000)`,
		"as large as it seems":  `(select string_agg(md5(i::text || random()), '') from generate_series(1, 40000) i)`,
		"far larger than it is": `(select jsonb_agg(1e131071::numeric) from generate_series(1, 20))`,
	} {
		t.Run(kind, func(t *testing.T) {
			b := setup(t)
			ids := b.Publish(3)
			b.Exec(`update pgmq.q_order_queue set message = message || jsonb_build_object('more', `+more+`) where msg_id = $1`, ids[1])
			f, err := b.Fetch(b.ctx, b.conn, queue.Bounds{Messages: 3, Bytes: 4 << 20, MessageBytes: 1 << 20}, time.Minute)
			if err != nil || len(f.Messages) != 3 {
				t.Fatalf("%+v, %v", f, err)
			}
			// Where the row shows how large it is, nothing but the excerpt has left the database.
			if excerpt := len(f.Messages[1].Body) > 0; excerpt != (kind != "far larger than it is") {
				t.Errorf("%d bytes of body", len(f.Messages[1].Body))
			}
			for i, m := range f.Messages {
				switch {
				case i != 1 && m.Poison == nil:
				case i == 1 && m.Poison != nil && m.Poison.Reason == message.ReasonTooLarge && m.Size > 1<<20 && len(m.Body) < 200 && m.OrderID == ids[1]:
				default:
					t.Errorf("message %d: %+v, %d bytes of body, order %d", i, m.Poison, len(m.Body), m.OrderID)
				}
			}
			e := entries(f.Messages[1].Message)
			e[0].Reason, e[0].Error = f.Messages[1].Poison.Reason, f.Messages[1].Poison.Problem
			b.wantIDs(b.confirmed(b.Bury(b.ctx, b.conn, e, me)), ids[1])
			if o := b.Order(ids[1]); o.Status != "dead" {
				t.Errorf("its order is %s", o.Status)
			}
		})
	}
}

// However large the text of one message is, beside all that may be held: it comes, to be set aside. Otherwise it would be asked for again and again,
// and nothing behind it be read.
func TestAMessageThatIsLargerThanAllMemoryIsSetAside(t *testing.T) {
	b := setup(t)
	ids := b.Publish(2)
	b.Exec(`update pgmq.q_order_queue set message = message || jsonb_build_object('more', (select jsonb_agg(1e131071::numeric) from generate_series(1, 40))) where msg_id = $1`, ids[0])
	f, err := b.Fetch(b.ctx, b.conn, queue.Bounds{Messages: 1, Bytes: 1 << 20, MessageBytes: 1 << 20}, time.Minute)
	if err != nil || len(f.Messages) != 1 {
		t.Fatalf("%d messages, %v", len(f.Messages), err)
	}
	if m := f.Messages[0]; m.Poison == nil || m.Poison.Reason != message.ReasonTooLarge || m.OrderID != ids[0] || m.Size < 5<<20 || len(m.Body) > 0 {
		t.Errorf("message %d: %+v, %d bytes, %d of body", m.ID, m.Poison, m.Size, len(m.Body))
	}
}

// The sum of bodies that are each allowed is bounded as well, and where a row does not show how large its text is, a read that brings
// too much ends: less is asked for then.
func TestAReadStopsAtItsBytes(t *testing.T) {
	b := setup(t)
	b.Publish(6)
	b.Exec(`update pgmq.q_order_queue set message = message || jsonb_build_object('more', (select string_agg(md5(i::text || random()), '') from generate_series(1, 10000) i))`)
	read := func(n int) (queue.Fetched, error) {
		return b.Fetch(b.ctx, b.conn, queue.Bounds{Messages: n, Bytes: 1 << 20, MessageBytes: 1 << 20}, time.Minute)
	}
	// 320 kB each: the fourth begins below a MiB.
	if f, err := read(6); err != nil || len(f.Messages) != 4 {
		t.Fatalf("%d messages, %v", len(f.Messages), err)
	}
	b.Exec(`update pgmq.q_order_queue set vt = now(), message = message - 'more' || jsonb_build_object('more', (select jsonb_agg(1e131071::numeric) from generate_series(1, 5)))`)
	if _, err := read(6); queue.Classify(err) != queue.TooLong {
		t.Fatalf("a read of 4 MB was not ended: %v", err)
	}
	if f, err := read(1); err != nil || len(f.Messages) != 1 || f.Messages[0].Poison != nil {
		t.Fatalf("%+v, %v", f, err)
	}
}

// After a read that failed for what a row holds, the row may have been taken by another consumer. The next one is not to pay for it.
func TestASoundMessageIsNotTakenForAnUnreadableOne(t *testing.T) {
	b := setup(t)
	b.Publish(1)
	f, err := b.FetchUnreadable(b.ctx, b.conn, bounds(30), time.Minute)
	if err != nil || len(f.Messages) != 0 || f.Sound != 1 {
		t.Fatalf("%+v, %v", f, err)
	}
	if got := b.read(1); len(got) != 1 || got[0].ReadCount != 1 {
		t.Fatalf("%+v: it was leased to nobody", got)
	}
}

// Where a trigger raises an error for a row, or does not end, nothing can be done with its message. It is named, and what is due behind it can be read.
func TestAMessageThatCannotBeLeasedIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		does, why string
		fault     queue.Fault
	}{
		"an exception":          {`raise exception 'not this one';`, "not this one", queue.Spoiled},
		"a SQLSTATE of its own": {`raise exception 'not this one' using errcode = 'SH001';`, "not this one", queue.Refused},
		"a hang":                {`perform pg_sleep(600);`, "statement timeout", queue.TooLong},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			ids := b.Publish(3)
			b.Exec(`create function refuse() returns trigger language plpgsql as $$ begin if old.msg_id = 1 then ` + test.does + ` end if; return new; end $$`)
			b.Exec(`create trigger refuse before update on pgmq.q_order_queue for each row execute function refuse()`)
			ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second) // a row has half of what is left
			defer cancel()
			_, err := b.FetchUnreadable(ctx, b.conn, bounds(1), time.Minute)
			var unleasable *queue.UnleasableError
			if !errors.As(err, &unleasable) || unleasable.ID != ids[0] || queue.Classify(err) != test.fault || !strings.Contains(err.Error(), test.why) {
				t.Fatalf("%v", err)
			}
			others := bounds(2)
			others.Except = []int64{ids[0]}
			if f, err := b.Fetch(b.ctx, b.conn, others, time.Minute); err != nil || len(f.Messages) != 2 || f.Messages[0].ID != ids[1] {
				t.Fatalf("%+v, %v", f, err)
			}
		})
	}
}

// What keeps all messages from being leased names none.
func TestWhatConcernsAllMessagesNamesNone(t *testing.T) {
	for name, sql := range map[string]string{
		"read-only": `set default_transaction_read_only = on`,
		"a lock":    `set lock_timeout = 1`,
		"no table":  `alter table pgmq.q_order_queue rename to elsewhere`,
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.Publish(3)
			if name == "a lock" {
				hold, err := b.Begin(b.ctx)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = hold.Rollback(b.ctx) }()
				if _, err := hold.Exec(b.ctx, `lock table pgmq.q_order_queue`); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := b.conn.Exec(b.ctx, sql); err != nil {
				t.Fatal(err)
			}
			_, err := b.FetchUnreadable(b.ctx, b.conn, bounds(1), time.Minute)
			if err == nil || errors.As(err, new(*queue.UnleasableError)) {
				t.Errorf("%v", err)
			}
		})
	}
}
