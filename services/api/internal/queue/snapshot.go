package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/api/internal/isotime"
)

// Snapshot is the state of the queue at one moment.
type Snapshot struct {
	Queue            string       `json:"queue"`
	AsOf             isotime.Time `json:"as_of" doc:"the moment this was looked up; it is looked up once a second at most"`
	Depth            int64        `json:"depth" doc:"messages in the queue, whatever their state"`
	Visible          int64        `json:"visible" doc:"waiting for a consumer"`
	InFlight         int64        `json:"in_flight" doc:"with a consumer"`
	Delayed          int64        `json:"delayed" doc:"waiting for their next attempt, or for the delay they were sent with"`
	OldestAgeSeconds float64      `json:"oldest_age_seconds" doc:"age of the oldest message, 0 when there is none"`
	OldestDueSeconds float64      `json:"oldest_due_seconds" doc:"how long the message that is due first has been waiting for a consumer, 0 when none is due: what waits for a retry does not count"`
	DeadLetters      int64        `json:"dead_letters"`
	EnqueuedTotal    int64        `json:"enqueued_total" doc:"messages ever sent to the queue"`
	Rates            Rates        `json:"rates"`
	Consuming        Consuming    `json:"consuming"`

	deadTotal int64
}

// Rates are taken from the counters of two snapshots. Nil: there is none before the last one that is recent enough.
type Rates struct {
	EnqueuedPerSecond  *float64 `json:"enqueued_per_second" doc:"since the look before; null when that was more than 15 seconds earlier, or there was none"`
	CompletedPerSecond *float64 `json:"completed_per_second" doc:"likewise"`
}

// How often the queue is looked at, at most. The look-up walks over the whole queue; when that takes long, it is done
// less often, so that being watched never costs the database more than a tenth of a core.
const (
	snapshotAge  = time.Second
	snapshotCost = 10
	// rateWindow is the longest time between two snapshots from which a rate is taken.
	rateWindow = 15 * time.Second
	// snapshotTimeout bounds the look-up. It is far above a request's: the answer is shared by all who ask meanwhile.
	snapshotTimeout = 5 * time.Second
)

// Watcher answers from one shared snapshot, however many ask.
type Watcher struct {
	queue  *Queue
	ctx    context.Context // ends with the watcher; looking up outlives the request that asked for it
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	last    *Snapshot
	taken   time.Time // when last was, by this machine's clock
	expires time.Time
	pending *look
	closed  bool
}

type look struct {
	done     chan struct{}
	snapshot *Snapshot
	err      error
}

// NewWatcher makes a watcher of a queue.
func NewWatcher(q *Queue) *Watcher {
	ctx, cancel := context.WithCancel(context.Background())
	return &Watcher{queue: q, ctx: ctx, cancel: cancel}
}

// Get returns a snapshot that is about a second old at most, unless looking takes longer than ctx allows: then the last one
// there is.
func (w *Watcher) Get(ctx context.Context) (Snapshot, error) {
	w.mu.Lock()
	if w.last != nil && time.Now().Before(w.expires) {
		defer w.mu.Unlock()
		return *w.last, nil
	}
	pending := w.pending
	if pending == nil && !w.closed {
		pending = &look{done: make(chan struct{})}
		w.pending = pending
		w.done.Go(func() { w.look(pending) })
	}
	w.mu.Unlock()
	if pending == nil {
		return Snapshot{}, context.Canceled
	}

	select {
	case <-pending.done:
		if pending.err != nil {
			return Snapshot{}, pending.err
		}
		return *pending.snapshot, nil
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last != nil && time.Since(w.taken) < rateWindow {
		return *w.last, nil
	}
	return Snapshot{}, ctx.Err()
}

// Close ends a look-up that is under way and waits for it.
func (w *Watcher) Close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.cancel()
	w.done.Wait()
}

// Join adds the look-up to somebody else's batch, when it is time for one and nobody else is at it, so that both make one round trip. done
// is to be called when the batch has ended, with its error. A look-up that takes long, or may, is made apart, so that nothing waits for it.
func (w *Watcher) Join(b *pgx.Batch) (done func(error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.pending != nil || w.last != nil && time.Now().Before(w.expires) {
		return func(error) {}
	}
	l := &look{done: make(chan struct{})}
	w.pending = l
	if w.last == nil || w.expires.Sub(w.taken) > snapshotAge {
		w.done.Go(func() { w.look(l) })
		return func(error) {}
	}
	started := time.Now()
	var snapshot *Snapshot
	var read error
	b.Queue(patience, strconv.FormatInt(snapshotTimeout.Milliseconds(), 10))
	sql, args := w.queue.snapshotStatement()
	b.Queue(sql, args...).QueryRow(func(row pgx.Row) error {
		snapshot, read = w.queue.readSnapshot(row)
		return read
	})
	return func(err error) {
		if snapshot == nil && err == nil {
			err = context.Canceled // it did not come to it
		}
		w.looked(l, started, snapshot, errors.Join(read, err))
	}
}

// Last is the last snapshot, if it is recent enough to be shown.
func (w *Watcher) Last() (Snapshot, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil || time.Since(w.taken) > max(rateWindow, 2*w.expires.Sub(w.taken)) {
		return Snapshot{}, false
	}
	return *w.last, true
}

func (w *Watcher) look(l *look) {
	ctx, cancel := context.WithTimeout(w.ctx, snapshotTimeout)
	defer cancel()
	started := time.Now()
	snapshot, err := w.queue.snapshot(ctx)
	w.looked(l, started, snapshot, err)
}

// looked tells those who wait what was found.
func (w *Watcher) looked(l *look, started time.Time, snapshot *Snapshot, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = nil
	if err != nil {
		l.err = err
	} else {
		if w.last != nil {
			snapshot.Rates = rates(w.last, snapshot)
		}
		l.snapshot = snapshot
		w.last, w.taken = snapshot, started
		w.expires = started.Add(max(snapshotAge, snapshotCost*time.Since(started)))
	}
	close(l.done)
}

// rates are what the counters say: what was sent and neither lies in the queue nor went to the dead letters was
// completed.
func rates(before, now *Snapshot) Rates {
	seconds := now.AsOf.Sub(before.AsOf.Time).Seconds()
	if seconds <= 0 || seconds > rateWindow.Seconds() {
		return Rates{}
	}
	sent := now.EnqueuedTotal - before.EnqueuedTotal
	dead := now.deadTotal - before.deadTotal
	completed := sent - (now.Depth - before.Depth) - dead
	perSecond := func(n int64) *float64 {
		rate := max(0, float64(n)/seconds)
		return &rate
	}
	return Rates{EnqueuedPerSecond: perSecond(sent), CompletedPerSecond: perSecond(completed)}
}

// snapshot looks at the queue.
func (q *Queue) snapshot(ctx context.Context) (*Snapshot, error) {
	var s *Snapshot
	sql, args := q.snapshotStatement()
	err := q.patiently(ctx, snapshotTimeout, func(tx pgx.Tx) (err error) {
		s, err = q.readSnapshot(tx.QueryRow(ctx, sql, args...))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look at the queue: %w", err)
	}
	return s, nil
}

// snapshotStatement counts. What is invisible waits for a retry when its last delivery ended in one (the consumer notes the
// delivery's number in a header), and is with a consumer otherwise.
func (q *Queue) snapshotStatement() (sql string, args []any) {
	return `
		with now as materialized (select clock_timestamp() as t),
		messages as (
			select
				count(*) as depth,
				count(*) filter (where m.vt <= now.t) as visible,
				count(*) filter (
					where m.vt > now.t and m.read_ct > 0
					  and case when ` + weight("m.headers") + ` <= ` + strconv.Itoa(headersLimit) + ` then m.headers ->> 'orderflow-retry' end
						is distinct from m.read_ct::text
				) as in_flight,
				min(` + isotime.Bounded("m.enqueued_at") + `) filter (where isfinite(m.enqueued_at)) as oldest,
				min(m.vt) filter (where m.vt <= now.t and isfinite(m.vt)) as due
			from ` + q.table + ` m, now
		)
		select
			now.t, messages.depth, messages.visible, messages.in_flight,
			coalesce(extract(epoch from now.t - messages.oldest), 0)::float8,
			coalesce(extract(epoch from now.t - messages.due), 0)::float8,
			(select count(*) from ` + q.dlq + `),
			coalesce(pg_sequence_last_value(pg_get_serial_sequence($1, 'msg_id')::regclass), 0),
			coalesce(pg_sequence_last_value(pg_get_serial_sequence($2, 'msg_id')::regclass), 0),
			` + GateColumns + `
		from messages
		cross join now
		left join orderflow.gate g on g.queue = lower($3)`, []any{q.table, q.dlq, q.name}
}

// readSnapshot reads the row of snapshotStatement.
func (q *Queue) readSnapshot(row pgx.Row) (*Snapshot, error) {
	s := &Snapshot{Queue: q.name}
	var g Gate
	err := row.Scan(append([]any{
		&s.AsOf.Time, &s.Depth, &s.Visible, &s.InFlight, &s.OldestAgeSeconds, &s.OldestDueSeconds, &s.DeadLetters, &s.EnqueuedTotal, &s.deadTotal,
	}, g.Targets()...)...)
	if err != nil {
		return nil, err
	}
	s.Consuming = g.Consuming()
	s.OldestAgeSeconds = max(0, s.OldestAgeSeconds)
	s.Delayed = s.Depth - s.Visible - s.InFlight
	return s, nil
}
