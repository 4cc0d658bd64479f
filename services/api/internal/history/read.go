package history

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/isotime"
	"orderflow.example/services/api/internal/orders"
	"orderflow.example/services/api/internal/queue"
)

// Reader reads stories.
type Reader struct {
	db    *pgxpool.Pool
	queue *queue.Queue
}

// NewReader makes a reader that reads through db, of orders whose messages are in q.
func NewReader(db *pgxpool.Pool, q *queue.Queue) *Reader { return &Reader{db, q} }

// textLimit is how many characters of a text are shown.
const textLimit = 500

// Get returns the story of the order with the id, or [orders.ErrNotFound].
func (r *Reader) Get(ctx context.Context, id int64) (h History, err error) {
	err = database.Legibly(func(as database.ShownAs) error {
		h, err = r.get(ctx, id, as)
		return err
	})
	if err != nil && !errors.Is(err, orders.ErrNotFound) {
		err = fmt.Errorf("read history: %w", err)
	}
	return h, err
}

func (r *Reader) get(ctx context.Context, id int64, as database.ShownAs) (h History, err error) {
	// One snapshot: what an order says of itself, and what its history does, belong together.
	err = pgx.BeginTxFunc(ctx, r.db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		o, rows, err := read(ctx, tx, id, as)
		if err != nil {
			return err
		}
		h = History{OrderID: o.id, Status: o.status, Attempts: o.attempts, TraceID: o.traceID, Events: events(o, rows)}
		for _, r := range rows {
			if h.TraceID == nil {
				h.TraceID = r.traceID
			}
		}
		if o.status == orders.StatusPending && o.messageID != 0 {
			standing, err := r.queue.Find(ctx, tx, o.messageID, o.id)
			if err != nil {
				return err
			}
			h.Message = &standing
		}
		return nil
	})
	return h, err
}

// read asks for the order and for its rows, by their primary keys, in one round trip.
func read(ctx context.Context, tx pgx.Tx, id int64, as database.ShownAs) (o order, rows []row, err error) {
	text := func(column string) string { return as("left(" + column + ", " + strconv.Itoa(textLimit) + ")") }
	var b pgx.Batch
	b.Queue(`
		select o.id, coalesce(o.message_id, 0), coalesce(`+text("o.status")+`, ''), coalesce(o.attempts, 0), `+orders.CreatedAt+`,
			`+isotime.Bounded("o.started_at")+`, `+isotime.Bounded("o.completed_at")+`, `+isotime.Bounded("o.dead_at")+`,
			`+text("o.last_error")+`, `+text("o.processed_by")+`, replace(o.trace_id::text, '-', '')
		from public.orders o
		where o.id = $1`, id).QueryRow(func(found pgx.Row) error {
		return found.Scan(&o.id, &o.messageID, &o.status, &o.attempts, &o.created, &o.started, &o.completed, &o.dead,
			&o.lastError, &o.processedBy, &o.traceID)
	})
	b.Queue(`
		select h.seq, h.times, h.read_ct, h.msg_id, `+isotime.Bounded("h.enqueued_at")+`, `+text("h.outcome")+`, h.attempt,
			`+isotime.Bounded("h.due_at")+`, `+isotime.Bounded("h.leased_at")+`, `+isotime.Bounded("h.started_at")+`, `+isotime.Bounded("h.retry_at")+`,
			`+isotime.Bounded("h.ended_at")+`, `+isotime.Bounded("h.settled_at")+`,
			`+text("h.consumer")+`, `+text("h.reason")+`, `+text("h.error")+`, replace(h.trace_id::text, '-', '')
		from public.orders o
		join orderflow.history h on h.order_id = o.id and h.created_at = o.created_at
		where o.id = $1
		order by h.seq`, id).Query(func(found pgx.Rows) error {
		rows, err = pgx.CollectRows(found, func(one pgx.CollectableRow) (r row, err error) {
			err = one.Scan(&r.seq, &r.times, &r.delivery, &r.messageID, &r.enqueued, &r.outcome, &r.attempt,
				&r.due, &r.leased, &r.started, &r.retry, &r.ended, &r.settled, &r.consumer, &r.reason, &r.errorText, &r.traceID)
			return r, err
		})
		return err
	})
	err = tx.SendBatch(ctx, &b).Close()
	if errors.Is(err, pgx.ErrNoRows) {
		err = orders.ErrNotFound
	}
	return o, rows, err
}
