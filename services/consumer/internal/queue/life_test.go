package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/queue"
)

// After a failover to a standby that was behind, or a restore, msg_id and order id begin again where they were, and the first
// read of the new message with the old id has read_ct = 1 like the first read of the old one. In a queue that was dropped and made again
// it is msg_id alone, and the message may even be about the same order.
func TestALeaseOfAnotherLifeOfTheDatabaseChangesNothing(t *testing.T) {
	for name, again := range map[string]func(b *bundle){
		"a restore": func(b *bundle) {
			b.Restore()
			b.Publish(1)
		},
		"a queue dropped and made again": func(b *bundle) {
			body := dbtest.One[string](b.DB, `select message::text from pgmq.q_order_queue`)
			b.Exec(`select pgmq.drop_queue('order_queue')`)
			b.Exec(`select pgmq.create('order_queue')`)
			b.Send(body, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.Snapshot()
			b.Publish(1)
			stale := entries(b.read(1)...)
			again(b)
			if err := b.conn.DeallocateAll(b.ctx); err != nil { // plans of a table that is no more
				t.Fatal(err)
			}
			fresh := entries(b.read(1)...)
			if fresh[0].ID != stale[0].ID || fresh[0].ReadCount != stale[0].ReadCount || fresh[0].OrderID != stale[0].OrderID {
				t.Fatalf("the ids did not come again: %+v, %+v", stale, fresh)
			}
			b.wantStale(stale)
			b.wantIDs(b.confirmed(b.Ack(b.ctx, b.conn, fresh, me)), fresh[0].ID)
		})
	}
}

// wantStale wants that no statement under a lease confirms or changes anything, whatever is in the queue.
func (b *bundle) wantStale(stale []queue.Entry) {
	b.t.Helper()
	row := `select format('%s %s %s', q, o.status, o.attempts) from pgmq.q_order_queue as q, public.orders as o`
	before := b.state(row)
	b.Exec(`create table kept as table pgmq.q_order_queue; create table kept_orders as table public.orders`)
	stale[0].Error = "of another life"
	for name, write := range b.writes() {
		if got := b.confirmed(write(b.ctx, b.conn, stale)); len(got) > 0 {
			b.t.Errorf("%s of a lease of another life was confirmed", name)
		}
		if after := b.state(row); after != before {
			b.t.Errorf("%s of a lease of another life changed\n%s into\n%s", name, before, after)
		}
		b.Exec(`truncate pgmq.q_order_queue, public.orders, pgmq.q_order_queue_dlq;
			insert into pgmq.q_order_queue overriding system value table kept; insert into public.orders table kept_orders`)
	}
	for _, unsure := range []bool{false, true} {
		stale[0].Unsure = unsure
		fates, err := b.Fates(b.ctx, b.conn, stale, me)
		if err != nil || fates[stale[0].Lease] != queue.Lost {
			b.t.Errorf("fates of a lease of another life: %v, %v", fates, err)
		}
	}
}

// What else has an order's id is not the order: it is never completed, delayed, failed or killed in its place.
func TestAMessageOfAnOrderThatHadTheIDBeforeIsSetAside(t *testing.T) {
	for name, again := range map[string]func(b *bundle){
		"orders truncated with restart identity": func(b *bundle) { b.Exec(`truncate public.orders restart identity`) },
		"orders alone restored": func(b *bundle) {
			b.Exec(`create table backup as table public.orders with no data`)
			b.Exec(`truncate public.orders; insert into public.orders table backup;
				do $$ begin perform setval(pg_get_serial_sequence('public.orders', 'id'), 1, false); end $$`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			old := b.Publish(4)
			taken := entries(b.read(2)...) // read before, ended after
			b.read(1)
			b.expire(old[2]) // a delivery of which nothing was heard
			again(b)
			b.Publish(4)
			if first := dbtest.One[int64](b.DB, `select min(id) from public.orders`); first != taken[0].OrderID {
				t.Fatalf("the ids did not come again: %d", first)
			}
			for i := range taken {
				taken[i].Error, taken[i].Reason = "of another order", message.ReasonPermanent
			}
			for _, ack := range []func(context.Context, *pgx.Conn, []queue.Entry, string) (queue.Confirmed, error){b.Ack, b.AckUnlocked} {
				b.wantIDs(b.confirmed(ack(b.ctx, b.conn, taken, me)))
			}
			fates, err := b.Fates(b.ctx, b.conn, taken, me)
			if err != nil || fates[taken[0].Lease] != queue.Orphaned {
				t.Fatalf("%v, %v", fates, err)
			}
			b.wantIDs(b.confirmed(b.Nack(b.ctx, b.conn, taken[:1], "test")), old[0])
			b.wantIDs(b.confirmed(b.Bury(b.ctx, b.conn, taken, me)), old[0], old[1])

			f, err := b.Fetch(b.ctx, b.conn, bounds(100), time.Minute)
			if err != nil || len(f.Messages) != 6 {
				t.Fatalf("%+v, %v", f, err)
			}
			var good, bad []queue.Entry
			for _, m := range f.Messages {
				e := queue.EntryOf(&m.Message, true)
				switch {
				case m.ID > old[3] && m.Poison == nil:
					good = append(good, e)
				case m.ID <= old[3] && m.Poison != nil && m.Poison.Reason == message.ReasonOtherOrder:
					e.Reason, e.Error = m.Poison.Reason, m.Poison.Problem
					bad = append(bad, e)
				default:
					t.Fatalf("%+v: %+v", m.Message, m.Poison)
				}
			}
			b.wantIDs(b.confirmed(b.Bury(b.ctx, b.conn, bad, me)), old[2], old[3])
			if a := b.Audit(); a.Pending != 4 || a.Letters != 4 || a.Dead != 0 {
				t.Fatalf("the new orders were touched: %+v", a)
			}
			if told := dbtest.One[int](b.DB, `select count(*) from orderflow.history`); told != 0 {
				t.Errorf("the histories of the new orders tell of %d deliveries of the old ones", told)
			}
			if told := dbtest.One[int](b.DB, `select count(*) from public.orders where attempts > 0 or last_error is not null`); told != 0 {
				t.Fatalf("%d new orders were told of the old ones' failures", told)
			}
			if n := len(b.confirmed(b.Ack(b.ctx, b.conn, good, me))); n != 4 {
				t.Fatalf("%d of the 4 new orders were completed", n)
			}
			if a := b.Audit(); a.Completed != 4 || a.Duplicated != 0 || a.Queued != 0 {
				t.Fatalf("%+v", a)
			}
		})
	}
}

func TestMessagesAreTheirOrders(t *testing.T) {
	b := setup(t)
	for name, test := range map[string]struct {
		prepare string // of order 1 and the message of it
		own     bool
	}{
		"as the api writes them":                         {`update public.orders set message_id = $1`, true},
		"an order that names no message":                 {`update public.orders set message_id = null where $1::bigint > 0`, true},
		"an order that names another message, a copy's":  {`update public.orders set message_id = $1 + 1`, true},
		"a message without a time, that the order names": {`with o as (update public.orders set message_id = $1) update pgmq.q_order_queue set message = message - 'created_at'`, true},
		"a message without a time, that it does not":     {`with o as (update public.orders set message_id = $1 + 1) update pgmq.q_order_queue set message = message - 'created_at'`, false},
		"neither names anything":                         {`update pgmq.q_order_queue set message = message - 'created_at' where $1::bigint > 0`, true},
		"the example's local time":                       {`update public.orders set created_at = created_at - interval '5 hours 45 minutes' where $1::bigint > 0`, true},
		"a microsecond off":                              {`update public.orders set created_at = created_at - interval '1 microsecond' where $1::bigint > 0`, false},
		"a day off":                                      {`update public.orders set created_at = created_at - interval '1 day' where $1::bigint > 0`, false},
		"a day later":                                    {`update public.orders set created_at = created_at + interval '1 day' where $1::bigint > 0`, false},
		"local time, to the east":                        {`update public.orders set created_at = created_at + interval '14 hours' where $1::bigint > 0`, true},
		"an order of no time":                            {`update public.orders set created_at = 'infinity' where $1::bigint > 0`, false},
		"local time, of an order that names it":          {`update public.orders set created_at = created_at - interval '1 hour', message_id = $1`, true},
		"a day off, of an order that names it":           {`update public.orders set created_at = created_at - interval '1 day', message_id = $1`, false},
		"an order of no time, that names it":             {`update public.orders set created_at = 'infinity', message_id = $1`, true},
		"local time, of an order that names another":     {`update public.orders set created_at = created_at - interval '1 hour', message_id = $1 + 1`, false},
	} {
		b.Exec(`truncate public.orders, pgmq.q_order_queue restart identity`)
		id := b.Publish(1)[0]
		b.Exec(test.prepare, id)
		f, err := b.Fetch(b.ctx, b.conn, bounds(1), time.Minute)
		if err != nil || len(f.Messages) != 1 {
			t.Fatal(err)
		}
		m := f.Messages[0]
		if own := m.Poison == nil; own != test.own || !own && m.Poison.Reason != message.ReasonOtherOrder {
			t.Errorf("%s: poison %+v, want the order's own: %t", name, m.Poison, test.own)
		}
		if n := len(b.confirmed(b.Ack(b.ctx, b.conn, entries(m.Message), me))); (n == 1) != test.own {
			t.Errorf("%s: %d effects", name, n)
		}
	}
}

// state is what a query says of the tables, or that there is nothing.
func (b *bundle) state(query string) string {
	b.t.Helper()
	rows := dbtest.All[string](b.DB, query)
	if len(rows) == 0 {
		return "nothing"
	}
	return rows[0]
}
