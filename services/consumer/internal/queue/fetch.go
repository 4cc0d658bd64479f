package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"orderflow.example/services/consumer/internal/message"
)

// Fetched is what one read brought.
type Fetched struct {
	Messages   []Received // earliest due first
	Last       time.Time  // due time of the last one, by the database's clock
	Suppressed []int64    // msg_ids that are due, and that something in the database silently keeps from being leased
	Sound      int64      // msg_id of the message that FetchUnreadable has left where it is, since it can be read; 0: there is none
}

// Received is one message, with what is wrong with it: nil for an order that can be processed.
type Received struct {
	message.Message
	Poison *message.Poison
}

// Bounds of one read.
type Bounds struct {
	Messages     int       // at most
	Bytes        int64     // of bodies and headers together, but for the first message
	MessageBytes int32     // of one message; a larger one comes without its body, as poison
	Watermark    time.Time // what is due before it is not looked at; zero is no bound
	Except       []int64   // msg_ids that are not looked at either
	Front        bool      // nor is what is due before the queue's front, unless that is within the last second
}

// MovesFront is how many messages a read has to bring to move the queue's front: an entry in the server's log, of 99 bytes, is to be little for
// each of them.
const MovesFront = 10

// Cut says whether a read within b may have left messages for their size. Sizes as the database weighs them are not known here: that
// of a compressed one is 64 times what it takes (see fetch.sql), so this says so from a 128th of b's bytes on.
func (f *Fetched) Cut(b Bounds) bool {
	var bytes int64
	for i := range f.Messages {
		bytes += f.Messages[i].Size
	}
	return bytes >= b.Bytes/128
}

// Fetch leases due messages for visible, as many as the bounds allow, and decodes them.
//
// The read is a transaction of two round trips on purpose. Only when its commit is confirmed may the messages be worked
// on: until then another connection sees the old read_ct and would refuse the ack. And when the connection is lost, nothing
// is hidden for a visibility timeout on behalf of nobody: before the commit was sent the server rolls back; after it we
// know the leases. In that case Fetch returns them together with the error: they may or may not be ours, and are to be
// handed back with their Until.
func (q *Queue) Fetch(ctx context.Context, conn *pgx.Conn, b Bounds, visible time.Duration) (Fetched, error) {
	var read pgx.Batch
	read.Queue("begin")
	fetched := q.queueRead(&read, b, visible)
	if err := conn.SendBatch(ctx, &read).Close(); err != nil {
		rollback(ctx, conn)
		return Fetched{}, fmt.Errorf("read messages: %w", err)
	}
	return *fetched, q.commit(ctx, conn, fetched.Messages)
}

// UnleasableError names a message that cannot even be leased without its body being looked at, as where a trigger raises an error for it or does
// not end. What is due behind it can be read with Bounds.Except.
type UnleasableError struct {
	ID  int64
	Err error
}

func (e *UnleasableError) Error() string { return fmt.Sprintf("lease message %d: %v", e.ID, e.Err) }

func (e *UnleasableError) Unwrap() error { return e.Err }

// FetchUnreadable is Fetch after a read of one message has failed, which may be for what the message's row holds. It leases the first message that
// is due without looking at its body. When the row is indeed one that cannot be read it comes as poison, to be buried; when it is not,
// since the other one was taken or locked meanwhile, nothing is leased, and Fetch will read it. When it cannot be leased, the error is
// an UnleasableError: what keeps all messages alike from being leased keeps the first one from being locked, as a rule, and is another error.
func (q *Queue) FetchUnreadable(ctx context.Context, conn *pgx.Conn, b Bounds, visible time.Duration) (Fetched, error) {
	b.Messages, b.MessageBytes, b.Front = 1, blind, false
	var read pgx.Batch
	var first int64
	read.Queue("begin")
	read.Queue(q.limit, halfOf(ctx))
	read.Queue(q.first, bound(b.Watermark), except(b.Except)).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&first}, func() error { return nil })
		return err
	})
	fetched := q.queueRead(&read, b, visible)
	read.Queue("savepoint look")
	if err := conn.SendBatch(ctx, &read).Close(); err != nil || len(fetched.Messages) == 0 {
		rollback(ctx, conn)
		if err != nil {
			err = fmt.Errorf("read a message without its body: %w", err)
		}
		if first != 0 && StatementFailed(err) {
			err = &UnleasableError{first, err}
		}
		return Fetched{Suppressed: fetched.Suppressed}, err
	}
	var bytes int64
	m := &fetched.Messages[0]
	switch err := conn.QueryRow(ctx, q.look, m.ID).Scan(&bytes); {
	case err == nil:
		rollback(ctx, conn)
		return Fetched{Sound: m.ID}, nil
	case StatementFailed(err) && Classify(err) != Spoiled:
		rollback(ctx, conn)
		return Fetched{}, &UnleasableError{m.ID, fmt.Errorf("look at an unreadable message: %w", err)}
	case Classify(err) != Spoiled:
		rollback(ctx, conn)
		return Fetched{}, fmt.Errorf("look at an unreadable message: %w", err)
	default:
		m.Poison = message.Unreadable(err)
	}
	if _, err := conn.Exec(ctx, "rollback to savepoint look"); err != nil {
		rollback(ctx, conn)
		return Fetched{}, fmt.Errorf("look at an unreadable message: %w", err)
	}
	return *fetched, q.commit(ctx, conn, fetched.Messages)
}

// halfOf is half of the time that a context leaves, in milliseconds; nil: it has no end. A server that cuts a statement off then still has the time
// to say so.
func halfOf(ctx context.Context) *int64 {
	deadline, ends := ctx.Deadline()
	if !ends {
		return nil
	}
	ms := max(time.Until(deadline)/2, time.Millisecond).Milliseconds()
	return &ms
}

// queueRead puts a read into a batch. What it returns is filled when the batch has been answered.
func (q *Queue) queueRead(read *pgx.Batch, b Bounds, visible time.Duration) *Fetched {
	fetched := &Fetched{}
	read.Queue(q.fetch, b.Messages, visible.Seconds(), bound(b.Watermark), b.MessageBytes, b.Bytes, except(b.Except), b.Front).Query(func(rows pgx.Rows) (err error) {
		*fetched, err = q.collect(rows, b, visible)
		return err
	})
	return fetched
}

// blind as Bounds.MessageBytes makes fetch.sql look at no body.
const blind = -1

// commit ends the transaction of a read, and finds out in the same round trip which order each message is about: the one with its
// order_id, when that is the one that it was sent for. From then on an order is named by its id and its created_at together.
func (q *Queue) commit(ctx context.Context, conn *pgx.Conn, read []Received) error {
	var end pgx.Batch
	var about []*Received
	var orders, ids []int64
	var created []message.Instant
	for i := range read {
		if m := &read[i]; m.OrderID != 0 {
			about = append(about, m)
			orders, ids, created = append(orders, m.OrderID), append(ids, m.ID), append(created, m.Created)
		}
	}
	if len(about) > 0 {
		end.Queue(q.identify, orders, ids, created).Query(func(rows pgx.Rows) error {
			var n int
			var exists, own bool
			var found message.Instant
			_, err := pgx.ForEachRow(rows, []any{&n, &exists, &own, &found}, func() error {
				about[n-1].identify(exists, own, found)
				return nil
			})
			return err
		})
	}
	if unanswered := unansweredIn(read); len(unanswered) > 0 {
		q.noteUnanswered(conn, &end, unanswered)
	}
	end.Queue("commit")
	if err := conn.SendBatch(ctx, &end).Close(); err != nil {
		rollback(ctx, conn)
		return fmt.Errorf("commit read: %w", err)
	}
	return nil
}

// identify notes that no order has the message's order_id and created_at: whether there is one with that id, whether it is the
// message's own all the same, and when it was created.
func (m *Received) identify(exists, own bool, created message.Instant) {
	switch {
	case own:
		m.Created = created
	case m.Poison != nil: // it goes to the dead letters for a reason of its own, and no order with it
	case exists:
		m.Poison = message.OtherOrder(m.OrderID, m.Created, created)
	default:
		m.Poison = message.UnknownOrder(m.OrderID)
	}
}

func (q *Queue) collect(rows pgx.Rows, b Bounds, visible time.Duration) (Fetched, error) {
	var f Fetched
	var held int64
	var ( // of each row; made once, because they escape
		d             Received
		reads         pgtype.Int4
		until         pgtype.Timestamptz
		fits          bool
		size          int64
		body, headers []byte
		due           time.Time
	)
	row := []any{&d.ID, &reads, &d.EnqueuedAt, &until, &fits, &size, &body, &headers, &due}
	for rows.Next() {
		d, body, headers = Received{}, nil, nil
		if err := rows.Scan(row...); err != nil {
			return Fetched{}, err
		}
		if !reads.Valid {
			f.Suppressed = append(f.Suppressed, d.ID)
			continue
		}
		d.ReadCount, d.Until, d.Size = reads.Int32, until.Time, size
		d.Body, d.Headers, d.Installation = body, headers, q.Installation
		d.Due, d.Leased = message.InstantOf(due), leasedAt(until, visible)
		d.Poison = d.Decode()
		length := int64(len(body) + len(headers))
		if length > int64(b.MessageBytes) && fits { // of a text that is many times what it takes stored
			fits, d.Size, d.Body, d.Headers = false, length, nil, nil
		}
		if !fits {
			d.Poison = message.TooLarge(d.Size, int64(b.MessageBytes))
		}
		// Text takes a little more than what is stored, as a rule. The first message comes however large its text is: a read of less there is not.
		if held += length; held > 2*b.Bytes+int64(max(b.MessageBytes, 0)) && len(f.Messages) > 0 {
			return Fetched{}, errTooMuch
		}
		if due.After(f.Last) {
			f.Last = due
		}
		if n := len(f.Messages); n == cap(f.Messages) {
			f.Messages = slices.Grow(f.Messages, max(n, 16)) // messages are large: a quarter more each time would copy them three times
		}
		f.Messages = append(f.Messages, d)
	}
	slices.SortFunc(f.Messages, func(a, b Received) int {
		return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.ID, b.ID))
	})
	return f, rows.Err()
}

// errTooMuch is the end of a read that brings more than was asked for. Its fault is TooLong: less may be little enough.
var errTooMuch = errors.New("the messages are larger than their rows")

// rollback ends the transaction of a read that failed, where the connection has survived it.
func rollback(ctx context.Context, conn *pgx.Conn) {
	if !conn.IsClosed() && conn.PgConn().TxStatus() != 'I' {
		_, _ = conn.Exec(ctx, "rollback") // a connection that cannot even do this is given up by its link
	}
}

// Peeked is what a look at the queue shows.
type Peeked struct {
	Found bool          // there is a message, due or not
	Due   time.Duration // until the earliest one is due; negative when it is overdue already
	Gate  int64         // revision of the queue's gate, 0 when it has none

	ReadOnly bool // the session can write nothing
}

// Peek looks for the earliest message from watermark on. Invisible messages count as well: they are due when their lease or delay ends.
func (q *Queue) Peek(ctx context.Context, conn *pgx.Conn, watermark time.Time) (Peeked, error) {
	return peeked(conn.QueryRow(ctx, q.peek, bound(watermark), q.Name))
}

func peeked(row pgx.Row, more ...any) (Peeked, error) {
	var p Peeked
	var due *float64
	if err := row.Scan(append([]any{&due, &p.Gate, &p.ReadOnly}, more...)...); err != nil {
		return Peeked{}, fmt.Errorf("peek: %w", err)
	}
	if due != nil {
		p.Found, p.Due = true, seconds(*due)
	}
	return p, nil
}

func bound(watermark time.Time) pgtype.Timestamptz {
	if watermark.IsZero() {
		return pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
	}
	return pgtype.Timestamptz{Time: watermark, Valid: true}
}

// except is a parameter that is never null, of which nothing is different.
func except(ids []int64) []int64 { return append([]int64{}, ids...) }

// seconds converts what the SQL has bounded already.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
