package settle_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/gating"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/health"
	"orderflow.example/services/consumer/internal/lease"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/presence"
	"orderflow.example/services/consumer/internal/queue"
	"orderflow.example/services/consumer/internal/settle"
	"orderflow.example/services/consumer/internal/signal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bundle is a settler at work, and a message to settle.
type bundle struct {
	t       *testing.T
	db      *dbtest.DB
	queue   *queue.Queue
	server  *pg.Server
	rules   ending.Rules
	held    *lease.Set
	settler *settle.Settler
	metrics *metrics.Metrics
	refused chan time.Time // when statements were
}

// most is how many deliveries there are at a time.
const most = 3

func setup(t *testing.T) *bundle {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	b := &bundle{
		t: t, db: dbtest.New(t), queue: queue.New(dbtest.QueueName, queue.Description{}), held: lease.NewSet(most),
		rules: ending.NewRules(1, 1, backoff.Policy{Base: time.Second, Max: time.Second, Multiplier: 1}), refused: make(chan time.Time, 100),
	}
	b.db.Publish(1)
	b.server = pg.NewServer(b.db.Address(), "one", log, pg.Observer{})
	link := b.server.NewLink("settle", nil)
	b.metrics = metrics.New("test", dbtest.QueueName, "test")
	b.settler = settle.New(settle.Needs{
		Queue: b.queue, Held: b.held, Rules: b.rules, Consumer: "one", RetryIn: func(time.Duration) {}, Draining: func() bool { return false },
		Gate: gating.New(gating.Settings{ID: "one", Concurrency: most, HandlerTimeout: time.Minute}, log, b.metrics),
		Room: signal.New(), Unwritten: &settle.Unwritten{}, Tally: &presence.Tally{}, Log: log, Metrics: b.metrics,
	}, settle.LaneNeeds{Link: link, Progress: health.NewProgress(time.Now), Note: b.note}, most)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); b.settler.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended; link.Close() })
	return b
}

// note takes when a statement was refused.
func (b *bundle) note(_ ending.Op, err error) {
	if queue.Answered(err) {
		select {
		case b.refused <- time.Now():
		default:
		}
	}
}

// read leases the message for an hour.
func (b *bundle) read() message.Message {
	b.t.Helper()
	fetched, err := b.queue.Fetch(b.t.Context(), testdb.Connect(b.t, b.db.URL), queue.Bounds{Messages: 1, Bytes: 1 << 20, MessageBytes: 1 << 20}, time.Hour)
	if err != nil || len(fetched.Messages) != 1 {
		b.t.Fatalf("%+v, %v", fetched, err)
	}
	return fetched.Messages[0].Message
}

// readAgain does so when it is due again.
func (b *bundle) readAgain() message.Message {
	b.t.Helper()
	b.db.Exec(`update pgmq.q_order_queue set vt = clock_timestamp()`)
	return b.read()
}

// next publishes another message and settles it.
func (b *bundle) next(what ending.Event) {
	b.t.Helper()
	b.db.Publish(1)
	b.settle(what)
}

// settle reads a message and settles it.
func (b *bundle) settle(what ending.Event) {
	b.t.Helper()
	b.settler.Settle(b.leaving(), what)
}

// leaving reads a message that is to be settled.
func (b *bundle) leaving() *lease.Delivery {
	b.t.Helper()
	m := b.read()
	d := lease.New(&m, time.Now(), time.Now(), time.Hour)
	b.held.AddLeaving([]*lease.Delivery{d})
	return d
}

// stuck makes the writing of the first order take so long as that condition holds.
func (b *bundle) stuck(while string) {
	b.db.Exec(`create function stuck() returns trigger language plpgsql as $$ declare start timestamptz := clock_timestamp();
		begin while new.id = 1 and ` + while + ` loop perform pg_sleep(0.05); end loop; return new; end $$`)
	b.db.Exec(`create trigger stuck before update on public.orders for each row execute function stuck()`)
}

// statements is how many of a kind there were.
func (b *bundle) statements(kind string) (n uint64) {
	b.t.Helper()
	families, err := b.metrics.Registry.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "orderflow_consumer_statement_seconds" && m.GetLabel()[0].GetValue() == kind {
				n += m.GetHistogram().GetSampleCount()
			}
		}
	}
	return n
}

// due says whether the message can be read.
func (b *bundle) due() bool {
	b.t.Helper()
	return dbtest.One[bool](b.db, `select vt <= clock_timestamp() from pgmq.q_order_queue`)
}

// A server that is there and takes no connections, as one that starts up, gives no answer to what there is to write: the results wait for a
// connection, and reading for the results.
func TestResultsWaitWhereNobodyCanConnect(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.read()
	d := lease.New(&m, time.Now(), time.Now(), time.Hour)
	b.held.AddLeaving([]*lease.Delivery{d})
	allow := func(yes string) { testdb.Admin(t, "alter database "+b.server.Database()+" allow_connections "+yes) }
	allow("false")
	b.settler.Settle(d, ending.Unstarted{})
	await.True(t, "the result waits for a connection", b.settler.Overdue)
	allow("true")
	await.True(t, "it is written", func() bool {
		b.settler.CatchUp(t.Context())
		return !b.settler.Overdue() && b.held.Size() == 0
	})
	if !b.due() {
		t.Error("it was not handed back")
	}
}

// An ack that gets no answer, however long it is waited for, keeps no result of another kind waiting, and no read.
func TestAnAckWithoutAnAnswerKeepsNoOtherKindWaiting(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.db.Exec(`create table holds ()`)
	b.db.Exec(`insert into holds default values`)
	b.stuck(`exists (select from holds)`)
	b.settle(ending.Returned{})
	await.True(t, "it gets no answer", b.settler.Overdue)
	for _, what := range []ending.Event{ending.Returned{}, ending.Returned{Err: handler.Permanent(errors.New("no"))}, ending.Unstarted{}} {
		b.next(what)
		await.True(t, "the next one is written, and nothing overdue", func() bool { return b.held.Size() == 1 && !b.settler.Overdue() })
	}
	await.True(t, "it gets no answer again, and nothing is overdue", func() bool {
		tried := b.statements("ack")
		await.True(t, "it gets no answer again", func() bool { return b.statements("ack") > tried })
		if !b.settler.Overdue() {
			return true
		}
		b.next(ending.Unstarted{}) // a busy machine has made no connection in time: what is written over the next one ends that
		await.True(t, "the next one is written", func() bool { return b.held.Size() == 1 && !b.settler.Overdue() })
		return false
	})
	if o := b.db.Order(1); o.Status != "pending" {
		t.Fatalf("%+v", o)
	}
	b.db.Exec(`delete from holds`)
	await.True(t, "it is written when it can be", func() bool { return b.held.Size() == 0 && b.db.Order(1).Status == "completed" })
}

// An ack that takes longer than an answer is waited for gets the time that it needs, however quick all others are.
func TestASlowAckGetsItsTimeBesideQuickOnes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.stuck(`clock_timestamp() < start + interval '4 s'`)
	b.settle(ending.Returned{})
	await.True(t, "it is written", func() bool {
		b.next(ending.Returned{})
		await.True(t, "the next one is written", func() bool { return b.held.Size() <= 1 })
		return b.db.Order(1).Status == "completed"
	})
}

// What the server refuses to all alike is not asked for again at once, in however many statements it could be.
func TestAKindThatTheServerRefusesIsKeptBackForAWhile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.db.Publish(most - 1)
	b.db.Exec(`create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not you' using errcode = '42501'; end $$;
		create trigger refuse before update on public.orders for each row execute function refuse()`)
	var deliveries []*lease.Delivery
	for range most {
		deliveries = append(deliveries, b.leaving())
	}
	for _, d := range deliveries {
		b.settler.Settle(d, ending.Returned{})
	}
	first := await.Value(t, "one is refused", b.refused)
	await.Value(t, "another one is", b.refused)
	third := await.Value(t, "a third one is", b.refused)
	if waited, least := third.Sub(first), 75*time.Millisecond; waited < least { // 25 at least, and twice that
		t.Errorf("it was asked three times within %s", waited)
	}
	b.db.Exec(`drop trigger refuse on public.orders`)
	await.True(t, "all are written", func() bool { return b.held.Size() == 0 && b.db.Audit().Completed == most })
}

// A result that the database refuses for what it contains, and that has no other form, is tried until it can be written: nothing else ends the lease.
func TestAHandBackThatCannotBeStoredIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.db.Exec(`alter table pgmq.q_order_queue add constraint kept check (not coalesce(headers ? 'orderflow-released', false))`)
	b.settle(ending.Unstarted{})
	await.True(t, "it has been tried", func() bool { return b.statements("release") > 0 })
	b.db.Exec(`alter table pgmq.q_order_queue drop constraint kept`)
	await.True(t, "it is handed back", func() bool { return b.held.Size() == 0 && b.due() })
}

// A lane's transactions are short for whoever waits for a row that the work has locked: it takes no more orders than it gets through in a moment.
func TestATransactionOfSlowWorkHasFewOrders(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.db.Publish(2*most - 1)
	work := &slow{}
	closeLinks := b.settler.AddAckWork(b.server, settle.AckWork{
		Runner: work, Limit: time.Minute, Heartbeats: &lease.Heartbeats{Held: b.held}, Note: func(error) {}, Took: func(int, time.Duration) {},
		Lanes: []*health.Progress{health.NewProgress(time.Now)},
	})
	var deliveries []*lease.Delivery
	for range 2 * most {
		m := b.read()
		deliveries = append(deliveries, lease.New(&m, time.Now(), time.Now(), time.Hour))
	}
	b.held.Add(deliveries)
	leave := func(deliveries []*lease.Delivery) {
		for _, d := range deliveries {
			b.settler.HandledForAck(d, "work")
		}
	}
	leave(deliveries[:most])
	work.meanwhile = func() { leave(deliveries[most:]) }
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); b.settler.RunAckWork(ctx, ctx) }()
	t.Cleanup(func() { stop(); <-ended; closeLinks() })
	await.True(t, "all are completed", func() bool { return b.held.Size() == 0 })
	if len(work.orders) < 2 || work.orders[0] != most || work.orders[1] > 2 {
		t.Errorf("the transactions had %v orders, which take an eighth of a second each", work.orders)
	}
}

// slow is work that takes 125 ms an order.
type slow struct {
	meanwhile func() // what happens during the first transaction
	orders    []int  // in each
}

func (*slow) Prepare(context.Context, *pgx.Conn) error { return nil }

func (s *slow) Run(ctx context.Context, conn *pgx.Conn, orders []effect.Order) error {
	if len(s.orders) == 0 {
		s.meanwhile()
	}
	s.orders = append(s.orders, len(orders))
	_, err := conn.Exec(ctx, `select pg_sleep(0.125 * $1)`, len(orders))
	return err
}

// The attempts that fail with their work have occupied workers, too.
func TestAnOrderWhoseWorkFailsIsCounted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var counted atomic.Int64
	closeLinks := b.settler.AddAckWork(b.server, settle.AckWork{
		Runner: failing{}, Limit: time.Minute, Heartbeats: &lease.Heartbeats{Held: b.held}, Note: func(error) {},
		Took: func(orders int, took time.Duration) {
			if took < 10*time.Millisecond {
				t.Errorf("the work is said to have taken %s", took)
			}
			counted.Add(int64(orders))
		},
		Lanes: []*health.Progress{health.NewProgress(time.Now)},
	})
	m := b.read()
	d := lease.New(&m, time.Now(), time.Now(), time.Hour)
	b.held.Add([]*lease.Delivery{d})
	b.settler.HandledForAck(d, "work")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); b.settler.RunAckWork(ctx, ctx) }()
	t.Cleanup(func() { stop(); <-ended; closeLinks() })
	await.True(t, "it has failed", func() bool { return b.db.Order(1).Status == "dead" })
	if counted.Load() != 1 {
		t.Errorf("%d orders are counted", counted.Load())
	}
}

// failing is work that takes 10 ms and fails.
type failing struct{}

func (failing) Prepare(context.Context, *pgx.Conn) error { return nil }

func (failing) Run(ctx context.Context, conn *pgx.Conn, _ []effect.Order) error {
	if _, err := conn.Exec(ctx, `select pg_sleep(0.01)`); err != nil {
		return err
	}
	return &effect.FailedError{Err: errors.New("no")}
}

// What a read whose commit went unanswered may have leased is handed back only if it did: where the read was rolled back, the next consumer got the
// same read_ct, and only the end of its lease is another one.
func TestADoubtfulLeaseIsNotTakenFromWhoHasIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.read()
	b.db.Exec(`update pgmq.q_order_queue set vt = clock_timestamp() + interval '2 hours'`) // the same read_ct, for somebody else
	d := lease.New(&m, time.Now(), time.Now(), time.Hour)
	b.held.AddLeaving([]*lease.Delivery{d})
	b.settler.Doubt(d)
	await.True(t, "it is given up", func() bool { return b.held.Size() == 0 })
	if n := b.statements("release"); n < 2 {
		t.Errorf("it was given up after %d looks: a server that was cut off from us may still come to the commit", n)
	}
	if left := dbtest.One[float64](b.db, `select extract(epoch from vt - clock_timestamp())::float8 from pgmq.q_order_queue`); left < 3600 {
		t.Errorf("the other one's lease ends in %v seconds", left)
	}
	b.db.Exec(`update pgmq.q_order_queue set vt = clock_timestamp()`)
	b.settler.Doubt(b.leaving())
	await.True(t, "what was leased after all is handed back", func() bool {
		return b.held.Size() == 0 && b.due()
	})
}

// Whoever has been answered by a handler has not killed anybody, whatever the answer was; of what no handler was given nothing new is known.
func TestAnAnswerEndsASuspicion(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		what ending.Event
		want int32
	}{
		"handed back":           {ending.Unstarted{}, 1},
		"asked for patience":    {ending.Returned{Err: handler.Throttled(0, errors.New("busy"))}, 0},
		"failed in an outage":   {ending.Returned{Err: errors.New("refused"), Uncounted: true}, 0},
		"broken off by a drain": {ending.Returned{Err: errors.New("ended"), Cause: handler.ErrDraining}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.read() // of which nothing is heard
			m := b.readAgain()
			if m.Unanswered != 1 {
				t.Fatalf("%d deliveries without an answer", m.Unanswered)
			}
			d := lease.New(&m, time.Now(), time.Now(), time.Hour)
			b.held.AddLeaving([]*lease.Delivery{d})
			b.settler.Settle(d, test.what)
			await.True(t, "it is settled", func() bool { return b.held.Size() == 0 })
			if m := b.readAgain(); m.Unanswered != test.want {
				t.Errorf("%d deliveries without an answer, want %d", m.Unanswered, test.want)
			}
		})
	}
}
