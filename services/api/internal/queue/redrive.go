package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Choice says which dead letters are meant: those with an id, those that a reason and a text choose, or all.
type Choice struct {
	MsgIDs []int64
	Reason string // those that died of it
	Text   string // those that have it; see [LetterFilter]
	All    bool
	UpTo   int64 // none beyond this id; 0: there is no such bound
	Limit  int
}

// Redriven is a dead letter that went back to its queue.
type Redriven struct {
	MsgID    int64  `json:"msg_id" doc:"its id among the dead letters"`
	NewMsgID int64  `json:"new_msg_id" doc:"its id in the queue"`
	OrderID  *int64 `json:"order_id"`
}

// Chosen is a dead letter that is meant.
type Chosen struct {
	MsgID int64
	Bytes int64 // what it takes to move it, at most
}

// Choose returns the dead letters that a choice means, the oldest first.
func (q *Queue) Choose(ctx context.Context, c Choice) ([]Chosen, error) {
	var chosen []Chosen
	// Patiently, because the reason has no index.
	err := q.patiently(ctx, adminTimeout, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			select d.msg_id, coalesce(`+weight("d.message")+`, 0) + coalesce(`+weight("d.headers")+`, 0)
			from `+q.dlq+` d
			where ($1 or d.msg_id = any ($2) or ($3 <> '' or $4 <> '') and ($3 = '' or `+diedOf("d")+` = $3) and ($4 = '' or `+hasText("d", "$4")+`))
			  and ($5 = 0 or d.msg_id <= $5)
			order by d.msg_id
			limit $6`, c.All, c.MsgIDs, c.Reason, c.Text, c.UpTo, c.Limit)
		if err != nil {
			return err
		}
		chosen, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Chosen])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("choose dead letters: %w", err)
	}
	return chosen, nil
}

// What moves in one transaction, at most: so that each of them is done long before its time is up. A letter that is larger moves alone.
const (
	batchLetters = 500
	batchBytes   = 32 << 20
)

// Batches divides dead letters, in their order, into the ids of those that are to move together.
func Batches(letters []Chosen) (batches [][]int64) {
	var bytes int64
	for i, l := range letters {
		last := len(batches) - 1
		if i == 0 || len(batches[last]) == batchLetters || bytes+l.Bytes > batchBytes {
			batches, bytes, last = append(batches, nil), 0, last+1
		}
		batches[last] = append(batches[last], l.MsgID)
		bytes += l.Bytes
	}
	return batches
}

// Redrive puts dead letters back into their queue, each with its order, in one transaction. Those that are not there any more,
// or whose order is not dead, are left out of what it returns.
func (q *Queue) Redrive(ctx context.Context, ids []int64, by Operator) ([]Redriven, error) {
	var moved []Redriven
	err := q.patiently(ctx, adminTimeout, func(tx pgx.Tx) error {
		if err := by.Sign(ctx, tx); err != nil {
			return err
		}
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
func (q *Queue) RedriveOne(ctx context.Context, id int64, by Operator) (Redriven, error) {
	redriven, err := q.Redrive(ctx, []int64{id}, by)
	switch {
	case err != nil:
		return Redriven{}, err
	case len(redriven) == 1:
		return redriven[0], nil
	}
	there, err := q.Choose(ctx, Choice{MsgIDs: []int64{id}, Limit: 1})
	switch {
	case err != nil:
		return Redriven{}, err
	case len(there) == 0:
		return Redriven{}, ErrNotFound
	}
	return Redriven{}, ErrNotRedrive
}

// redriveTime is how long batches are begun. The last one has its own time; together they are within that of the answer.
const redriveTime = 25 * time.Second

// Progress is what has been done of a redrive.
type Progress struct {
	Moved      []Redriven
	Tried      int    // letters
	Incomplete string // why the rest is left; empty when it is not, or for an error
}

// RedriveAll moves one batch after the other, each in its own transaction, as long as nothing is against it. What has been done is
// told, also when the rest cannot be; the first batch is tried in any case.
func RedriveAll(batches [][]int64, draining func() bool, move func([]int64) ([]Redriven, error)) (done Progress, err error) {
	end := time.Now().Add(redriveTime)
	for i, batch := range batches {
		switch {
		case i == 0:
		case draining():
			done.Incomplete = "shutting down"
			return done, nil
		case time.Now().After(end):
			done.Incomplete = "it takes longer than one call may"
			return done, nil
		}
		moved, err := move(batch)
		if err != nil {
			return done, err
		}
		done.Moved = append(done.Moved, moved...)
		done.Tried += len(batch)
	}
	return done, nil
}

// Operator is who changes something by hand, as an order's history tells it.
type Operator struct {
	By   string // by which way, and with what right: nobody is known by name
	Note string // why, in his words; may be empty
}

// Sign makes the schema's functions note who it is, until the transaction ends.
func (o Operator) Sign(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `select set_config('orderflow.operator', $1, true), set_config('orderflow.operator_note', $2, true)`, o.By, o.Note)
	return err
}
