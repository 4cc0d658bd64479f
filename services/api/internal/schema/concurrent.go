package schema

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/wait"
)

// againstOthers takes a step about what belongs to the whole server, again and again while others are at the same. Our lock keeps
// out only those of the same database, and Postgres fails such statements instead of letting them wait.
func againstOthers(ctx context.Context, step func() error) error {
	const tries = 9

	pauses := wait.Pauses{First: 10 * time.Millisecond, Longest: time.Second}
	for try := 1; ; try++ {
		err := step()
		if !hindered(err) || try == tries || !wait.For(ctx, pauses.Next()) {
			return err
		}
	}
}

// hindered tells whether another session that changed the same was in the way.
func hindered(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return false
	}
	switch pgErr.Code {
	case pgerrcode.InternalError, // "tuple concurrently updated", which has no code of its own
		pgerrcode.DuplicateObject, pgerrcode.UniqueViolation: // the role was not there when it was looked for, and is now
		return true
	}
	return false
}
