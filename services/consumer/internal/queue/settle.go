package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/message"
)

// Lease names one delivery of one message, for ever: see docs/decisions/0001.
type Lease struct {
	ID         int64           // msg_id
	ReadCount  int32           // read_ct
	EnqueuedAt message.Instant // enqueued_at
}

// Entry is a lease with what is to be written about it. Which fields count depends on the statement.
type Entry struct {
	Lease
	Attempt    int32           // attempts that the order has had: this one included, if it was one
	Failed     int32           // Nack: those of them that failed
	Unanswered int32           // Release: deliveries in a row that had no answer
	OrderID    int64           // 0: unknown
	Created    message.Instant // created_at of the order that is meant; no other order is touched
	Delay      time.Duration   // Nack, Release
	Due        message.Instant // Release: when it is due, in the past, instead of after Delay; null: it is not said
	Reason     string          // Bury
	Error      string          // Nack, Bury: what the order is told
	Until      time.Time       // Release: message.Message.Until when the read may not have been committed, else zero
	Unsure     bool            // Fates: an earlier try may have taken effect unseen

	Started message.Instant // Ack, History: start of its handler, by the database's clock
	History *HistoryRow     // what goes into the order's history; nil: nothing
}

// LeaseOf names this delivery of a message.
func LeaseOf(m *message.Message) Lease { return Lease{m.ID, m.ReadCount, m.EnqueuedAt} }

// EntryOf returns the entry of a message. tried is false for what no handler has been started on, nor will be: it has had no attempt.
func EntryOf(m *message.Message, tried bool) Entry {
	e := Entry{
		Lease:      LeaseOf(m),
		Attempt:    int32(m.Attempt) - 1,
		Failed:     m.Failed,
		Unanswered: m.Unanswered,
		OrderID:    m.OrderID,
		Created:    m.Created,
	}
	if tried {
		e.Attempt, e.Failed = e.Attempt+1, e.Failed+1
	}
	return e
}

// Confirmed is the set of messages for which a statement took effect. After an Ack the value is how long the message took
// from its publication, by the database's clock.
type Confirmed map[Lease]time.Duration

// Missing are the entries that were not confirmed.
func (c Confirmed) Missing(entries []Entry) []Entry {
	var rest []Entry
	for _, e := range entries {
		if _, ok := c[e.Lease]; !ok {
			rest = append(rest, e)
		}
	}
	return rest
}

// Ack deletes the messages and completes their orders, in one transaction. What is not confirmed has had no effect.
func (q *Queue) Ack(ctx context.Context, conn *pgx.Conn, entries []Entry, consumer string) (Confirmed, error) {
	return q.acknowledge(ctx, conn, q.ack, entries, consumer)
}

// AckUnlocked is Ack for those whose rows nobody has locked; the others are left as they are, to be tried again.
func (q *Queue) AckUnlocked(ctx context.Context, conn *pgx.Conn, entries []Entry, consumer string) (Confirmed, error) {
	return q.acknowledge(ctx, conn, q.ackUnlocked, entries, consumer)
}

func (q *Queue) acknowledge(ctx context.Context, conn *pgx.Conn, statement string, entries []Entry, consumer string) (Confirmed, error) {
	c := split(conn, entries)
	rows, err := conn.Query(ctx, statement, c.ids, c.reads, c.enqueued, c.orders, c.created, c.attempts, encodable(conn, consumer), c.started)
	if err != nil {
		return nil, fmt.Errorf("ack: %w", err)
	}
	confirmed := make(Confirmed, len(entries))
	var l Lease
	var took float64
	if _, err := pgx.ForEachRow(rows, []any{&l.ID, &l.ReadCount, &l.EnqueuedAt, &took}, func() error {
		confirmed[l] = seconds(took)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("ack: %w", err)
	}
	return confirmed, nil
}

// Nack delays failed messages and tells their orders.
func (q *Queue) Nack(ctx context.Context, conn *pgx.Conn, entries []Entry, consumer string) (Confirmed, error) {
	c := split(conn, entries)
	return confirm(ctx, conn, "nack", q.nack, c.ids, c.reads, c.enqueued, c.delays, c.errors, c.failed, c.orders, c.created, c.attempts,
		historyRows(conn, entries, consumer))
}

// NackMessageOnly is Nack without touching the orders.
func (q *Queue) NackMessageOnly(ctx context.Context, conn *pgx.Conn, entries []Entry, consumer string) (Confirmed, error) {
	c := split(conn, entries)
	return confirm(ctx, conn, "nack", q.nackMessageOnly, c.ids, c.reads, c.enqueued, c.delays, c.errors, c.failed, historyRows(conn, entries, consumer))
}

// Release hands messages back, without an attempt: due after their Delay, or as they were before, which puts them in front of what has become
// due since.
func (q *Queue) Release(ctx context.Context, conn *pgx.Conn, entries []Entry, consumer string) (Confirmed, error) {
	c := split(conn, entries)
	return confirm(ctx, conn, "release", q.release, c.ids, c.reads, c.enqueued, c.unanswered, c.until, c.delays, c.due,
		historyRows(conn, entries, consumer))
}

// Start makes the start of a message's handler known, before it runs and while nothing else does: should the process die of it, the next
// read will tell. False means that the lease has been lost.
func (q *Queue) Start(ctx context.Context, conn *pgx.Conn, e Entry, consumer string) (known bool, err error) {
	rows, err := conn.Query(ctx, q.start, e.ID, e.ReadCount, e.EnqueuedAt, encodable(conn, consumer))
	if err != nil {
		return false, fmt.Errorf("make a start known: %w", err)
	}
	confirmed, err := pgx.CollectRows(rows, pgx.RowTo[bool])
	if err != nil {
		return false, fmt.Errorf("make a start known: %w", err)
	}
	return len(confirmed) == 1 && confirmed[0], nil
}

// Late answers for deliveries whose lease has been lost: their consumer has not died of them. Confirmed are those that had been taken for it.
func (q *Queue) Late(ctx context.Context, conn *pgx.Conn, entries []Entry, consumer string) (Confirmed, error) {
	c := split(conn, entries)
	return confirm(ctx, conn, "answer late", q.late, c.ids, c.reads, c.enqueued, historyRows(conn, entries, consumer))
}

// Extend makes the leases last visible from now on.
func (q *Queue) Extend(ctx context.Context, conn *pgx.Conn, entries []Entry, visible time.Duration) (Confirmed, error) {
	c := split(conn, entries)
	return confirm(ctx, conn, "extend", q.extend, c.ids, c.reads, c.enqueued, visible.Seconds())
}

// Bury moves messages to the dead letters and marks their orders dead, in one transaction.
func (q *Queue) Bury(ctx context.Context, conn *pgx.Conn, entries []Entry, consumer string) (Confirmed, error) {
	c := split(conn, entries)
	return confirm(ctx, conn, "bury", q.bury, c.ids, c.reads, c.enqueued, c.orders, c.created, c.attempts, c.reasons, c.errors,
		q.Name+DeadLetterSuffix, q.Name, encodable(conn, consumer), historyRows(conn, entries, consumer))
}

// retryPayload is what consumers are notified of when a message will be due, in so many milliseconds.
const retryPayload = "retry-ms:"

// Notify wakes the consumers that listen, in a transaction of its own: something is due in so long, or now.
func (q *Queue) Notify(ctx context.Context, conn *pgx.Conn, in time.Duration) error {
	payload := ""
	if in > 0 {
		payload = retryPayload + strconv.FormatInt(in.Milliseconds(), 10)
	}
	if _, err := conn.Exec(ctx, "select pg_notify($1, $2)", q.Channel(), payload); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}

// Retry reads what Notify has told: when something will be due. It says false of a payload that tells anything else.
func Retry(payload string) (in time.Duration, retry bool) {
	text, retry := strings.CutPrefix(payload, retryPayload)
	if ms, err := strconv.Atoi(text); retry && err == nil && ms >= 0 {
		return time.Duration(ms) * time.Millisecond, true
	}
	return 0, false
}

// Fate is what became of a lease that a statement did not confirm.
type Fate int

const (
	// Lost: another consumer has read the message, or has finished with it. Nothing of ours took effect.
	Lost Fate = iota
	// StillOurs: the statement has not taken effect, because a row was locked for instance.
	StillOurs
	// Orphaned: the same, and the order does not exist.
	Orphaned
	// Done: an earlier try, whose answer was lost, had taken effect.
	Done
)

// Fates finds out what became of leases that were not confirmed.
func (q *Queue) Fates(ctx context.Context, conn *pgx.Conn, entries []Entry, consumer string) (map[Lease]Fate, error) {
	c := split(conn, entries)
	rows, err := conn.Query(ctx, q.fate, c.ids, c.reads, c.enqueued, c.orders, c.created, c.attempts, encodable(conn, consumer))
	if err != nil {
		return nil, fmt.Errorf("look up leases: %w", err)
	}
	asked := make(map[Lease]*Entry, len(entries))
	for i := range entries {
		asked[entries[i].Lease] = &entries[i]
	}
	fates := make(map[Lease]Fate, len(entries))
	var l Lease
	var reads *int32
	var givenBack, order, marked bool
	_, err = pgx.ForEachRow(rows, []any{&l.ID, &l.ReadCount, &l.EnqueuedAt, &reads, &givenBack, &order, &marked}, func() error {
		switch {
		case reads != nil && *reads == l.ReadCount && order:
			fates[l] = StillOurs
		case reads != nil && *reads == l.ReadCount:
			fates[l] = Orphaned
		case !asked[l].Unsure:
			fates[l] = Lost
		// From here on an earlier try may have worked. A message that was given back under our read_ct says so itself; one
		// that is gone was deleted by us if its order names us and our attempt, or if it was to be buried and there is no order to ask.
		case reads != nil && givenBack, reads == nil && (marked || !order && asked[l].Reason != ""):
			fates[l] = Done
		default:
			fates[l] = Lost
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up leases: %w", err)
	}
	return fates, nil
}

func confirm(ctx context.Context, conn *pgx.Conn, what, statement string, arguments ...any) (Confirmed, error) {
	rows, err := conn.Query(ctx, statement, arguments...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	confirmed := Confirmed{}
	var l Lease
	if _, err := pgx.ForEachRow(rows, []any{&l.ID, &l.ReadCount, &l.EnqueuedAt}, func() error {
		confirmed[l] = 0
		return nil
	}); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return confirmed, nil
}

// columns are entries as the arrays that unnest takes.
type columns struct {
	ids, orders                         []int64
	enqueued, created, started, due     []message.Instant
	reads, attempts, failed, unanswered []int32
	delays                              []float64
	reasons, errors                     []string
	until                               []*time.Time
}

// split sorts the entries by msg_id, so that statements that meet on the same rows lock them in the same order.
func split(conn *pgx.Conn, entries []Entry) columns {
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.ReadCount, b.ReadCount))
	})
	n := len(entries)
	c := columns{
		ids: make([]int64, n), orders: make([]int64, n),
		enqueued: make([]message.Instant, n), created: make([]message.Instant, n), started: make([]message.Instant, n), due: make([]message.Instant, n),
		reads: make([]int32, n), attempts: make([]int32, n), failed: make([]int32, n), unanswered: make([]int32, n),
		delays: make([]float64, n), reasons: make([]string, n), errors: make([]string, n), until: make([]*time.Time, n),
	}
	for i, e := range entries {
		c.ids[i], c.orders[i], c.reads[i] = e.ID, e.OrderID, e.ReadCount
		c.attempts[i], c.failed[i], c.unanswered[i] = e.Attempt, e.Failed, e.Unanswered
		c.enqueued[i], c.created[i], c.started[i], c.due[i] = e.EnqueuedAt, e.Created, e.Started, e.Due
		c.delays[i], c.reasons[i], c.errors[i] = e.Delay.Seconds(), e.Reason, storable(conn, e.Error)
		if !e.Until.IsZero() {
			c.until[i] = &entries[i].Until
		}
	}
	return c
}
