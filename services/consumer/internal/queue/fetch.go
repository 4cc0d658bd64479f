package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"orderflow.example/services/consumer/internal/message"
)

// Fetched is what one read brought.
type Fetched struct {
	Messages []Received // earliest due first
	Last     time.Time  // due time of the last one, by the database's clock
}

// Received is one message, with what is wrong with it: nil for an order that can be processed.
type Received struct {
	message.Message
	Poison *message.Poison
}

// Fetch leases up to limit due messages for visible and decodes them. floor bounds the search from below; its zero value is
// no bound.
//
// The read is a transaction of two round trips on purpose. Only when its commit is confirmed may the messages be worked
// on: until then another connection sees the old read_ct and would refuse the ack. And when the connection is lost, nothing
// is hidden for a visibility timeout on behalf of nobody: before the commit was sent the server rolls back; after it we
// know the leases. In that case Fetch returns them together with the error: they may or may not be ours, and are to be
// handed back with their Until.
func (q *Queue) Fetch(ctx context.Context, conn *pgx.Conn, limit int, visible time.Duration, floor time.Time) (Fetched, error) {
	var read pgx.Batch
	var fetched Fetched
	read.Queue("begin")
	read.Queue(q.fetch, limit, visible.Seconds(), bound(floor)).Query(func(rows pgx.Rows) error {
		var err error
		fetched, err = collect(rows)
		return err
	})
	if err := conn.SendBatch(ctx, &read).Close(); err != nil {
		rollback(ctx, conn)
		return Fetched{}, fmt.Errorf("read messages: %w", err)
	}
	return fetched, q.commit(ctx, conn, fetched.Messages)
}

// commit ends the transaction of a read, and finds out in the same round trip which messages name an order that does not exist.
func (q *Queue) commit(ctx context.Context, conn *pgx.Conn, read []Received) error {
	var end pgx.Batch
	orders := make([]int64, 0, len(read))
	for i := range read {
		if read[i].Poison == nil {
			orders = append(orders, read[i].OrderID)
		}
	}
	unknown := map[int64]bool{}
	if len(orders) > 0 {
		end.Queue(q.unknown, orders).Query(func(rows pgx.Rows) error {
			var id int64
			_, err := pgx.ForEachRow(rows, []any{&id}, func() error {
				unknown[id] = true
				return nil
			})
			return err
		})
	}
	end.Queue("commit")
	if err := conn.SendBatch(ctx, &end).Close(); err != nil {
		rollback(ctx, conn)
		return fmt.Errorf("commit read: %w", err)
	}
	for i := range read {
		if m := &read[i]; m.Poison == nil && unknown[m.OrderID] {
			m.Poison = message.UnknownOrder(m.OrderID)
		}
	}
	return nil
}

func collect(rows pgx.Rows) (Fetched, error) {
	type due struct {
		Received
		at time.Time
	}
	var read []due
	for rows.Next() {
		var d due
		var late float64
		var body, headers []byte
		if err := rows.Scan(&d.ID, &d.ReadCount, &d.Until, &body, &headers, &d.at, &late); err != nil {
			return Fetched{}, err
		}
		d.Body, d.Headers = body, headers
		d.Late = seconds(late)
		d.Poison = d.Decode()
		read = append(read, d)
	}
	slices.SortFunc(read, func(a, b due) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return cmp.Compare(a.ID, b.ID)
	})
	f := Fetched{Messages: make([]Received, len(read))}
	for i, d := range read {
		f.Messages[i], f.Last = d.Received, d.at
	}
	return f, rows.Err()
}

// rollback ends the transaction of a read that failed, where the connection has survived it.
func rollback(ctx context.Context, conn *pgx.Conn) {
	if !conn.IsClosed() && conn.PgConn().TxStatus() != 'I' {
		_, _ = conn.Exec(ctx, "rollback") // a connection that cannot even do this is given up by its link
	}
}

// Peek returns how long it is until the earliest message from floor on is due; negative when it is overdue already.
// There is none when found is false. Invisible messages count as well: they are due when their lease or delay ends.
func (q *Queue) Peek(ctx context.Context, conn *pgx.Conn, floor time.Time) (due time.Duration, found bool, err error) {
	rows, err := conn.Query(ctx, q.peek, bound(floor))
	if err != nil {
		return 0, false, fmt.Errorf("peek: %w", err)
	}
	ahead, err := pgx.CollectRows(rows, pgx.RowTo[float64])
	if err != nil {
		return 0, false, fmt.Errorf("peek: %w", err)
	}
	if len(ahead) == 0 {
		return 0, false, nil
	}
	return seconds(ahead[0]), true, nil
}

func bound(floor time.Time) pgtype.Timestamptz {
	if floor.IsZero() {
		return pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
	}
	return pgtype.Timestamptz{Time: floor, Valid: true}
}

// seconds converts what the SQL has bounded already.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
