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

// redriveChunk is how many dead letters move in one transaction.
const redriveChunk = 500

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

// DeadLetters lists dead letters, newest first. reason chooses those that died of it, empty all. The error is
// cursor.ErrForged for a cursor that is not one of this list.
func (q *Queue) DeadLetters(ctx context.Context, reason string, limit int, after string) (DeadLetterPage, error) {
	before := int64(1<<63 - 1)
	if after != "" {
		position, err := cursor.Read(after, "dead_letters", reason)
		if err == nil {
			before, err = strconv.ParseInt(position, 10, 64)
		}
		if err != nil {
			return DeadLetterPage{}, cursor.ErrForged
		}
	}
	rows, err := q.db.Query(ctx, `
		select d.msg_id, d.message::text, d.headers::text
		from `+q.dlq+` d
		where d.msg_id < $1 and ($2 = '' or d.headers #>> '{orderflow-dead,reason}' = $2)
		order by d.msg_id desc
		limit $3`, before, reason, limit+1)
	if err != nil {
		return DeadLetterPage{}, fmt.Errorf("list dead letters: %w", err)
	}
	letters, err := pgx.CollectRows(rows, scanDeadLetter)
	if err != nil {
		return DeadLetterPage{}, fmt.Errorf("list dead letters: %w", err)
	}
	page := DeadLetterPage{DeadLetters: letters}
	if len(letters) > limit {
		page.DeadLetters = letters[:limit]
		page.Next = cursor.Make(strconv.FormatInt(letters[limit-1].MsgID, 10), "dead_letters", reason)
	}
	return page, nil
}

func scanDeadLetter(row pgx.CollectableRow) (DeadLetter, error) {
	var (
		d             DeadLetter
		body, headers *string
	)
	if err := row.Scan(&d.MsgID, &body, &headers); err != nil {
		return d, err
	}
	d.Message, d.Headers = rawJSON(body), rawJSON(headers)
	// Both were written by others: what is not as it should be is left out.
	d.OrderID = integer(object(d.Message)["order_id"])
	dead := object(object(d.Headers)["orderflow-dead"])
	d.Reason, d.Error, d.DeadAt = text(dead["reason"]), text(dead["error"]), text(dead["dead_at"])
	d.Attempts, d.OriginMsgID = integer(dead["attempts"]), integer(dead["msg_id"])
	return d, nil
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
	rows, err := q.db.Query(ctx, `
		select d.msg_id
		from `+q.dlq+` d
		where ($1 or d.msg_id = any ($2) or $3 <> '' and d.headers #>> '{orderflow-dead,reason}' = $3)
		order by d.msg_id
		limit $4`, c.All, c.MsgIDs, c.Reason, c.Limit)
	if err != nil {
		return nil, fmt.Errorf("choose dead letters: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("choose dead letters: %w", err)
	}
	return ids, nil
}

// Redrive puts dead letters back into their queue, each with its order and in chunks of one transaction. Those that are not
// there any more, or whose order is not dead, are left out of what it returns. With an error comes what was done before it.
func (q *Queue) Redrive(ctx context.Context, ids []int64) ([]Redriven, error) {
	redriven := []Redriven{}
	for len(ids) > 0 {
		chunk := ids[:min(redriveChunk, len(ids))]
		ids = ids[len(chunk):]
		var moved []Redriven
		err := q.patiently(ctx, adminTimeout, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `select r.dead_msg_id, r.new_msg_id, r.order_id from orderflow.redrive($1, $2) r`, q.name, chunk)
			if err != nil {
				return err
			}
			moved, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Redriven])
			return err
		})
		if err != nil {
			return redriven, fmt.Errorf("redrive: %w", err)
		}
		redriven = append(redriven, moved...)
	}
	return redriven, nil
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
