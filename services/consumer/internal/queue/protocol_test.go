package queue_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/queue"
)

// TestNoInterleavingLosesAMessageOrAppliesAnEffectTwice drives the real SQL with random interleavings of everything that
// workers, time, crashes and operators do, and compares each answer with a model of the lease protocol.
func TestNoInterleavingLosesAMessageOrAppliesAnEffectTwice(t *testing.T) {
	t.Parallel()
	type place struct {
		*bundle
		proxy    *pgproxy.Proxy
		doubtful string
	}
	var places []place
	found := flavours(t)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		proxy, doubtful := found[name].proxied(doubtfulName)
		places = append(places, place{found[name], proxy, doubtful})
	}
	rapid.Check(t, func(rt *rapid.T) {
		at := places[rapid.IntRange(0, len(places)-1).Draw(rt, "flavour")]
		at.Exec(`truncate public.orders, pgmq.q_order_queue, pgmq.q_order_queue_dlq`)
		p := &protocol{
			T: rt, b: at.bundle, proxy: at.proxy, doubtful: at.doubtful,
			tables:  tables{queued: map[int64]*queued{}, dead: map[int64]int64{}, done: map[int64]bool{}},
			started: map[sent]map[time.Time]bool{},
		}
		p.Backup(rt)
		p.Publish(rt)
		p.Read(rt)
		rt.Repeat(rapid.StateMachineActions(p))
		p.finish()
	})
}

// doubtfulName is the application name of connections that are lost.
const doubtfulName = "doubtful"

// protocol is the model. An order is in exactly one place: queued, dead or done.
type protocol struct {
	*rapid.T
	b        *bundle
	proxy    *pgproxy.Proxy
	doubtful string // address through the proxy

	tables
	backup tables // what a restore goes back to

	// leases are what three workers believe that they hold, right or wrong.
	leases [3][]message.Message
	// started are the deliveries whose handler has run, by the vt that their read had set. No restore takes it back.
	started map[sent]map[time.Time]bool
	// doubts are reads of which nobody knows whether they were committed.
	doubts []message.Message
}

// tables is what the database holds.
type tables struct {
	queued map[int64]*queued // by msg_id
	dead   map[int64]int64   // dead letter's msg_id → order
	done   map[int64]bool    // orders
}

func (t *tables) clone() tables {
	c := tables{queued: map[int64]*queued{}, dead: maps.Clone(t.dead), done: maps.Clone(t.done)}
	for id, q := range t.queued {
		copied := *q
		copied.known = maps.Clone(q.known)
		c.queued[id] = &copied
	}
	return c
}

type queued struct {
	order    int64
	enqueued message.Instant
	reads    int32 // by anybody
	marks    bool  // as the api has sent it: a first read of ours makes enqueued a microsecond later
	// What the protocol says of them: deliveries in a row without an answer, attempts that failed, starts that were made known and had no answer.
	unanswered, failed int32
	known              map[int32]bool
	due                bool
	ended              bool // nacked or released under the present read_ct: nobody's lease
	moved              bool // vt is no longer what the worker's read had set
	until              time.Time
}

// leased notes a read of ours.
func (q *queued) leased(until time.Time) {
	if q.marks && q.reads == 0 {
		at, _ := q.enqueued.Time()
		q.enqueued = message.InstantOf(at.Add(time.Microsecond))
	}
	q.due, q.ended, q.moved, q.until = false, false, false, until
	q.reads++
}

// sent names a message for ever.
type sent struct {
	id       int64
	enqueued message.Instant
}

// attempts are those that the message is said to have had.
func (q *queued) attempts() int { return int(q.failed) + len(q.known) }

// start is the start of handlers: what is known of it by the truth.
func (p *protocol) start(of ...message.Message) {
	for _, m := range of {
		key := sent{m.ID, m.EnqueuedAt}
		if p.started[key] == nil {
			p.started[key] = map[time.Time]bool{}
		}
		p.started[key][m.Until] = true
	}
}

// Publish accepts orders.
func (p *protocol) Publish(t *rapid.T) {
	n := rapid.IntRange(1, 5).Draw(t, "orders")
	for _, id := range p.b.Publish(n) {
		order := dbtest.One[int64](p.b.DB, `select (message->>'order_id')::bigint from pgmq.q_order_queue where msg_id = $1`, id)
		p.queued[id] = &queued{order: order, enqueued: p.b.enqueued(id), marks: true, due: true, known: map[int32]bool{}}
	}
}

// Read leases to one worker.
func (p *protocol) Read(t *rapid.T) { p.readTo(t, p.worker(t)) }

func (p *protocol) readTo(t *rapid.T, w int) {
	n := rapid.IntRange(1, 6).Draw(t, "limit")
	due := 0
	for _, q := range p.queued {
		if q.due {
			due++
		}
	}
	got := p.b.read(n)
	if len(got) != min(n, due) {
		t.Fatalf("read %d of %d due, limit %d", len(got), due, n)
	}
	for _, m := range got {
		q := p.queued[m.ID]
		if q == nil || !q.due {
			t.Fatalf("read message %d, which is not due", m.ID)
		}
		q.leased(m.Until)
		if m.EnqueuedAt != q.enqueued || m.ReadCount != q.reads || m.OrderID != q.order ||
			m.Failed != q.failed || int(m.Crashes) != len(q.known) || m.Unanswered != q.unanswered || m.Attempt != q.attempts()+1 {
			t.Fatalf("%+v, model %+v", m, q)
		}
		if started := len(p.started[sent{m.ID, m.EnqueuedAt}]); m.Attempt > started+1 {
			t.Fatalf("attempt %d of a message whose handler has been started %d times", m.Attempt, started)
		}
		q.unanswered++
	}
	p.leases[w] = append(p.leases[w], got...)
}

// Look reads as other programs do: the example's GET /messages hides what it shows, and raises read_ct.
func (p *protocol) Look(t *rapid.T) {
	n := rapid.IntRange(1, 3).Draw(t, "looked at")
	for _, id := range dbtest.All[int64](p.b.DB, `select msg_id from pgmq.read('order_queue', 3600, $1)`, n) {
		q := p.queued[id]
		if q == nil || !q.due {
			t.Fatalf("looked at message %d, which is not due", id)
		}
		q.due, q.ended, q.moved = false, false, true
		q.reads++
	}
}

// Ack ends some leases of a worker well, whether it still has them or not.
func (p *protocol) Ack(t *rapid.T) {
	batch := p.batch(t)
	p.start(batch...)
	ack := p.b.Ack
	if rapid.Bool().Draw(t, "unlocked") {
		ack = p.b.AckUnlocked
	}
	confirmed, err := ack(p.b.ctx, p.b.conn, entries(batch...), me)
	p.check(t, "ack", batch, confirmed, err, leasedAs)
	for l := range confirmed {
		p.done[p.queued[l.ID].order] = true
		delete(p.queued, l.ID)
	}
	if rapid.Bool().Draw(t, "reply lost") {
		p.again(t, batch, confirmed)
	}
}

// again is what happens when the reply to an ack was lost: the same ack once more, which must have no effect, and must find
// out which leases the first one ended.
func (p *protocol) again(t *rapid.T, batch []message.Message, first queue.Confirmed) {
	e := entries(batch...)
	for i := range e {
		e[i].Unsure = true
	}
	second, err := p.b.Ack(p.b.ctx, p.b.conn, e, me)
	if err != nil || len(second) > 0 {
		t.Fatalf("ack repeated: %v, %v", second, err)
	}
	fates, err := p.b.Fates(p.b.ctx, p.b.conn, e, me)
	if err != nil {
		t.Fatal(err)
	}
	for l := range first {
		if fates[l] != queue.Done {
			t.Fatalf("a lost reply to the ack of %v is taken for fate %d", l, fates[l])
		}
	}
}

// Nack ends some leases badly.
func (p *protocol) Nack(t *rapid.T) {
	batch := p.batch(t)
	p.start(batch...)
	e := entries(batch...)
	delayed := rapid.Bool().Draw(t, "delayed")
	for i := range e {
		e[i].Error = "failed"
		if delayed {
			e[i].Delay = time.Hour
		}
	}
	nack := p.b.Nack
	if rapid.Bool().Draw(t, "message only") {
		nack = p.b.NackMessageOnly
	}
	confirmed, err := nack(p.b.ctx, p.b.conn, e, "test")
	p.check(t, "nack", batch, confirmed, err, leasedAs)
	for _, m := range batch {
		if _, ok := confirmed[queue.LeaseOf(&m)]; ok {
			q := p.queued[m.ID]
			q.due, q.ended, q.moved = !delayed, true, true
			q.unanswered, q.failed = 0, m.Failed+1
			delete(q.known, m.ReadCount)
		}
	}
}

// Release hands some leases back.
func (p *protocol) Release(t *rapid.T) {
	batch := p.batch(t)
	confirmed, err := p.b.Release(p.b.ctx, p.b.conn, entries(batch...), "test")
	p.check(t, "release", batch, confirmed, err, leasedAs)
	for _, m := range batch {
		if _, ok := confirmed[queue.LeaseOf(&m)]; ok {
			p.queued[m.ID].release(m)
		}
	}
}

func (q *queued) release(m message.Message) {
	q.due, q.ended, q.moved, q.unanswered = true, true, true, m.Unanswered
	delete(q.known, m.ReadCount)
}

// leasedAs says whether the message in the queue still is under the lease that was given out with m.
func leasedAs(m message.Message, q *queued) bool {
	return q.reads == m.ReadCount && q.enqueued == m.EnqueuedAt
}

// Backup takes a snapshot of the database: a dump, or how far a standby has come.
func (p *protocol) Backup(*rapid.T) {
	p.b.Snapshot()
	p.backup = p.clone()
}

// Restore puts the database back to the snapshot, while all workers go on and keep what they believe to hold. What is published and
// read from then on has ids that were given out before.
func (p *protocol) Restore(t *rapid.T) {
	p.b.Restore()
	p.tables = p.backup.clone()
	p.Publish(t)
	p.Read(t)
}

// Extend is a heartbeat.
func (p *protocol) Extend(t *rapid.T) {
	batch := p.batch(t)
	confirmed, err := p.b.Extend(p.b.ctx, p.b.conn, entries(batch...), time.Hour)
	p.check(t, "extend", batch, confirmed, err, func(m message.Message, q *queued) bool {
		return leasedAs(m, q) && !q.ended
	})
	for l := range confirmed {
		p.queued[l.ID].due, p.queued[l.ID].moved = false, true
	}
}

// Bury gives up on some leases.
func (p *protocol) Bury(t *rapid.T) {
	batch := p.batch(t)
	e := entries(batch...)
	for i := range e {
		e[i].Reason, e[i].Error = message.ReasonPermanent, "hopeless"
	}
	confirmed, err := p.b.Bury(p.b.ctx, p.b.conn, e, me)
	p.check(t, "bury", batch, confirmed, err, leasedAs)
	for l := range confirmed {
		letter := dbtest.One[int64](p.b.DB,
			`select msg_id from pgmq.q_order_queue_dlq where (headers->'orderflow-dead'->>'msg_id')::bigint = $1`, l.ID)
		p.dead[letter] = p.queued[l.ID].order
		delete(p.queued, l.ID)
	}
}

// Expire lets the visibility timeout of some messages pass.
func (p *protocol) Expire(t *rapid.T) {
	chosen := p.some(t, keys(p.queued))
	p.b.expire(chosen...)
	for _, id := range chosen {
		p.queued[id].due, p.queued[id].moved = true, true
	}
}

// LoseCommit reads, and the connection is lost at the commit: it took effect or it did not, and the reader cannot know.
func (p *protocol) LoseCommit(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "luck") > 0 {
		t.Skip("not this time: a connection for each is the slowest of all actions")
	}
	fault := rapid.SampledFrom([]pgproxy.Fault{pgproxy.Unsent, pgproxy.Unanswered}).Draw(t, "fault")
	conn, err := pgx.Connect(p.b.ctx, p.doubtful)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(p.b.ctx)
	p.proxy.Trap("commit", fault)
	f, err := p.b.Fetch(p.b.ctx, conn, bounds(2), time.Hour)
	if err == nil {
		t.Fatal("the commit was to be lost")
	}
	await.True(p.b.t, "the server has noticed", func() bool {
		return dbtest.One[int](p.b.DB, `select count(*) from pg_stat_activity where application_name = $1`, doubtfulName) == 0
	})
	for _, m := range f.Messages {
		p.doubts = append(p.doubts, m.Message)
		if fault == pgproxy.Unanswered {
			q := p.queued[m.ID]
			q.leased(m.Until)
			q.unanswered++
		}
	}
}

// ReleaseDoubts hands back what may never have been leased, at once or much later.
func (p *protocol) ReleaseDoubts(t *rapid.T) {
	if len(p.doubts) == 0 {
		t.Skip("there are none")
	}
	for _, m := range p.doubts {
		e := entries(m)
		e[0].Until = m.Until
		confirmed, err := p.b.Release(p.b.ctx, p.b.conn, e, "test")
		if err != nil {
			t.Fatal(err)
		}
		q := p.queued[m.ID]
		ours := q != nil && leasedAs(m, q) && !q.moved && q.until.Equal(m.Until)
		if (len(confirmed) == 1) != ours {
			t.Fatalf("release of a doubtful read of message %d, read %d: confirmed %v, want %t (model %+v)", m.ID, m.ReadCount, confirmed, ours, q)
		}
		if ours {
			q.release(m)
		}
	}
	p.doubts = nil
}

// CrashBeforeStart makes a worker forget what it holds. No handler had been given it.
func (p *protocol) CrashBeforeStart(t *rapid.T) { p.leases[p.worker(t)] = nil }

// CrashAfterStart makes a worker forget what it holds. Handlers were at work on it, in company, and nobody has been told.
func (p *protocol) CrashAfterStart(t *rapid.T) {
	w := p.worker(t)
	p.start(p.leases[w]...)
	p.leases[w] = nil
}

// StartAlone makes the start of one handler known.
func (p *protocol) StartAlone(t *rapid.T) { p.startAlone(t) }

// CrashAlone is what must be counted against the one message that was worked on.
func (p *protocol) CrashAlone(t *rapid.T) {
	m := p.startAlone(t)
	for w := range p.leases {
		p.leases[w] = slices.DeleteFunc(p.leases[w], func(held message.Message) bool { return held.ID == m.ID && held.Until.Equal(m.Until) })
	}
}

func (p *protocol) startAlone(t *rapid.T) message.Message {
	m := p.batch(t)[0]
	q := p.queued[m.ID]
	want := q != nil && leasedAs(m, q) && !q.ended
	known, err := p.b.Start(p.b.ctx, p.b.conn, queue.EntryOf(&m, true), me)
	if err != nil || known != want {
		t.Fatalf("start of message %d, read %d: known %t, want %t (%v; model %+v)", m.ID, m.ReadCount, known, want, err, q)
	}
	if known {
		p.start(m)
		q.known[m.ReadCount] = true
	}
	return m
}

// AnswerLate is what a worker does whose handler comes back after its lease was lost.
func (p *protocol) AnswerLate(t *rapid.T) {
	batch := p.batch(t)
	confirmed, err := p.b.Late(p.b.ctx, p.b.conn, entries(batch...), "test")
	p.check(t, "late answer", batch, confirmed, err, func(m message.Message, q *queued) bool {
		return q.enqueued == m.EnqueuedAt && q.known[m.ReadCount]
	})
	for l := range confirmed {
		delete(p.queued[l.ID].known, l.ReadCount)
	}
}

// Redrive sends some dead letters back.
func (p *protocol) Redrive(t *rapid.T) {
	chosen := p.some(t, keys(p.dead))
	rows, err := p.b.Query(p.b.ctx, `select dead_msg_id, new_msg_id, order_id from orderflow.redrive('order_queue', $1)`, chosen)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	moved := 0
	for rows.Next() {
		var letter, id, order int64
		if err := rows.Scan(&letter, &id, &order); err != nil {
			t.Fatal(err)
		}
		if p.dead[letter] != order {
			t.Fatalf("redrive of letter %d moved order %d, want %d", letter, order, p.dead[letter])
		}
		delete(p.dead, letter)
		p.queued[id] = &queued{order: order, due: true, known: map[int32]bool{}}
		moved++
	}
	rows.Close()
	for id, q := range p.queued {
		if q.enqueued == (message.Instant{}) {
			q.enqueued = p.b.enqueued(id)
		}
	}
	if rows.Err() != nil || moved != len(chosen) {
		t.Fatalf("redrive moved %d of %d: %v", moved, len(chosen), rows.Err())
	}
}

// Check runs after every action: the tables say what the model says.
func (p *protocol) Check(t *rapid.T) {
	type row struct {
		Status  string
		Effects int
	}
	rows, err := p.b.Query(p.b.ctx, `select id, status, effects from public.orders`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := map[int64]row{}
	for rows.Next() {
		var id int64
		var r row
		if err := rows.Scan(&id, &r.Status, &r.Effects); err != nil {
			t.Fatal(err)
		}
		found[id] = r
	}
	want := map[int64]row{}
	for order := range p.done {
		want[order] = row{"completed", 1}
	}
	for _, order := range p.dead {
		want[order] = row{"dead", 0}
	}
	for _, q := range p.queued {
		want[q.order] = row{"pending", 0}
	}
	if fmt.Sprint(found) != fmt.Sprint(want) { // fmt prints maps sorted
		t.Fatalf("orders are\n%v, want\n%v", found, want)
	}
	if got := dbtest.All[int64](p.b.DB, `select msg_id from pgmq.q_order_queue order by 1`); !slices.Equal(got, keys(p.queued)) {
		t.Fatalf("queue holds %v, want %v", got, keys(p.queued))
	}
	if got := dbtest.All[int64](p.b.DB, `select msg_id from pgmq.q_order_queue_dlq order by 1`); !slices.Equal(got, keys(p.dead)) {
		t.Fatalf("dead letters %v, want %v", got, keys(p.dead))
	}
}

// finish lets time pass until a worker without faults has done what is left: nothing may be out of its reach.
func (p *protocol) finish() {
	for len(p.queued) > 0 {
		p.b.expire(keys(p.queued)...)
		got := p.b.read(100)
		confirmed, err := p.b.Ack(p.b.ctx, p.b.conn, entries(got...), me)
		if err != nil || len(confirmed) != len(p.queued) {
			p.Fatalf("%d messages are left and cannot be done: %v", len(p.queued)-len(confirmed), err)
		}
		for l := range confirmed {
			p.done[p.queued[l.ID].order] = true
			delete(p.queued, l.ID)
		}
	}
	p.Check(p.T)
}

// check compares what a statement confirmed with what the model allows.
func (p *protocol) check(t *rapid.T, what string, batch []message.Message, got queue.Confirmed, err error,
	allowed func(message.Message, *queued) bool,
) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	asked := map[queue.Lease]bool{}
	for _, m := range batch {
		asked[queue.LeaseOf(&m)] = true
		q := p.queued[m.ID]
		want := q != nil && allowed(m, q)
		if _, ok := got[queue.LeaseOf(&m)]; ok != want {
			t.Fatalf("%s of message %d, read %d: confirmed %t, want %t (model %+v)", what, m.ID, m.ReadCount, ok, want, q)
		}
	}
	for l := range got {
		if !asked[l] {
			t.Fatalf("%s changed %v, which is somebody else's lease", what, l)
		}
	}
}

func (p *protocol) worker(t *rapid.T) int {
	return rapid.IntRange(0, len(p.leases)-1).Draw(t, "worker")
}

// batch draws some of what a worker believes to hold; it may act on the same lease again later.
func (p *protocol) batch(t *rapid.T) []message.Message {
	var holders []int
	for w := range p.leases {
		if len(p.leases[w]) > 0 {
			holders = append(holders, w)
		}
	}
	if len(holders) == 0 {
		t.Skip("nobody holds anything")
	}
	held := p.leases[rapid.SampledFrom(holders).Draw(t, "holder")]
	return rapid.SliceOfNDistinct(rapid.SampledFrom(held), 1, min(len(held), 5), func(m message.Message) queue.Lease {
		return queue.LeaseOf(&m)
	}).Draw(t, "batch")
}

func (p *protocol) some(t *rapid.T, ids []int64) []int64 {
	if len(ids) == 0 {
		t.Skip("there are none")
	}
	return rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 1, len(ids), rapid.ID[int64]).Draw(t, "ids")
}

func keys[V any](m map[int64]V) []int64 {
	list := []int64{}
	for id := range m {
		list = append(list, id)
	}
	slices.Sort(list)
	return list
}
