package health

import (
	"errors"
	"log/slog"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/queue"
)

// Statements is whether the database does what one kind of statement asks for. It may be there and refuse all the same: a right that is
// missing, a table that has been dropped, a full disk, a standby. A refusal is logged when it begins, when it changes and when it
// ends; lost connections are logged by their server.
type Statements struct {
	what string
	log  *slog.Logger

	mu   sync.Mutex
	code string // SQLSTATE; empty: all is well
	text string
}

// NewStatements is of statements that nothing is known of yet. what names them in the log, in the plural.
func NewStatements(what string, log *slog.Logger) *Statements {
	return &Statements{what: what, log: log}
}

// Note takes the result of a statement.
func (s *Statements) Note(err error) {
	var answer *pgconn.PgError
	var unfit *effect.UnfitError
	code, text := "", ""
	switch {
	case errors.As(err, &unfit):
		code, text = "unfit", unfit.Why
	case queue.Answered(err) && errors.As(err, &answer):
		code, text = answer.Code, answer.Error()
	case err != nil:
		s.log.Debug(s.what+" failed; retrying", "error", err.Error())
		return // no answer is no news about what the database would say
	}
	s.Turn(code, text)
}

// Turn notes why they are refused now; an empty code says that they are not.
func (s *Statements) Turn(code, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch code {
	case s.code:
	case "":
		s.log.Info("the database accepts " + s.what + " again")
	default:
		s.log.Warn("the database refuses "+s.what+"; retrying (run consumer doctor)", "error", text)
	}
	s.code, s.text = code, text
}

// Refused returns why they are refused; empty when all is well.
func (s *Statements) Refused() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text
}
