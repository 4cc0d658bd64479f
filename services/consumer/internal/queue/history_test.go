package queue_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/queue"
)

// told is an entry about a delivery that ended with outcome; the handler ran from one to two seconds after the lease, where one was started.
func told(m *message.Message, outcome string, started bool) queue.Entry {
	e := queue.EntryOf(m, true)
	leased, _ := m.Leased.Time()
	e.Error, e.History = "why", queue.NewHistoryRow(m, outcome, started && outcome != queue.OutcomeReleased, message.InstantOf(leased.Add(2*time.Second)))
	if started {
		e.Started = message.InstantOf(leased.Add(time.Second))
	}
	if outcome == queue.OutcomeReleased && !started {
		e.Error = ""
	}
	return e
}

// history is what is told of an order, a line for each row.
func (b *bundle) history(order int64) []string {
	b.t.Helper()
	return dbtest.All[string](b.DB, `
		select concat_ws(' ', seq, 'x' || times, 'read ' || read_ct, outcome, 'attempt ' || attempt, reason, error)
		  from orderflow.history where order_id = $1 order by seq`, order)
}

func (b *bundle) wantHistory(order int64, want ...string) {
	b.t.Helper()
	if got := b.history(order); !slices.Equal(got, want) {
		b.t.Errorf("history of order %d:\n%s\nwant:\n%s", order, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// next leases one message, which is made the first that is due.
func (b *bundle) next(id int64) *message.Message {
	b.t.Helper()
	b.Exec(`update pgmq.q_order_queue set vt = '2001-01-01' where msg_id = $1`, id)
	got := b.read(1)
	if len(got) != 1 || got[0].ID != id {
		b.t.Fatalf("read %+v", got)
	}
	return &got[0]
}

func TestEachDeliveryThatDidNotSucceedIsTold(t *testing.T) {
	t.Parallel()
	for name, b := range flavours(t) {
		id := b.Publish(1)[0]
		b.wantHistory(id)

		failed := []queue.Entry{told(b.next(id), queue.OutcomeFailed, true)}
		failed[0].Delay = time.Hour
		for range 2 { // a repetition, after a lost reply, is the same delivery
			b.wantIDs(b.confirmed(b.Nack(b.ctx, b.conn, failed, me)), id)
		}
		if ok := dbtest.One[bool](b.DB, `
			select h.due_at <= h.leased_at and h.started_at = h.leased_at + interval '1 second' and h.ended_at = h.leased_at + interval '2 seconds'
			   and h.leased_at <= h.settled_at and h.settled_at <= clock_timestamp() and h.retry_at = q.vt and h.consumer = $2
			   and h.trace_id = '4bf92f3577b34da6a3ce929d0e0e4736' and h.created_at = o.created_at and h.enqueued_at = q.enqueued_at
			  from orderflow.history as h join pgmq.q_order_queue as q using (msg_id) join public.orders as o on o.id = h.order_id
			 where h.order_id = $1`, id, me); !ok {
			t.Errorf("%s: %v", name, dbtest.All[string](b.DB, `select h::text from orderflow.history as h`))
		}

		b.next(id) // nothing is heard of it
		expired := b.next(id)
		for range 3 { // handed back, unstarted: together one row, whose repetitions are none
			e := []queue.Entry{told(expired, queue.OutcomeReleased, false)}
			b.wantIDs(b.confirmed(b.Release(b.ctx, b.conn, e, me)), id)
			b.wantIDs(b.confirmed(b.Release(b.ctx, b.conn, e, me)), id)
			expired = b.next(id)
		}
		b.confirmed(b.Release(b.ctx, b.conn, []queue.Entry{told(expired, queue.OutcomeReleased, true)}, me)) // its handler was broken off
		b.confirmed(b.NackMessageOnly(b.ctx, b.conn, []queue.Entry{told(b.next(id), queue.OutcomeTimedOut, true)}, me))
		dead := []queue.Entry{told(b.next(id), queue.OutcomePermanent, true)}
		dead[0].Reason = message.ReasonPermanent
		b.wantIDs(b.confirmed(b.Bury(b.ctx, b.conn, dead, me)), id)
		b.wantHistory(id,
			"1 x1 read 1 failed attempt 1 why",
			"2 x1 read 2 unanswered",
			"3 x3 read 5 released",
			"4 x1 read 6 released why",
			"5 x1 read 7 timed_out attempt 2 why",
			"6 x1 read 8 permanent attempt 3 permanent why")

		letter := dbtest.One[int64](b.DB, `select msg_id from pgmq.q_order_queue_dlq`)
		redriven := dbtest.One[int64](b.DB, `select new_msg_id from orderflow.redrive('order_queue', array[$1::bigint])`, letter)
		b.wantIDs(b.confirmed(b.Ack(b.ctx, b.conn, []queue.Entry{told(b.next(redriven), "", true)}, me)), redriven)
		if got := b.history(id); len(got) != 7 || got[6] != "7 x1 read 0 redriven" {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAnOrderThatSucceedsAtOnceCostsNoRowAndSaysWhenItWasStarted(t *testing.T) {
	b := setup(t)
	acks := map[string]func([]queue.Entry) (queue.Confirmed, error){
		"ack":          func(e []queue.Entry) (queue.Confirmed, error) { return b.Ack(b.ctx, b.conn, e, me) },
		"ack unlocked": func(e []queue.Entry) (queue.Confirmed, error) { return b.AckUnlocked(b.ctx, b.conn, e, me) },
		"ack with work": func(e []queue.Entry) (queue.Confirmed, error) {
			open, err := b.OpenAck(b.ctx, b.conn, e, false, me, queue.Sharing{})
			if err != nil {
				return nil, err
			}
			return open.Commit(b.ctx)
		},
	}
	for name, ack := range acks {
		b.Publish(1)
		m := b.read(1)[0]
		e := told(&m, "", true)
		b.wantIDs(b.confirmed(ack([]queue.Entry{e})), m.ID)
		b.wantHistory(m.OrderID)
		if got := dbtest.One[message.Instant](b.DB, `select started_at from public.orders where id = $1`, m.OrderID); got != e.Started {
			t.Errorf("%s: started at %s, want %s", name, got, e.Started)
		}

		// A second message of the order counts as an effect. It does not change when the first was started.
		again := b.Send(string(m.Body), nil)
		second := told(b.next(again), "", true)
		b.wantIDs(b.confirmed(ack([]queue.Entry{second})), again)
		if got := dbtest.One[message.Instant](b.DB, `select started_at from public.orders where id = $1`, m.OrderID); got != e.Started {
			t.Errorf("%s: a second effect says that the order was started at %s, want %s", name, got, e.Started)
		}
	}
}

// Completing an order stays a heap-only update: no index is written for the new columns.
func TestCompletingAnOrderWritesNoIndex(t *testing.T) {
	b := setup(t)
	b.Publish(20)
	var e []queue.Entry
	for _, m := range b.read(20) {
		e = append(e, told(&m, "", true))
	}
	b.Exec(`begin; select pg_stat_force_next_flush(); commit`)
	b.wantIDs(b.confirmed(b.Ack(b.ctx, b.conn, e, me)), ids20()...)
	if _, err := b.conn.Exec(b.ctx, `select pg_stat_force_next_flush()`); err != nil {
		t.Fatal(err)
	}
	await.True(t, "the statistics show the update", func() bool {
		return dbtest.One[int](b.DB, `select n_tup_upd from pg_stat_user_tables where relid = 'public.orders'::regclass`) == 20
	})
	if hot := dbtest.One[int](b.DB, `select n_tup_hot_upd from pg_stat_user_tables where relid = 'public.orders'::regclass`); hot != 20 {
		t.Errorf("%d of 20 updates were heap-only", hot)
	}
}

func ids20() []int64 {
	var list []int64
	for i := range int64(20) {
		list = append(list, i+1)
	}
	return list
}

func TestAKnownStartWithoutAnAnswerIsACrashUntilTheAnswerComes(t *testing.T) {
	b := setup(t)
	id := b.Publish(1)[0]
	start := func() queue.Entry {
		m := b.next(id)
		e := told(m, queue.OutcomeLeaseLost, true)
		e.History.Counted = false
		if known, err := b.Start(b.ctx, b.conn, e, me); err != nil || !known {
			t.Fatal(known, err)
		}
		return e
	}
	first := start()
	start()
	b.next(id)
	b.wantHistory(id, "1 x1 read 1 crashed attempt 1", "2 x1 read 2 crashed attempt 2")
	if consumers := dbtest.All[string](b.DB, `select consumer from orderflow.history order by seq`); !slices.Equal(consumers, []string{me, me}) {
		t.Errorf("consumers %v", consumers)
	}

	// Somebody else's read comes between: the crash is told all the same, once, and what came after it, too.
	third := start()
	b.Exec(`update pgmq.q_order_queue set read_ct = read_ct + 1`)
	b.next(id)
	b.next(id)
	b.wantHistory(id, "1 x1 read 1 crashed attempt 1", "2 x1 read 2 crashed attempt 2", "3 x1 read 3 unanswered", "4 x1 read 4 crashed attempt 3",
		"5 x1 read 5 unanswered", "6 x1 read 6 unanswered")

	b.confirmed(b.Late(b.ctx, b.conn, []queue.Entry{first, third}, me))
	b.confirmed(b.Late(b.ctx, b.conn, []queue.Entry{first, third}, me))
	b.wantHistory(id, "1 x1 read 1 lease_lost why", "2 x1 read 2 crashed attempt 2", "3 x1 read 3 unanswered", "4 x1 read 4 lease_lost why",
		"5 x1 read 5 unanswered", "6 x1 read 6 unanswered")
	if b.next(id).Crashes != 1 {
		t.Error("the crashes that were none still count")
	}
}

// Who comes too late after the order has been completed by another: the attempt that was counted then stays one.
func TestALateAnswerAfterTheOrderIsCompletedLeavesItsCount(t *testing.T) {
	b := setup(t)
	id := b.Publish(1)[0]
	late := told(b.next(id), queue.OutcomeLeaseLost, true)
	if known, err := b.Start(b.ctx, b.conn, late, me); err != nil || !known {
		t.Fatal(known, err)
	}
	b.wantIDs(b.confirmed(b.Ack(b.ctx, b.conn, []queue.Entry{told(b.next(id), "", true)}, "other")), id)
	b.confirmed(b.Late(b.ctx, b.conn, []queue.Entry{late}, me))
	b.wantHistory(id, "1 x1 read 1 lease_lost attempt 1 why")
	if o := b.Order(id); o.Attempts != 2 {
		t.Errorf("%+v", o)
	}
}

func TestAnOrderThatNeverSucceedsHasABoundedHistory(t *testing.T) {
	b := setup(t)
	id := b.Publish(1)[0]
	for range 101 {
		b.wantIDs(b.confirmed(b.Nack(b.ctx, b.conn, []queue.Entry{told(b.next(id), queue.OutcomeFailed, true)}, me)), id)
	}
	var want []string
	for i := 1; i <= 101; i++ {
		if i <= 20 || i > 81 {
			want = append(want, fmt.Sprintf("%d x1 read %d failed attempt %d why", i, i, i))
		}
	}
	b.wantHistory(id, want...)
}

func TestNothingIsToldOfALeaseThatDoesNotHoldOrOfAnotherOrder(t *testing.T) {
	b := setup(t)
	first := b.Publish(2)
	stale := told(b.next(first[0]), queue.OutcomeFailed, true)
	other := told(b.next(first[1]), queue.OutcomeFailed, true)
	b.Exec(`update pgmq.q_order_queue set read_ct = read_ct + 1 where msg_id = $1`, first[0])
	other.Created = message.InstantOf(time.Now().Add(-time.Hour))
	none := other
	none.OrderID = 0
	for _, e := range []queue.Entry{stale, other, none} {
		e.Reason = message.ReasonPermanent
		for _, write := range []func([]queue.Entry) (queue.Confirmed, error){
			func(e []queue.Entry) (queue.Confirmed, error) { return b.Nack(b.ctx, b.conn, e, me) },
			func(e []queue.Entry) (queue.Confirmed, error) { return b.Release(b.ctx, b.conn, e, me) },
			func(e []queue.Entry) (queue.Confirmed, error) { return b.Bury(b.ctx, b.conn, e, me) },
		} {
			if _, err := write([]queue.Entry{e}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if rows := dbtest.One[int](b.DB, `select count(*) from orderflow.history`); rows != 0 {
		t.Errorf("%d rows", rows)
	}
}

// Two messages of one order, settled by one statement, are two deliveries.
func TestTwoMessagesOfAnOrderAreToldInTurn(t *testing.T) {
	b := setup(t)
	id := b.Publish(1)[0]
	copied := b.Send(dbtest.One[string](b.DB, `select message::text from pgmq.q_order_queue`), nil)
	b.expire(id, copied)
	var e []queue.Entry
	for _, m := range b.read(2) {
		e = append(e, told(&m, queue.OutcomeReleased, false))
	}
	b.wantIDs(b.confirmed(b.Release(b.ctx, b.conn, e, me)), id, copied)
	b.wantHistory(id, "1 x1 read 1 released", "2 x1 read 1 released")
}

// Whatever is wrong with the history keeps no delivery from being settled, and no message from being read.
func TestAHistoryThatCannotBeWrittenIsInNobodysWay(t *testing.T) {
	for name, fault := range map[string]string{
		"a trigger that fails": `
			create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
			create trigger refuse before insert or update on orderflow.history for each row execute function refuse()`,
		"a trigger that suppresses": `
			create function suppress() returns trigger language plpgsql as $$ begin return null; end $$;
			create trigger suppress before insert or update on orderflow.history for each row execute function suppress()`,
		"a constraint":       `alter table orderflow.history add check (times > 9)`,
		"row-level security": `alter table orderflow.history enable row level security; alter table orderflow.history force row level security`,
		"no table":           `drop table orderflow.history`,
		"a lock":             ``,
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			sent := b.Publish(5)
			if fault == "" {
				holder, err := b.Begin(b.ctx)
				if err != nil {
					t.Fatal(err)
				}
				defer holder.Rollback(b.ctx)
				if _, err := holder.Exec(b.ctx, `lock table orderflow.history in exclusive mode`); err != nil {
					t.Fatal(err)
				}
			} else {
				b.Exec(fault)
			}
			b.confirmed(b.Nack(b.ctx, b.conn, []queue.Entry{told(b.next(sent[0]), queue.OutcomeFailed, true)}, me))
			b.confirmed(b.NackMessageOnly(b.ctx, b.conn, []queue.Entry{told(b.next(sent[0]), queue.OutcomeFailed, true)}, me))
			b.confirmed(b.Release(b.ctx, b.conn, []queue.Entry{told(b.next(sent[1]), queue.OutcomeReleased, false)}, me))
			b.next(sent[2])
			b.next(sent[2])
			dead := told(b.next(sent[3]), queue.OutcomePermanent, true)
			dead.Reason = message.ReasonPermanent
			b.wantIDs(b.confirmed(b.Bury(b.ctx, b.conn, []queue.Entry{dead}, me)), sent[3])
			if moved := dbtest.One[int](b.DB, `select count(*) from orderflow.redrive('order_queue', array(select msg_id from pgmq.q_order_queue_dlq))`); moved != 1 {
				t.Errorf("%d redriven", moved)
			}
			if a := b.Audit(); a.Pending != 5 || a.Queued != 5 || a.Letters != 0 {
				t.Errorf("%+v", a)
			}
			if o := b.Order(sent[0]); o.Attempts != 1 {
				t.Errorf("%+v", o)
			}
		})
	}
}
