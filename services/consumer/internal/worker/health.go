package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/services/consumer/internal/effect"
)

// health is whether the database does what one kind of statement asks for. It may be there and refuse all the same: a right that is
// missing, a table that has been dropped, a full disk, a standby. A refusal is logged when it begins, when it changes and when it
// ends; lost connections are logged by their server.
type health struct {
	what string // the statements, in the plural
	log  *slog.Logger

	mu   sync.Mutex
	code string // SQLSTATE; empty: all is well
	text string
}

// note takes the result of a statement.
func (h *health) note(err error) {
	var answer *pgconn.PgError
	var unfit *effect.UnfitError
	code, text := "", ""
	switch {
	case errors.As(err, &unfit):
		code, text = "unfit", unfit.Why
	case errors.As(err, &answer):
		code, text = answer.Code, answer.Error()
	case err != nil:
		h.log.Debug(h.what+" failed; retrying", "error", err.Error())
		return // no answer is no news about what the database would say
	}
	h.turn(code, text)
}

// turn notes why it is refused now; an empty code says that it is not.
func (h *health) turn(code, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch code {
	case h.code:
	case "":
		h.log.Info("the database accepts " + h.what + " again")
	default:
		h.log.Warn("the database refuses "+h.what+"; retrying (run consumer doctor)", "error", text)
	}
	h.code, h.text = code, text
}

// now returns why it is refused; empty when all is well.
func (h *health) now() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text
}

// readOnly notes whether a session of the database's can write.
func (h *health) readOnly(no bool) {
	if no {
		h.turn(pgerrcode.ReadOnlySQLTransaction, "the database is read-only: a standby, or set to be (default_transaction_read_only)")
	} else {
		h.turn("", "")
	}
}

// suppressedRead notes that messages are due which a trigger keeps from being leased.
func (h *health) suppressedRead(ids []int64) {
	h.turn("suppressed", fmt.Sprintf("%d due messages cannot be leased (msg_id %d is one): a row-level trigger on the queue's table suppresses "+
		"the update (`consumer doctor` names the triggers that may do that)", len(ids), ids[0]))
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
	return fmt.Sprintf("%d results cannot be written, because a trigger suppresses them: %s", u.count, u.why)
}
