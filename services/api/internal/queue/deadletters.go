package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/api/internal/cursor"
)

// What can be wrong with a dead letter that was asked for.
var (
	ErrNotFound   = errors.New("dead letter not found")
	ErrNotRedrive = errors.New("the dead letter's order is not dead")
)

// adminTimeout bounds the statements that move or delete dead letters.
const adminTimeout = 30 * time.Second

// DeadLetter is a message that was given up.
type DeadLetter struct {
	MsgID       int64           `json:"msg_id"`
	OrderID     *int64          `json:"order_id" doc:"null when the message names none"`
	Reason      *string         `json:"reason"`
	Error       *string         `json:"error"`
	Attempts    *int64          `json:"attempts"`
	DeadAt      *string         `json:"dead_at"`
	OriginMsgID *int64          `json:"origin_msg_id" doc:"its id in the queue it came from"`
	Message     json.RawMessage `json:"message"`
	Headers     json.RawMessage `json:"headers"`
}

// DeadLetterPage is a part of the list; Next is empty at its end.
type DeadLetterPage struct {
	DeadLetters []DeadLetter
	Next        string
}

// DeadLetters lists dead letters, newest first. reason chooses those that died of it, empty all. A page can hold fewer than
// limit, or none, and still have a next one. The error is cursor.ErrInvalid for a cursor that is not one of this list.
func (q *Queue) DeadLetters(ctx context.Context, reason string, limit int, after string) (DeadLetterPage, error) {
	before := int64(1<<63 - 1)
	if after != "" {
		position, err := cursor.Read(after, "dead_letters", reason)
		if err == nil {
			before, err = strconv.ParseInt(position, 10, 64)
		}
		if err != nil {
			return DeadLetterPage{}, cursor.ErrInvalid
		}
	}
	page := DeadLetterPage{DeadLetters: []DeadLetter{}}
	for started := time.Now(); ; {
		found, last, err := q.window(ctx, before, reason, limit+1-len(page.DeadLetters))
		if err != nil {
			return DeadLetterPage{}, fmt.Errorf("list dead letters: %w", err)
		}
		page.DeadLetters = append(page.DeadLetters, found...)
		switch {
		case len(page.DeadLetters) > limit:
			page.DeadLetters = page.DeadLetters[:limit]
			before = page.DeadLetters[limit-1].MsgID
		case last != nil:
			before = *last
		default:
			return page, nil
		}
		if len(page.DeadLetters) == limit || time.Since(started) > scanTime {
			page.Next = cursor.Make(strconv.FormatInt(before, 10), "dead_letters", reason)
			return page, nil
		}
	}
}

// The reason has no index. Letters that died of a rare one are looked for in steps of so many, and a page ends when searching
// has taken long enough.
const (
	scanWindow = 20_000
	scanTime   = 300 * time.Millisecond
)

// window looks for up to limit letters among the next ones before an id, and returns the last id that it looked at; nil when
// it came to the end of the list.
func (q *Queue) window(ctx context.Context, before int64, reason string, limit int) (found []DeadLetter, last *int64, err error) {
	size := scanWindow
	if reason == "" {
		size = limit
	}
	// One statement, and so one snapshot: what is redriven meanwhile must not move the window's end.
	rows, err := q.db.Query(ctx, `
		select w.last, d.msg_id, d.message::text, d.headers::text
		from (
			select (select l.msg_id from `+q.dlq+` l where l.msg_id < $1 order by l.msg_id desc offset $3::int - 1 limit 1) as last
		) w
		left join lateral (
			select d.*
			from (select l.* from `+q.dlq+` l where l.msg_id < $1 order by l.msg_id desc limit $3) d
			where $2 = '' or d.headers #>> '{orderflow-dead,reason}' = $2
			order by d.msg_id desc
			limit $4
		) d on true
		order by d.msg_id desc`, before, reason, size, limit)
	if err != nil {
		return nil, nil, err
	}
	var (
		id            *int64
		body, headers *string
	)
	_, err = pgx.ForEachRow(rows, []any{&last, &id, &body, &headers}, func() error {
		if id != nil {
			found = append(found, newDeadLetter(*id, body, headers))
		}
		return nil
	})
	return found, last, err
}

func newDeadLetter(id int64, body, headers *string) DeadLetter {
	d := DeadLetter{MsgID: id}
	d.Message, d.Headers = rawJSON(body), rawJSON(headers)
	// Both were written by others: what is not as it should be is left out.
	d.OrderID = integer(object(d.Message)["order_id"])
	dead := object(object(d.Headers)["orderflow-dead"])
	d.Reason, d.Error, d.DeadAt = text(dead["reason"]), text(dead["error"]), text(dead["dead_at"])
	d.Attempts, d.OriginMsgID = integer(dead["attempts"]), integer(dead["msg_id"])
	return d
}

func object(raw json.RawMessage) map[string]json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return nil
	}
	return members
}

func integer(raw json.RawMessage) *int64 {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

func text(raw json.RawMessage) *string {
	var s *string
	if json.Unmarshal(raw, &s) != nil {
		return nil
	}
	return s
}

// Choice says which dead letters are meant: those with an id, those with a reason, or all.
type Choice struct {
	MsgIDs []int64
	Reason string
	All    bool
	Limit  int
}

// Redriven is a dead letter that went back to its queue.
type Redriven struct {
	MsgID    int64  `json:"msg_id" doc:"its id among the dead letters"`
	NewMsgID int64  `json:"new_msg_id" doc:"its id in the queue"`
	OrderID  *int64 `json:"order_id"`
}

// Choose returns the ids of the dead letters that a choice means, the oldest first.
func (q *Queue) Choose(ctx context.Context, c Choice) ([]int64, error) {
	ids := []int64{}
	// Patiently, because the reason has no index.
	err := q.patiently(ctx, adminTimeout, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			select d.msg_id
			from `+q.dlq+` d
			where ($1 or d.msg_id = any ($2) or $3 <> '' and d.headers #>> '{orderflow-dead,reason}' = $3)
			order by d.msg_id
			limit $4`, c.All, c.MsgIDs, c.Reason, c.Limit)
		if err != nil {
			return err
		}
		ids, err = pgx.AppendRows(ids, rows, pgx.RowTo[int64])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("choose dead letters: %w", err)
	}
	return ids, nil
}

// RedriveChunk is how many dead letters should move in one transaction.
const RedriveChunk = 500

// Redrive puts dead letters back into their queue, each with its order, in one transaction. Those that are not there any more,
// or whose order is not dead, are left out of what it returns.
func (q *Queue) Redrive(ctx context.Context, ids []int64) ([]Redriven, error) {
	var moved []Redriven
	err := q.patiently(ctx, adminTimeout, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select r.dead_msg_id, r.new_msg_id, r.order_id from orderflow.redrive($1, $2) r`, q.name, ids)
		if err != nil {
			return err
		}
		moved, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Redriven])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("redrive: %w", err)
	}
	return moved, nil
}

// RedriveOne puts one dead letter back: ErrNotFound or ErrNotRedrive when that cannot be.
func (q *Queue) RedriveOne(ctx context.Context, id int64) (Redriven, error) {
	redriven, err := q.Redrive(ctx, []int64{id})
	switch {
	case err != nil:
		return Redriven{}, err
	case len(redriven) == 1:
		return redriven[0], nil
	}
	ids, err := q.Choose(ctx, Choice{MsgIDs: []int64{id}, Limit: 1})
	switch {
	case err != nil:
		return Redriven{}, err
	case len(ids) == 0:
		return Redriven{}, ErrNotFound
	}
	return Redriven{}, ErrNotRedrive
}

// Delete removes a dead letter for good; its order stays dead. ErrNotFound when it is not there.
func (q *Queue) Delete(ctx context.Context, id int64) error {
	rows, err := q.db.Query(ctx, `select d from orderflow.delete_dead_letters($1, $2) d`, q.name, []int64{id})
	if err != nil {
		return fmt.Errorf("delete dead letter: %w", err)
	}
	deleted, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	switch {
	case err != nil:
		return fmt.Errorf("delete dead letter: %w", err)
	case len(deleted) == 0:
		return ErrNotFound
	}
	return nil
}
