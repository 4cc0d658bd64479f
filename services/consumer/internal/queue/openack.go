package queue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/message"
)

// OpenAck is an ack whose transaction is open for work of somebody else's, which commits if and only if the ack does. It begins with
// the lease check: what that refuses is not in Acked, and no work is to be done for it. Either Commit or Rollback ends it.
//
// The work may do what it likes to its session. What is of consequence to us is set anew with each ack, and once more before the
// commit: the role, isolation, limits on time, and what our plans rely on.
type OpenAck struct {
	Acked []Acked

	queue   *Queue
	conn    *pgx.Conn
	sharing Sharing
}

// Acked is a message that the open transaction has acknowledged.
type Acked struct {
	Lease
	OrderID int64
	Created message.Instant
	First   bool // its order was not completed before
	Effects int32
	Took    time.Duration // since its publication, by the database's clock
}

// UndoneError is the end of an ack that the work in its transaction has undone, by deleting or changing an order of it for instance.
type UndoneError struct{ Messages []int64 }

func (e *UndoneError) Error() string {
	return fmt.Sprintf("the work in the ack's transaction has undone the ack (msg_id %v): it changed what says that the order is completed, or put the message back", e.Messages)
}

// OpenAck begins a transaction and acknowledges in it the messages whose lease holds; with unlocked, only those whose rows nobody has
// locked, as AckUnlocked does. From then on they are nobody else's until the transaction ends, however long it takes.
func (q *Queue) OpenAck(ctx context.Context, conn *pgx.Conn, entries []Entry, unlocked bool, consumer string, s Sharing) (*OpenAck, error) {
	c := split(conn, entries)
	open := &OpenAck{queue: q, conn: conn, sharing: s}
	statement := q.ackOpen
	if unlocked {
		statement = q.ackOpenUnlocked
	}
	var b pgx.Batch
	b.Queue("begin isolation level read committed, read write")
	restore(&b, setLocal, s.Ours)
	b.Queue(statement, c.ids, c.reads, c.enqueued, c.orders, c.created, c.attempts, encodable(conn, consumer), c.started).Query(open.read)
	b.Queue(setLocal, s.Theirs.names, s.Theirs.values)
	if err := conn.SendBatch(ctx, &b).Close(); err != nil {
		rollback(ctx, conn)
		return nil, fmt.Errorf("ack: %w", err)
	}
	return open, nil
}

// read reads the answer of acked_open.sql: what became of the orders, and then their messages.
func (o *OpenAck) read(rows pgx.Rows) error {
	var a Acked
	var took float64
	var first *bool
	var effects *int32
	orders := map[int64]Acked{}
	_, err := pgx.ForEachRow(rows, []any{&a.ID, &a.ReadCount, &a.EnqueuedAt, &a.OrderID, &a.Created, &took, &first, &effects}, func() error {
		if first != nil {
			orders[a.OrderID] = Acked{First: *first, Effects: *effects}
			return nil
		}
		order := orders[a.OrderID] // it is there, or the statement fails
		a.First, a.Effects, a.Took = order.First, order.Effects, seconds(took)
		o.Acked = append(o.Acked, a)
		return nil
	})
	return err
}

// Commit checks that the ack still stands, and commits. What fails is rolled back. What the work has set for longer than its transaction
// is set back for as long.
func (o *OpenAck) Commit(ctx context.Context) (Confirmed, error) {
	var b pgx.Batch
	s := o.sharing
	restore(&b, setForGood, s.After)
	b.Queue(setLocal, s.Theirs.names, s.Theirs.values)
	b.Queue("set constraints all immediate") // triggers that were put off are work as well, and may do what the check is to see
	restore(&b, setLocal, s.Ours)
	var ids, orders []int64
	var created []message.Instant
	var effects []int32
	for _, a := range o.Acked {
		ids, orders, created, effects = append(ids, a.ID), append(orders, a.OrderID), append(created, a.Created), append(effects, a.Effects)
	}
	// What has been undone is an error, and so the commit is not carried out.
	b.Queue(o.queue.ackStands, ids, orders, created, effects)
	b.Queue(commitAck)
	if err := o.conn.SendBatch(ctx, &b).Close(); err != nil {
		o.Rollback(ctx)
		if undone := SuppressedMessages(err); undone != nil {
			err = &UndoneError{slices.Sorted(maps.Keys(undone))}
		}
		return nil, fmt.Errorf("commit ack: %w", err)
	}
	confirmed := make(Confirmed, len(o.Acked))
	for _, a := range o.Acked {
		confirmed[a.Lease] = a.Took
	}
	return confirmed, nil
}

// Leases are those of some of the acknowledged messages.
func (o *OpenAck) Leases(messages []int64) map[Lease]bool {
	found := map[Lease]bool{}
	for _, a := range o.Acked {
		if slices.Contains(messages, a.ID) {
			found[a.Lease] = true
		}
	}
	return found
}

// Rollback undoes the ack and all that was done with it.
func (o *OpenAck) Rollback(ctx context.Context) { rollback(ctx, o.conn) }

// commitAck is told from the commits of others.
const commitAck = "/* orderflow consumer: ack_commit */ commit"

// Sharing is how the session is set for statements of ours and for the work, and how it is left.
type Sharing struct{ Ours, Theirs, After Session }

// Session is how a session is set while a part of the transaction runs.
type Session struct{ names, values []string }

// NewSession takes settings by their names.
func NewSession(settings map[string]string) Session {
	var s Session
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		s.names, s.values = append(s.names, name), append(s.values, settings[name])
	}
	return s
}

// setLocal makes settings until the end of the transaction, those that the server knows; setForGood makes them for as long as the session.
const (
	setLocal   = "select pg_catalog.set_config(s.name, s.value, true)" + known
	setForGood = "select pg_catalog.set_config(s.name, s.value, false)" + known
	known      = `
  from unnest($1::pg_catalog.text[], $2::pg_catalog.text[]) as s (name, value)
 where pg_catalog.current_setting(s.name, true) is not null`
)

// restore undoes what somebody has done to the session, with one of the two statements above.
func restore(b *pgx.Batch, set string, to Session) {
	b.Queue("reset session authorization")
	b.Queue("reset role")
	b.Queue(set, to.names, to.values)
}
