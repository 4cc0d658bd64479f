package queue_test

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/queue"
)

// bundle is what a test of the lease protocol needs: a database, a connection, and the statements.
type bundle struct {
	*dbtest.DB
	*queue.Queue
	t    *testing.T
	ctx  context.Context
	conn *pgx.Conn
}

const me = "consumer-under-test"

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	return open(t, dbtest.New(t))
}

func open(t *testing.T, db *dbtest.DB) *bundle {
	t.Helper()
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, db.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(ctx)) })
	d, err := queue.New(dbtest.QueueName, queue.Description{}).Describe(ctx, conn)
	if err != nil || !d.Ready() {
		t.Fatalf("template is not what this consumer was built for: %v, %v", d, err)
	}
	return &bundle{DB: db, Queue: queue.New(dbtest.QueueName, d), t: t, ctx: ctx, conn: conn}
}

// flavours are the kinds of PGMQ that there can be: what the template has; the extension, where the server has it;
// and tables with and without the column that PGMQ 1.10 added.
func flavours(t *testing.T) map[string]*bundle {
	t.Helper()
	found := map[string]*bundle{"template": open(t, dbtest.New(t))}
	other := dbtest.New(t)
	if dbtest.One[bool](other, `select exists (select from pg_available_extensions where name = 'pgmq' and installed_version is null)`) {
		other.Exec(`drop schema pgmq cascade`)
		other.Exec(`create extension pgmq`)
		other.Exec(`select pgmq.create('order_queue'), pgmq.create('order_queue_dlq')`)
		found["extension"] = open(t, other)
		other = dbtest.New(t)
	}
	if dbtest.One[bool](other, `select exists (select from pg_attribute where attrelid = 'pgmq.q_order_queue'::regclass and attname = 'last_read_at')`) {
		// An extension's tables keep it; that they can be without is what the other flavours show.
		return found
	}
	other.Exec(`alter table pgmq.q_order_queue add column last_read_at timestamptz`)
	found["with last_read_at"] = open(t, other)
	return found
}

func TestEveryFlavourOfPGMQIsConsumed(t *testing.T) {
	t.Parallel()
	for name, b := range flavours(t) {
		b.Publish(3)
		b.read(3) // the first of an order's message, which writes nothing behind the body
		b.Exec(`update pgmq.q_order_queue set vt = now()`)
		got := b.read(3)
		if b.lastRead() && dbtest.One[int](b.DB, `select count(last_read_at) from pgmq.q_order_queue`) != 3 {
			t.Errorf("%s: last_read_at is not set", name)
		}
		e := entries(got...)
		e[2].Reason = message.ReasonPermanent
		b.wantIDs(b.confirmed(b.Nack(b.ctx, b.conn, e[1:2], "test")), got[1].ID)
		b.wantIDs(b.confirmed(b.Bury(b.ctx, b.conn, e[2:], me)), got[2].ID)
		b.wantIDs(b.confirmed(b.Ack(b.ctx, b.conn, e[:1], me)), got[0].ID)
		if a := b.Audit(); a.Completed != 1 || a.Dead != 1 || a.Queued != 1 || a.Letters != 1 {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func (b *bundle) lastRead() bool {
	b.t.Helper()
	d, err := b.Describe(b.ctx, b.conn)
	if err != nil {
		b.t.Fatal(err)
	}
	return d.LastRead
}

// proxied returns the database's address through a proxy that can break connections.
func (b *bundle) proxied(applicationName string) (*pgproxy.Proxy, string) {
	b.t.Helper()
	proxy := b.Proxy()
	address, err := url.Parse(proxy.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	address.RawQuery = url.Values{"sslmode": {"disable"}, "application_name": {applicationName}}.Encode()
	return proxy, address.String()
}

// read leases up to n messages for an hour and decodes them.
func (b *bundle) read(n int) []message.Message {
	b.t.Helper()
	f, err := b.Fetch(b.ctx, b.conn, bounds(n), time.Hour)
	if err != nil {
		b.t.Fatal(err)
	}
	var list []message.Message
	for _, m := range f.Messages {
		list = append(list, m.Message)
	}
	return list
}

// bounds are those of a read of up to n messages, whatever their size.
func bounds(n int, watermark ...time.Time) queue.Bounds {
	b := queue.Bounds{Messages: n, Bytes: 1 << 40, MessageBytes: 1 << 30}
	if len(watermark) > 0 {
		b.Watermark = watermark[0]
	}
	return b
}

// expire makes messages due, as the passing of time would.
func (b *bundle) expire(ids ...int64) {
	b.t.Helper()
	b.Exec(`update pgmq.q_order_queue set vt = clock_timestamp() - interval '1 second' where msg_id = any ($1)`, ids)
}

func (b *bundle) enqueued(id int64) message.Instant {
	b.t.Helper()
	return dbtest.One[message.Instant](b.DB, `select enqueued_at from pgmq.q_order_queue where msg_id = $1`, id)
}

func entries(messages ...message.Message) []queue.Entry {
	var list []queue.Entry
	for i := range messages {
		list = append(list, queue.EntryOf(&messages[i], true))
	}
	return list
}

// confirmed returns the ids that a statement confirmed, sorted.
func (b *bundle) confirmed(c queue.Confirmed, err error) []int64 {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	ids := []int64{}
	for l := range c {
		ids = append(ids, l.ID)
	}
	slices.Sort(ids)
	return ids
}

func (b *bundle) wantIDs(got []int64, want ...int64) {
	b.t.Helper()
	if !slices.Equal(got, append([]int64{}, want...)) {
		b.t.Fatalf("confirmed %v, want %v", got, want)
	}
}

func ids(messages []message.Message) []int64 {
	var list []int64
	for _, m := range messages {
		list = append(list, m.ID)
	}
	return list
}

func TestFetchLeasesWhatIsDueEarliestFirst(t *testing.T) {
	b := setup(t)
	sent := b.Publish(5)
	b.Exec(`update pgmq.q_order_queue set vt = clock_timestamp() + interval '1 hour' where msg_id = $1`, sent[1])
	b.Exec(`update pgmq.q_order_queue set vt = clock_timestamp() - interval '1 hour' where msg_id = $1`, sent[3])

	before := dbtest.One[time.Time](b.DB, `select clock_timestamp()`)
	first := b.read(2)
	b.wantIDs(ids(first), sent[3], sent[0])
	b.wantIDs(ids(b.read(10)), sent[2], sent[4])
	b.wantIDs(ids(b.read(10)))

	if m := first[0]; m.ReadCount != 1 || m.Attempt != 1 || m.OrderID != sent[3] || m.Due.Compare(message.InstantOf(time.Now().Add(-59*time.Minute))) > 0 || m.TraceID() == "" {
		t.Fatalf("%+v", m)
	}
	if hidden := dbtest.One[bool](b.DB, `select vt - interval '1 hour' between $2::timestamptz and clock_timestamp() from pgmq.q_order_queue
		where msg_id = $1`, sent[3], before); !hidden {
		t.Fatal("not hidden for an hour")
	}
}

func TestFetchPassesOverWhatAnotherReadHasLocked(t *testing.T) {
	b := setup(t)
	sent := b.Publish(3)
	other, err := b.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback(b.ctx)
	if _, err := other.Exec(b.ctx, `select from pgmq.q_order_queue where msg_id = $1 for update`, sent[0]); err != nil {
		t.Fatal(err)
	}
	b.wantIDs(ids(b.read(10)), sent[1], sent[2])
}

func TestAckCompletesAndDeletesTogether(t *testing.T) {
	b := setup(t)
	b.Publish(3)
	got := b.read(3)
	b.wantIDs(b.confirmed(b.Ack(b.ctx, b.conn, entries(got...), me)), ids(got)...)
	for _, m := range got {
		o := b.Order(m.OrderID)
		if o.Status != "completed" || o.Effects != 1 || o.Attempts != 1 || !o.Completed || *o.ProcessedBy != me || o.LastError != nil {
			t.Fatalf("%+v", o)
		}
	}
	if a := b.Audit(); a.Queued != 0 || a.Completed != 3 {
		t.Fatalf("%+v", a)
	}
}

func TestAckOfAStaleLeaseChangesNothing(t *testing.T) {
	b := setup(t)
	b.Publish(2)
	stale := b.read(2)
	b.expire(stale[0].ID)
	fresh := b.read(2)
	for name, ack := range map[string]func(context.Context, *pgx.Conn, []queue.Entry, string) (queue.Confirmed, error){
		"ack": b.Ack, "ack of what is not locked": b.AckUnlocked,
	} {
		b.wantIDs(b.confirmed(ack(b.ctx, b.conn, entries(stale[0]), me)))
		if o := b.Order(stale[0].OrderID); o.Status != "pending" || o.Effects != 0 {
			t.Fatalf("%s: %+v", name, o)
		}
	}
	// A batch in which some are stale: the others are not disturbed.
	b.wantIDs(b.confirmed(b.Ack(b.ctx, b.conn, entries(stale...), me)), stale[1].ID)
	b.wantIDs(b.confirmed(b.Ack(b.ctx, b.conn, entries(fresh...), me)), stale[0].ID)
	b.wantIDs(b.confirmed(b.Ack(b.ctx, b.conn, entries(fresh...), me)))
	if a := b.Audit(); a.Completed != 2 || a.Duplicated != 0 || a.Queued != 0 {
		t.Fatalf("%+v", a)
	}
}

func TestAckCountsEveryEffectSoThatADuplicateShows(t *testing.T) {
	b := setup(t)
	sent := b.Publish(1)
	copyOf := dbtest.One[string](b.DB, `select message::text from pgmq.q_order_queue`)
	b.Send(copyOf, nil)
	got := b.read(2)
	if got[0].OrderID != sent[0] || got[1].OrderID != sent[0] {
		t.Fatalf("%+v", got)
	}
	b.wantIDs(b.confirmed(b.Ack(b.ctx, b.conn, entries(got...), me)), ids(got)...)
	if o := b.Order(sent[0]); o.Effects != 2 {
		t.Fatalf("two messages of one order in one batch left %d effects", o.Effects)
	}
	const completed = `select completed_at::text || ', dead ' || coalesce(dead_at::text, 'never') from public.orders`
	first := dbtest.One[string](b.DB, completed)
	b.Send(copyOf, nil)
	later := b.read(1)
	b.wantIDs(b.confirmed(b.AckUnlocked(b.ctx, b.conn, entries(later...), me)), later[0].ID)
	if o := b.Order(sent[0]); o.Effects != 3 {
		t.Fatalf("a third one later left %d", o.Effects)
	}
	b.Send(copyOf, nil)
	later = b.read(1)
	b.wantIDs(b.confirmed(b.Ack(b.ctx, b.conn, entries(later...), me)), later[0].ID)
	if o := b.Order(sent[0]); o.Effects != 4 || o.Status != "completed" {
		t.Fatalf("a fourth one left %+v", o)
	}
	dbtest.One[string](b.DB, `update public.orders set status = 'dead', dead_at = now() returning status`)
	b.Send(copyOf, nil)
	later = b.read(1)
	b.wantIDs(b.confirmed(b.Ack(b.ctx, b.conn, entries(later...), me)), later[0].ID)
	if last := dbtest.One[string](b.DB, completed); last != first {
		t.Fatalf("completed at first %s; after further effects and a burial %s", first, last)
	}
}

func TestFetchSaysWhatCanNeverBeProcessed(t *testing.T) {
	b := setup(t)
	b.Publish(1)
	b.Send(`{"order_id": 4711}`, nil)
	b.Send(`[]`, nil)
	f, err := b.Fetch(b.ctx, b.conn, bounds(10), time.Minute)
	if err != nil || len(f.Messages) != 3 {
		t.Fatalf("%+v, %v", f, err)
	}
	if m := f.Messages; m[0].Poison != nil || m[1].Poison.Reason != message.ReasonUnknownOrder || m[2].Poison.Reason != message.ReasonNotAnObject {
		t.Fatalf("%v %v %v", m[0].Poison, m[1].Poison, m[2].Poison)
	}
}

func TestAckLeavesMessagesOfUnknownOrders(t *testing.T) {
	b := setup(t)
	b.Publish(1)
	b.Send(`{"order_id": 4711}`, nil)
	got := b.read(2)
	b.wantIDs(b.confirmed(b.Ack(b.ctx, b.conn, entries(got...), me)), got[0].ID)
	fates, err := b.Fates(b.ctx, b.conn, entries(got[1]), me)
	if err != nil || fates[queue.LeaseOf(&got[1])] != queue.Orphaned {
		t.Fatalf("%v, %v", fates, err)
	}
}

func TestAckUnlockedPassesOverWhatSomebodyHolds(t *testing.T) {
	b := setup(t)
	b.Publish(3)
	got := b.read(3)
	other, err := b.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec(b.ctx, `select from public.orders where id = $1 for update`, got[0].OrderID); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec(b.ctx, `select from pgmq.q_order_queue where msg_id = $1 for update`, got[1].ID); err != nil {
		t.Fatal(err)
	}
	b.wantIDs(b.confirmed(b.AckUnlocked(b.ctx, b.conn, entries(got...), me)), got[2].ID)
	fates, err := b.Fates(b.ctx, b.conn, entries(got[:2]...), me)
	if err != nil || len(fates) != 2 || fates[entries(got[0])[0].Lease] != queue.StillOurs || fates[entries(got[1])[0].Lease] != queue.StillOurs {
		t.Fatalf("%v, %v", fates, err)
	}
	if err := other.Rollback(b.ctx); err != nil {
		t.Fatal(err)
	}
	b.wantIDs(b.confirmed(b.AckUnlocked(b.ctx, b.conn, entries(got...), me)), got[0].ID, got[1].ID)
}

// A message that somebody has locked keeps no other one waiting, whatever is to be written.
func TestWhatSomebodyHoldsIsPassedOver(t *testing.T) {
	for _, name := range []string{"nack", "nack without the order", "release", "bury", "extend"} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.Publish(2)
			got := b.read(2)
			other, err := b.Begin(b.ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = other.Rollback(b.ctx) }()
			if _, err := other.Exec(b.ctx, `select from pgmq.q_order_queue where msg_id = $1 for update`, got[0].ID); err != nil {
				t.Fatal(err)
			}
			if _, err := b.conn.Exec(b.ctx, `select set_config('lock_timeout', $1, false)`, strconv.FormatInt(await.Limit().Milliseconds(), 10)); err != nil {
				t.Fatal(err)
			}
			b.wantIDs(b.confirmed(b.writes()[name](b.ctx, b.conn, entries(got...))), got[1].ID)
		})
	}
}

func TestARowThatRefersToTheOrderIsInNobodysWay(t *testing.T) {
	b := setup(t)
	orders := b.Publish(3)
	got := b.read(3)
	b.Exec(`create table invoices (order_id bigint references public.orders)`)
	tx, err := b.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(b.ctx) }()
	if _, err := tx.Exec(b.ctx, `insert into invoices select unnest($1::bigint[])`, orders); err != nil {
		t.Fatal(err)
	}
	b.wantIDs(b.confirmed(b.AckUnlocked(b.ctx, b.conn, entries(got[0]), me)), got[0].ID)
	b.wantIDs(b.confirmed(b.Bury(b.ctx, b.conn, entries(got[1]), me)), got[1].ID)
	b.wantIDs(b.confirmed(b.Nack(b.ctx, b.conn, entries(got[2]), "test")), got[2].ID)
	if attempts := b.Order(orders[2]).Attempts; attempts != 1 {
		t.Errorf("the order was not told of its attempt: %d", attempts)
	}
}

func TestNackHidesWithTheErrorAndTellsTheOrder(t *testing.T) {
	b := setup(t)
	sent := b.Publish(1)
	e := entries(b.read(1)...)
	e[0].Delay, e[0].Error = time.Minute, "no luck\x00 \xff"
	b.wantIDs(b.confirmed(b.Nack(b.ctx, b.conn, e, "test")), sent[0])
	b.wantIDs(ids(b.read(1)))
	if o := b.Order(sent[0]); o.Status != "pending" || o.Attempts != 1 || *o.LastError != "no luck\uFFFD \uFFFD" || o.Effects != 0 {
		t.Fatalf("%+v", o)
	}
	var headers map[string]any
	if err := json.Unmarshal([]byte(dbtest.One[string](b.DB, `select headers::text from pgmq.q_order_queue`)), &headers); err != nil {
		t.Fatal(err)
	}
	if headers["orderflow-retry"] != 1.0 || headers["orderflow-error"] != "no luck\uFFFD \uFFFD" || headers["schema"] != 1.0 {
		t.Fatalf("%v", headers)
	}
	b.wantIDs(b.confirmed(b.Nack(b.ctx, b.conn, e, "test")), sent[0]) // repeating it is the same again
	b.expire(sent[0])
	again := b.read(1)
	if again[0].Attempt != 2 || again[0].LastError == "" {
		t.Fatalf("%+v", again[0])
	}
	b.wantIDs(b.confirmed(b.Nack(b.ctx, b.conn, e, "test"))) // and does not touch the next owner's lease
}

func TestNackOfADuplicateLeavesACompletedOrderAlone(t *testing.T) {
	b := setup(t)
	sent := b.Publish(1)
	b.Exec(`select * from pgmq.send('order_queue', (select message from pgmq.q_order_queue))`)
	got := b.read(2)
	b.confirmed(b.Ack(b.ctx, b.conn, entries(got[0]), me))
	e := entries(got[1])
	e[0].Error, e[0].Reason = "late", message.ReasonMaxAttempts
	b.confirmed(b.Nack(b.ctx, b.conn, e, "test"))
	b.wantIDs(b.confirmed(b.Bury(b.ctx, b.conn, e, me)), got[1].ID)
	if o := b.Order(sent[0]); o.Status != "completed" || o.LastError != nil || o.Dead {
		t.Fatalf("%+v", o)
	}
	if a := b.Audit(); a.Letters != 1 {
		t.Fatalf("%+v", a)
	}
}

func TestReleaseIsNoAttempt(t *testing.T) {
	b := setup(t)
	sent := b.Publish(1)
	for read := range 3 {
		got := b.read(1)
		if len(got) != 1 || got[0].Attempt != 1 || int(got[0].ReadCount) != read+1 {
			t.Fatalf("read %d: %+v", read+1, got)
		}
		b.wantIDs(b.confirmed(b.Release(b.ctx, b.conn, entries(got...), "test")), sent[0])
		b.wantIDs(b.confirmed(b.Release(b.ctx, b.conn, entries(got...), "test")), sent[0]) // a repetition counts once
	}
	if o := b.Order(sent[0]); o.Attempts != 0 {
		t.Fatalf("%+v", o)
	}
}

func TestExtendHoldsOnlyWhatIsStillLeased(t *testing.T) {
	b := setup(t)
	b.Publish(5)
	got := b.read(5)
	held, nacked, released, stale, acked := got[0], got[1], got[2], got[3], got[4]
	b.confirmed(b.Nack(b.ctx, b.conn, entries(nacked), "test"))
	b.confirmed(b.Release(b.ctx, b.conn, entries(released), "test"))
	b.expire(stale.ID)
	b.read(1)
	b.confirmed(b.Ack(b.ctx, b.conn, entries(acked), me))

	b.wantIDs(b.confirmed(b.Extend(b.ctx, b.conn, entries(got...), 3*time.Hour)), held.ID)
	hidden := dbtest.All[int64](b.DB,
		`select msg_id from pgmq.q_order_queue where vt > clock_timestamp() + interval '2 hours' order by 1`)
	b.wantIDs(hidden, held.ID)
	// The next owner of what was nacked and released extends it as usual.
	b.expire(nacked.ID, released.ID)
	next := b.read(5)
	b.wantIDs(b.confirmed(b.Extend(b.ctx, b.conn, entries(next...), time.Hour)), nacked.ID, released.ID)
}

func TestBuryMovesTheMessageWithItsReason(t *testing.T) {
	b := setup(t)
	sent := b.Publish(2)
	got := b.read(2)
	e := entries(got...)
	for i := range e {
		e[i].Reason, e[i].Error = message.ReasonPermanent, "gone for good"
	}
	b.expire(got[1].ID)
	b.read(1) // somebody else has the second one now
	b.wantIDs(b.confirmed(b.Bury(b.ctx, b.conn, e, me)), got[0].ID)
	b.wantIDs(b.confirmed(b.Bury(b.ctx, b.conn, e, me)))

	o := b.Order(sent[0])
	if o.Status != "dead" || !o.Dead || o.Attempts != 1 || *o.LastError != "gone for good" || o.Effects != 0 {
		t.Fatalf("%+v", o)
	}
	var letter struct {
		Schema int
		Trace  string `json:"traceparent"`
		Retry  any    `json:"orderflow-retry"`
		Dead   struct {
			Reason, Error, Queue, Consumer string
			Attempts                       int
			MsgID                          int64     `json:"msg_id"`
			ReadCt                         int       `json:"read_ct"`
			EnqueuedAt                     time.Time `json:"enqueued_at"`
			DeadAt                         time.Time `json:"dead_at"`
		} `json:"orderflow-dead"`
	}
	if err := json.Unmarshal([]byte(dbtest.One[string](b.DB, `select headers::text from pgmq.q_order_queue_dlq`)), &letter); err != nil {
		t.Fatal(err)
	}
	d := letter.Dead
	if d.Reason != message.ReasonPermanent || d.Error != "gone for good" || d.Queue != dbtest.QueueName || d.Consumer != me ||
		d.Attempts != 1 || d.MsgID != sent[0] || d.ReadCt != 1 || d.DeadAt.Before(d.EnqueuedAt) || letter.Schema != 1 || letter.Trace == "" {
		t.Fatalf("%+v", letter)
	}
	same := dbtest.One[bool](b.DB, `select message = jsonb_build_object('order_id', o.id, 'customer_name', o.customer_name,
		'product_name', o.product_name, 'quantity', o.quantity, 'price', o.price, 'created_at', message->'created_at')
		from pgmq.q_order_queue_dlq, orders o where o.id = $1`, sent[0])
	if !same {
		t.Fatal("the dead letter's body is not the message's")
	}
}

// Others may look at the queue by reading it, before us and between our reads; a message gets its attempts all the same.
func TestReadsOfOthersAreNoAttempts(t *testing.T) {
	b := setup(t)
	id := b.Publish(1)[0]
	look := func() {
		for range 7 {
			b.Exec(`select from pgmq.read('order_queue', 0, 9)`)
		}
		b.expire(id)
	}
	for want, end := range []func(context.Context, *pgx.Conn, []queue.Entry, string) (queue.Confirmed, error){1: b.Nack, 2: b.Release, 3: nil} {
		if want == 0 {
			continue
		}
		look()
		got := b.read(1)
		if attempt := min(want, 2); got[0].Attempt != attempt || got[0].Unanswered != 0 || got[0].ReadCount != int32(8*want) {
			t.Fatalf("attempt %d after %d reads, want %d", got[0].Attempt, got[0].ReadCount, attempt)
		}
		if end != nil {
			b.wantIDs(b.confirmed(end(b.ctx, b.conn, entries(got...), "test")), id)
		}
	}
	// Whatever somebody has put into the count, it is no more than the reads that there were and no less than this one.
	for forged, attempt := range map[string]int{`1e300`: 2, `-7`: 1, `"3"`: 1, `null`: 1, `{"a": 1}`: 1, `2.4`: 2} {
		id := b.Send(`{"order_id": 1}`, `{"orderflow-failed": `+forged+`, "orderflow-unanswered": `+forged+`}`)
		b.Exec(`update pgmq.q_order_queue set read_ct = 1 where msg_id = $1`, id)
		got := b.read(1)
		if len(got) != 1 || got[0].ID != id || got[0].Attempt != attempt || int(got[0].Unanswered) != attempt-1 {
			t.Errorf("%s made it attempt %d after %d deliveries without an answer, want attempt %d", forged, got[0].Attempt, got[0].Unanswered, attempt)
		}
	}
}

func TestBuryTakesWhateverAQueueCanHold(t *testing.T) {
	b := setup(t)
	for _, body := range []any{nil, `null`, `1`, `"text"`, `[1, 2]`, `{}`, `{"order_id": "x"}`, `{"order_id": 99}`} {
		for _, headers := range []any{
			nil, `null`, `{}`, `[1]`, `"text"`, `{"orderflow-released": "many", "orderflow-started": ["1"]}`,
			`{"orderflow-unanswered": [], "orderflow-started": "1"}`,
		} {
			b.Send(body, headers)
		}
	}
	got := b.read(100)
	if len(got) != 56 {
		t.Fatalf("read %d", len(got))
	}
	for _, m := range got {
		if m.Attempt != 1 {
			t.Fatalf("headers %s made it attempt %d", m.Headers, m.Attempt)
		}
		if known, err := b.Start(b.ctx, b.conn, queue.EntryOf(&m, true), me); err != nil || !known {
			t.Fatalf("its start cannot be made known beside the headers %s: %v", m.Headers, err)
		}
	}
	b.confirmed(b.Release(b.ctx, b.conn, entries(got[:28]...), "test"))
	b.confirmed(b.Nack(b.ctx, b.conn, entries(got[28:]...), "test"))
	b.expire(ids(got)...)
	got = b.read(100)
	if n := len(b.confirmed(b.Bury(b.ctx, b.conn, entries(got...), me))); n != 56 {
		t.Fatalf("buried %d", n)
	}
	if a := b.Audit(); a.Letters != 56 || a.Queued != 0 {
		t.Fatalf("%+v", a)
	}
}

func TestFatesTellALostLeaseFromALostReply(t *testing.T) {
	b := setup(t)
	b.Publish(6)
	got := b.read(6)
	acked, nacked, released, buried, stolen, finished := got[0], got[1], got[2], got[3], got[4], got[5]
	b.confirmed(b.Ack(b.ctx, b.conn, entries(acked), me))
	b.confirmed(b.Nack(b.ctx, b.conn, entries(nacked), "test"))
	b.confirmed(b.Release(b.ctx, b.conn, entries(released), "test"))
	b.confirmed(b.Bury(b.ctx, b.conn, entries(buried), me))
	b.expire(nacked.ID, released.ID, stolen.ID, finished.ID)
	others := b.read(6)
	b.confirmed(b.Ack(b.ctx, b.conn, entries(others[slices.IndexFunc(others, func(m message.Message) bool { return m.ID == finished.ID })]), "somebody else"))

	for _, unsure := range []bool{false, true} {
		e := entries(got...)
		for i := range e {
			e[i].Unsure = unsure
		}
		fates, err := b.Fates(b.ctx, b.conn, e, me)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []struct {
			m    message.Message
			what string
			fate queue.Fate
		}{
			{acked, "acked", queue.Done},
			{nacked, "nacked", queue.Done},
			{released, "released", queue.Done},
			{buried, "buried", queue.Done},
			{stolen, "stolen", queue.Lost},
			{finished, "finished by another", queue.Lost},
		} {
			expected := want.fate
			if !unsure {
				expected = queue.Lost
			}
			if got := fates[queue.LeaseOf(&want.m)]; got != expected {
				t.Errorf("unsure %t: what was %s is said to be %d, want %d", unsure, want.what, got, expected)
			}
		}
	}
}

func TestPeekSaysWhenTheEarliestIsDue(t *testing.T) {
	b := setup(t)
	peek := func() (time.Duration, bool) {
		seen, err := b.Peek(b.ctx, b.conn, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return seen.Due, seen.Found
	}
	if _, found := peek(); found {
		t.Fatal("an empty queue has nothing due")
	}
	b.Publish(2)
	if due, found := peek(); !found || due > 0 {
		t.Fatalf("due in %s", due)
	}
	b.Exec(`update pgmq.q_order_queue set vt = clock_timestamp() + msg_id * interval '1 hour'`)
	if due, found := peek(); !found || due < 30*time.Minute || due > time.Hour {
		t.Fatalf("due in %s", due)
	}
	b.Exec(`update pgmq.q_order_queue set vt = 'infinity'`)
	if due, found := peek(); !found || due < time.Hour {
		t.Fatalf("due in %s", due)
	}
}
