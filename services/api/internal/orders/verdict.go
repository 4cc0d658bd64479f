package orders

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/services/api/internal/database"
)

// verdict is what is to be done with units whose transaction failed.
type verdict int

const (
	tryAgain verdict = iota // nothing was written, and the next try may well work
	split                   // nothing was written, and one of them is at fault: which, their halves tell
	refuse                  // nothing was written, nor will be: it is the order's fault
	doubt                   // it is not known whether anything was written
	giveUp                  // nothing was written, for now
	fault                   // an error that is ours
)

// maxTries bounds how often one transaction is tried. Another replica that wrote the same key first costs one more try, and so
// does a deadlock or a lost connection.
const maxTries = 3

// judge decides by an attempt's error, its number (the first is 1) and that of its units.
func judge(err error, try, units int) verdict {
	again := try < maxTries
	atFault := refuse
	if units > 1 {
		atFault = split
	}
	switch kind := database.Classify(err); {
	case kind == database.Duplicate && !worthAnotherTry(err), kind == database.Refused:
		return atFault
	case kind == database.Duplicate, kind == database.Conflict:
		switch {
		case again:
			return tryAgain
		case units > 1:
			return split
		}
		return giveUp
	case kind == database.Lost && !pgconn.SafeToRetry(err):
		return doubt
	case (kind == database.Lost || kind == database.Unavailable) && pgconn.SafeToRetry(err) && again:
		return tryAgain
	case kind == database.Lost, kind == database.Unavailable, kind == database.Unready:
		return giveUp
	case units > 1 && pgError(err) != nil:
		return split
	}
	return fault
}

// worthAnotherTry tells whether a unique violation will be another one next time: the key is found then, and another id is
// drawn. A unique constraint that somebody has added is a rule like any other.
func worthAnotherTry(err error) bool {
	pgErr := pgError(err)
	return pgErr != nil && (pgErr.ConstraintName == "orders_idempotency_key_idx" || pgErr.ConstraintName == "orders_pkey")
}

// pgError is the server's part of an error; nil when it has none.
func pgError(err error) *pgconn.PgError {
	var pgErr *pgconn.PgError
	errors.As(err, &pgErr)
	return pgErr
}
