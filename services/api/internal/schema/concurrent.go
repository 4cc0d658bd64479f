package schema

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// againstOthers takes a step about what belongs to the whole server, again and again while others are at the same. Our lock keeps
// out only those of the same database, and Postgres fails such statements instead of letting them wait.
func againstOthers(ctx context.Context, step func() error) error {
	const longest = time.Second

	for pause := 10 * time.Millisecond; ; pause *= 2 {
		err := step()
		if !hindered(err) || pause > longest {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause/2 + rand.N(pause)):
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
