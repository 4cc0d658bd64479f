package housekeeping

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// quick is a database whose transactions take no time, or cannot be begun.
type quick struct {
	pgx.Tx
	err error
}

func (q quick) BeginTx(context.Context, pgx.TxOptions) (pgx.Tx, error) { return q, q.err }
func (quick) Exec(context.Context, string, ...any) (tag pgconn.CommandTag, err error) {
	return tag, nil
}
func (quick) Commit(context.Context) error   { return nil }
func (quick) Rollback(context.Context) error { return nil }

// worked has a keeper work for a while, by the bubble's clock, and returns how many steps it has taken, and how many have failed.
func worked(t *testing.T, db Database, up, more bool, during time.Duration) (steps int, failures int64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := New(db, Options{Up: func() bool { return up }, Log: slog.New(slog.DiscardHandler)})
		ctx, stop := context.WithTimeout(t.Context(), during)
		defer stop()
		k.work(ctx, &task{pace: pace{size: 1, least: 1, most: 1}, step: func(context.Context, pgx.Tx, int) (bool, func(*State), error) {
			steps++
			return more, nil, nil
		}})
		failures = k.State().Failures
	})
	return steps, failures
}

// What takes many steps is done one after the other: with the pause of who has nothing to do, tables would grow faster than is deleted.
func TestWorkGoesOnWhileThereIsMore(t *testing.T) {
	t.Parallel()
	if steps, _ := worked(t, quick{}, true, true, time.Minute); steps < 1000 {
		t.Errorf("%d steps in a minute, although there is more to do", steps)
	}
	if steps, _ := worked(t, quick{}, true, false, time.Minute); steps < 2 || steps > 10 {
		t.Errorf("%d steps in a minute, although there is nothing to do", steps)
	}
}

// While the database is known to be away nothing is tried, and nothing counts as failed: of failures an alert is made.
func TestAnOutageIsNoFailureOfHousekeeping(t *testing.T) {
	t.Parallel()
	away := quick{err: errors.New("the database is away")}
	if steps, failures := worked(t, away, false, true, time.Hour); steps > 0 || failures > 0 {
		t.Errorf("in an outage %d steps and %d failures", steps, failures)
	}
	if _, failures := worked(t, away, true, true, time.Hour); failures == 0 {
		t.Error("who cannot begin has not failed")
	}
}
