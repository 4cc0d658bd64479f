package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// trouble is what the database answers when it is there and refuses a statement all the same: a right that is missing, a
// table that has been dropped, a full disk, a standby. It is logged when it begins, when it changes and when it ends; lost
// connections are logged by their server.
type trouble struct {
	doing string
	log   *slog.Logger

	mu   sync.Mutex
	code string // SQLSTATE; empty: no trouble
	text string
}

// note takes the result of a statement.
func (t *trouble) note(err error) {
	var answer *pgconn.PgError
	code, text := "", ""
	if errors.As(err, &answer) {
		code, text = answer.Code, answer.Error()
	} else if err != nil {
		t.log.Debug(t.doing+" failed, trying again", "error", err.Error())
		return // no answer is no news about what the database would say
	}
	t.turn(code, text)
}

// turn notes what the trouble is now; an empty code is none.
func (t *trouble) turn(code, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch code {
	case t.code:
	case "":
		t.log.Info(t.doing + " works again")
	default:
		t.log.Warn(t.doing+" is refused, trying again until it works", "error", text)
	}
	t.code, t.text = code, text
}

// now returns what the trouble is; empty when there is none.
func (t *trouble) now() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text
}

// suppressedRead is the trouble when messages are due that a trigger keeps from being leased.
func (t *trouble) suppressedRead(ids []int64) {
	t.turn("suppressed", fmt.Sprintf("%d messages are due and cannot be leased, msg_id %d for one: a row-level trigger on the queue's table suppresses "+
		"the update (`consumer doctor` names those that can)", len(ids), ids[0]))
}

// unwritten counts results whose write the database has suppressed, until each is written after all.
type unwritten struct {
	mu    sync.Mutex
	count int
	why   string
}

func (u *unwritten) begin(why error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.count++
	u.why = why.Error()
}

func (u *unwritten) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.count--
}

// now returns how many there are and why, or an empty text.
func (u *unwritten) now() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.count == 0 {
		return ""
	}
	return fmt.Sprintf("%d results cannot be written, a trigger suppresses it: %s", u.count, u.why)
}
