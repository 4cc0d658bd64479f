// Package queue looks at the queue and at its dead letters, and asks the database to put dead letters back or away, and to stop
// the queue's consumers.
//
// It must never read a message in PGMQ's sense: nothing here hides a message, counts a delivery or deletes from the queue.
package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/isotime"
)

// Queue is a queue and its dead letters.
type Queue struct {
	name  string
	table string // quoted
	dlq   string // quoted
	db    *pgxpool.Pool
}

// New makes a queue that is looked at through db.
func New(db *pgxpool.Pool, name string) *Queue {
	table, dlq := Tables(name)
	return &Queue{name: name, table: table, dlq: dlq, db: db}
}

// Tables are the quoted names of a queue's table, and of its dead letters'.
func Tables(name string) (messages, deadLetters string) {
	table := "q_" + strings.ToLower(name)
	return pgx.Identifier{"pgmq", table}.Sanitize(), pgx.Identifier{"pgmq", table + "_dlq"}.Sanitize()
}

// Table is the quoted name of the queue's table.
func (q *Queue) Table() string { return q.table }

// Name is the queue's name, as it was given.
func (q *Queue) Name() string { return q.name }

// Message is a message as it lies in the queue.
type Message struct {
	MsgID      int64           `json:"msg_id"`
	ReadCt     int32           `json:"read_ct" doc:"how often it was read, by whomever"`
	EnqueuedAt isotime.Time    `json:"enqueued_at"`
	VT         isotime.Time    `json:"vt" doc:"it is invisible until then"`
	Message    json.RawMessage `json:"message" doc:"null when it is larger than 16 KiB, or all that is shown is more than 1 MiB: see truncated"`
	Headers    json.RawMessage `json:"headers" doc:"likewise"`
	Truncated  *Truncated      `json:"truncated,omitempty" doc:"what is not shown; missing when all of it is"`
}

// Peek returns the oldest messages without hiding them from consumers, with as much of each as is sensible.
func (q *Queue) Peek(ctx context.Context, limit int) (messages []Message, err error) {
	err = database.Legibly(func(as database.ShownAs) (err error) {
		messages, err = q.peek(ctx, limit, as)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("peek: %w", err)
	}
	return messages, nil
}

func (q *Queue) peek(ctx context.Context, limit int, as database.ShownAs) ([]Message, error) {
	page := `select m.msg_id, m.read_ct, m.enqueued_at, m.vt, m.message, m.headers from ` + q.table + ` m order by m.msg_id limit $1`
	rows, err := q.db.Query(ctx, `with `+excerpts(page, "msg_id", "")+`
		select shown.msg_id, shown.read_ct, `+isotime.Bounded("shown.enqueued_at")+`, `+isotime.Bounded("shown.vt")+`, `+values(as)+`
		from shown
		order by shown.msg_id`, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Message, error) {
		var (
			m             Message
			body, headers value
		)
		err := row.Scan(&m.MsgID, &m.ReadCt, &m.EnqueuedAt.Time, &m.VT.Time, &body.begin, &body.stored, &headers.begin, &headers.stored)
		m.Message, m.Headers, m.Truncated = shown(body, headers)
		return m, err
	})
}

// Standing is where a message stands in the queue.
type Standing struct {
	MsgID int64         `json:"msg_id"`
	State string        `json:"state" enum:"waiting,delayed,in_flight,elsewhere,missing" doc:"delayed: until its next attempt, or as it was sent; in_flight: with a consumer; elsewhere: in another queue of the database; missing: it is in none"`
	DueAt *isotime.Time `json:"due_at" doc:"from when on a consumer can read it; null when it is not in the queue"`
}

// querier is a pool or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Find looks where the message of an order stands. One that another order has by now, since ids have come again, is missing.
func (q *Queue) Find(ctx context.Context, db querier, msgID, orderID int64) (Standing, error) {
	s := Standing{MsgID: msgID, State: "missing"}
	var due time.Time
	err := db.QueryRow(ctx, `
		select case when m.vt <= clock_timestamp() then 'waiting'
		            when m.read_ct = 0 or `+headerIfSmall("orderflow-retry")+` = m.read_ct::text or `+headerIfSmall("orderflow-released")+` = m.read_ct::text then 'delayed'
		            else 'in_flight' end,
		       `+isotime.Bounded("m.vt")+`
		from `+q.table+` m
		where m.msg_id = any (array[$1::bigint])
		  and case when `+weight("m.message")+` <= `+strconv.Itoa(weightLimit)+` then coalesce(orderflow.order_id(m.message) = $2, false) else true end`,
		msgID, orderID).Scan(&s.State, &due)
	switch {
	case err == nil:
		s.DueAt = &isotime.Time{Time: due}
	case !errors.Is(err, pgx.ErrNoRows):
		return Standing{}, fmt.Errorf("find message: %w", err)
	default:
		// Where several queues share the orders, it may be another one's; which one, the api's role need not see.
		err := db.QueryRow(ctx, `select case when cardinality(orderflow.without_message_by_id($1, array[$2::bigint])) = 0 then 'elsewhere' else 'missing' end`,
			q.name, orderID).Scan(&s.State)
		if err != nil {
			return Standing{}, fmt.Errorf("find message: %w", err)
		}
	}
	return s, nil
}

// headerIfSmall is the SQL of a header as text, of headers that are not too large to be looked into.
func headerIfSmall(name string) string {
	return "case when " + weight("m.headers") + " <= " + strconv.Itoa(headersLimit) + " then m.headers ->> '" + name + "' end"
}

// patience sets how long each of a transaction's statements may take, in milliseconds.
const patience = `select set_config('statement_timeout', $1, true)`

// patiently runs a transaction whose statements may take longer than those of requests.
func (q *Queue) patiently(ctx context.Context, timeout time.Duration, use func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, q.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, patience, strconv.FormatInt(timeout.Milliseconds(), 10)); err != nil {
			return err
		}
		return use(tx)
	})
}
