package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/api/internal/cursor"
	"orderflow.example/services/api/internal/database"
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
	Error       *string         `json:"error" doc:"its first 1,000 characters"`
	Attempts    *int64          `json:"attempts"`
	DeadAt      *string         `json:"dead_at"`
	OriginMsgID *int64          `json:"origin_msg_id" doc:"its id in the queue it came from"`
	Message     json.RawMessage `json:"message" doc:"null when it is larger than 16 KiB, or all that is shown is more than 1 MiB: see truncated"`
	Headers     json.RawMessage `json:"headers" doc:"likewise"`
	Truncated   *Truncated      `json:"truncated,omitempty" doc:"what is not shown; missing when all of it is"`
}

// DeadLetterPage is a part of the list; Next is empty at its end.
type DeadLetterPage struct {
	DeadLetters []DeadLetter
	Next        string
}

// LetterFilter chooses dead letters. The zero value is all of them.
type LetterFilter struct {
	Reason string // those that died of it
	Text   string // those whose error or message has it, in whatever case; a number also: those whose msg_id it is, or whose order's id
	Order  int64  // those of this order; 0: of any
}

func (f LetterFilter) scope() []string {
	if f.Text == "" && f.Order == 0 {
		return []string{"dead_letters", f.Reason}
	}
	return []string{"dead_letters", f.Reason, f.Text, strconv.FormatInt(f.Order, 10)}
}

// DeadLetters lists dead letters, newest first. A page can hold fewer than limit, or none, and still have a next one. The error is
// cursor.ErrInvalid for a cursor that is not one of this list.
func (q *Queue) DeadLetters(ctx context.Context, filter LetterFilter, limit int, after string) (DeadLetterPage, error) {
	if after != "" {
		position, err := cursor.Read(after, filter.scope()...)
		if err == nil {
			_, err = strconv.ParseInt(position, 10, 64)
		}
		if err != nil {
			return DeadLetterPage{}, cursor.ErrInvalid
		}
		after = position
	}
	look := func(after string, most int) (found []DeadLetter, last string, err error) {
		err = database.Legibly(func(as database.ShownAs) (err error) {
			found, last, err = q.window(ctx, after, filter, most, as)
			return err
		})
		return found, last, err
	}
	found, next, err := cursor.Fill(limit, after, look, func(l *DeadLetter) string { return strconv.FormatInt(l.MsgID, 10) })
	if err != nil {
		return DeadLetterPage{}, fmt.Errorf("list dead letters: %w", err)
	}
	if next != "" {
		next = cursor.Make(next, filter.scope()...)
	}
	return DeadLetterPage{append([]DeadLetter{}, found...), next}, nil
}

// The reason has no index. Letters that died of a rare one are looked for in steps of so many; see [cursor.Fill].
const scanWindow = 5_000

// window looks for up to limit letters among the next ones after a position, and returns the position of the last one that it looked at; empty
// when it came to the end of the list. A position is the id of a letter; the ids after it are smaller.
func (q *Queue) window(ctx context.Context, after string, filter LetterFilter, limit int, as database.ShownAs) (found []DeadLetter, last string, err error) {
	upTo := int64(math.MaxInt64)
	if id, err := strconv.ParseInt(after, 10, 64); err == nil {
		if id == math.MinInt64 {
			return nil, "", nil
		}
		upTo = id - 1
	}
	size := scanWindow
	if filter == (LetterFilter{}) {
		size = limit
	}
	// One statement, and so one snapshot: what is redriven meanwhile must not move the window's end.
	rows, err := q.db.Query(ctx, `
		with w as materialized (
			select (select l.msg_id from `+q.dlq+` l where l.msg_id <= $1 order by l.msg_id desc offset $3::int - 1 limit 1) as last
		),`+excerpts(`
			select d.*
			from (select l.* from `+q.dlq+` l where l.msg_id <= $1 order by l.msg_id desc limit $3) d
			where ($2 = '' or `+diedOf("d")+` = $2) and ($5 = '' or `+hasText("d", "$5")+`) and ($6 = 0 or `+orderOf("d")+` = $6)
			order by d.msg_id desc
			limit $4`, "msg_id desc", letterFields)+`
		select coalesce(w.last::text, ''), shown.msg_id, `+as("shown.order_id")+`, `+as("shown.reason")+`, `+as("shown.error")+`,
			`+as("shown.attempts")+`, `+as("shown.dead_at")+`, `+as("shown.origin")+`, `+values(as)+`
		from w
		left join shown on true
		order by shown.msg_id desc`, upTo, filter.Reason, size, limit, filter.Text, filter.Order)
	if err != nil {
		return nil, "", err
	}
	var (
		id                                          *int64
		order, cause, problem, attempts, at, origin *string
		body, headers                               value
	)
	into := []any{&last, &id, &order, &cause, &problem, &attempts, &at, &origin, &body.begin, &body.stored, &headers.begin, &headers.stored}
	_, err = pgx.ForEachRow(rows, into, func() error {
		if id == nil {
			return nil
		}
		letter := DeadLetter{
			MsgID: *id, OrderID: integer(order), Reason: cause, Error: problem, Attempts: integer(attempts), DeadAt: at, OriginMsgID: integer(origin),
		}
		letter.Message, letter.Headers, letter.Truncated = shown(body, headers)
		found = append(found, letter)
		return nil
	})
	return found, last, err
}

// letterFields are what consumers note about a message that they give up. Headers are anybody's to write: what is not as it should be
// is null.
var letterFields = `
	left((small.message -> 'order_id')::text, 20) as order_id,
	` + textOf("small.headers", "reason", 200) + ` as reason,
	` + textOf("small.headers", "error", 1000) + ` as error,
	left((small.headers #> '{orderflow-dead,attempts}')::text, 20) as attempts,
	` + textOf("small.headers", "dead_at", 100) + ` as dead_at,
	left((small.headers #> '{orderflow-dead,msg_id}')::text, 20) as origin,`

// textOf is the SQL of a member of orderflow-dead, when that is a string: its beginning.
func textOf(headers, name string, most int) string {
	path := `'{orderflow-dead,` + name + `}'`
	return `case jsonb_typeof(` + headers + ` #> ` + path + `) when 'string' then left(` + headers + ` #>> ` + path + `, ` + strconv.Itoa(most) + `) end`
}

// diedOf is the SQL of the reason of a dead letter. Headers that are too large to be looked into have none.
func diedOf(letter string) string {
	return `case when ` + weight(letter+".headers") + ` <= ` + strconv.Itoa(headersLimit) + ` then ` + letter + `.headers #>> '{orderflow-dead,reason}' end`
}

// orderOf is the SQL of the order's id that a dead letter names. A message that is too large to be looked into names none.
func orderOf(letter string) string {
	return `case when ` + weight(letter+".message") + ` <= ` + strconv.Itoa(searchLimit) + ` then orderflow.order_id(` + letter + `.message) end`
}

// searchLimit is up to which weight a value is searched, of which there may be thousands.
const searchLimit = 64 << 10

// hasText is the SQL of whether a dead letter has a text, as [LetterFilter] says; text is a parameter. What is too large is not looked into.
func hasText(letter, text string) string {
	has := func(value, of string) string {
		return `case when ` + weight(of) + ` <= ` + strconv.Itoa(searchLimit) + ` then position(lower(` + text + `) in lower(coalesce(` + value + `, ''))) > 0 else false end`
	}
	return `(case when ` + text + ` ~ '^[0-9]+$' then ` + letter + `.msg_id::text = ` + text + ` or coalesce(` + orderOf(letter) + `::text = ` + text + `, false) else false end
		or ` + has(letter+`.headers #>> '{orderflow-dead,error}'`, letter+".headers") + `
		or (` + text + ` !~ '^[0-9]+$' and ` + has(letter+`.message::text`, letter+".message") + `))`
}

// Reasons are what the newest dead letters died of.
type Reasons struct {
	Reasons []ReasonCount // the most frequent first
	Counted int
	Many    bool // there are more letters than were counted
}

// ReasonCount is how many letters died of a reason; empty: none is noted.
type ReasonCount struct {
	Reason  string
	Letters int
}

// How many letters are looked at for their reasons, and how many reasons are told.
const (
	reasonsOf   = 5000
	reasonsMost = 30
)

// Reasons counts the newest dead letters by their reasons.
func (q *Queue) Reasons(ctx context.Context) (found Reasons, err error) {
	err = database.Legibly(func(as database.ShownAs) (err error) {
		found, err = q.reasons(ctx, as)
		return err
	})
	if err != nil {
		return Reasons{}, fmt.Errorf("count reasons: %w", err)
	}
	return found, nil
}

func (q *Queue) reasons(ctx context.Context, as database.ShownAs) (Reasons, error) {
	rows, err := q.db.Query(ctx, `
		select `+as("left(coalesce(d.reason, ''), 200)")+`, count(*), (sum(count(*)) over ())::int
		from (
			select case when `+weight("l.headers")+` <= `+strconv.Itoa(searchLimit)+` then l.headers #>> '{orderflow-dead,reason}' end as reason
			from `+q.dlq+` l
			order by l.msg_id desc
			limit $1
		) d
		group by 1
		order by 2 desc, 1
		limit $2`, reasonsOf+1, reasonsMost)
	if err != nil {
		return Reasons{}, err
	}
	var found Reasons
	var one ReasonCount
	if _, err := pgx.ForEachRow(rows, []any{&one.Reason, &one.Letters, &found.Counted}, func() error {
		found.Reasons = append(found.Reasons, one)
		return nil
	}); err != nil {
		return Reasons{}, err
	}
	found.Many = found.Counted > reasonsOf
	return found, nil
}

// integer is nil for what is no integer.
func integer(text *string) *int64 {
	if text == nil {
		return nil
	}
	n, err := strconv.ParseInt(*text, 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

// Delete removes a dead letter for good; its order stays dead. ErrNotFound when it is not there.
func (q *Queue) Delete(ctx context.Context, id int64, by Operator) error {
	var deleted []int64
	err := pgx.BeginFunc(ctx, q.db, func(tx pgx.Tx) error {
		if err := by.Sign(ctx, tx); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `select d from orderflow.delete_dead_letters($1, $2) d`, q.name, []int64{id})
		if err != nil {
			return err
		}
		deleted, err = pgx.CollectRows(rows, pgx.RowTo[int64])
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("delete dead letter: %w", err)
	case len(deleted) == 0:
		return ErrNotFound
	}
	return nil
}
