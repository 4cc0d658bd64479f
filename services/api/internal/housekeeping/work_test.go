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

	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/database"
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

// worked has a keeper work for a while, by the bubble's clock, at steps of up to 64, and returns how many it has taken, and how many have failed.
func worked(t *testing.T, db Database, up bool, during time.Duration, step func(size int) (more bool, err error)) (steps int, failures int64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := New(db, Options{Up: func() bool { return up }, Log: slog.New(slog.DiscardHandler)})
		ctx, stop := context.WithTimeout(t.Context(), during)
		defer stop()
		k.work(ctx, &task{pace: pace{size: 64, least: 4, most: 64}, step: func(_ context.Context, _ pgx.Tx, size int) (bool, func(*State), error) {
			steps++
			more, err := step(size)
			return more, nil, err
		}})
		failures = k.State().Failures
	})
	return steps, failures
}

// What takes many steps is done one after the other: with the pause of who has nothing to do, tables would grow faster than is deleted.
func TestWorkGoesOnWhileThereIsMore(t *testing.T) {
	t.Parallel()
	always := func(more bool) func(int) (bool, error) { return func(int) (bool, error) { return more, nil } }
	if steps, _ := worked(t, quick{}, true, time.Minute, always(true)); steps < 1000 {
		t.Errorf("%d steps in a minute, although there is more to do", steps)
	}
	if steps, _ := worked(t, quick{}, true, time.Minute, always(false)); steps < 2 || steps > 10 {
		t.Errorf("%d steps in a minute, although there is nothing to do", steps)
	}
}

// While the database is known to be away nothing is tried, and nothing counts as failed: of failures an alert is made.
func TestAnOutageIsNoFailureOfHousekeeping(t *testing.T) {
	t.Parallel()
	away := quick{err: errors.New("the database is away")}
	more := func(int) (bool, error) { return true, nil }
	if steps, failures := worked(t, away, false, time.Hour, more); steps > 0 || failures > 0 {
		t.Errorf("in an outage %d steps and %d failures", steps, failures)
	}
	if _, failures := worked(t, away, true, time.Hour, more); failures == 0 {
		t.Error("who cannot begin has not failed")
	}
}

// A step that the database does not finish in its time is made smaller, until it does: otherwise it would fail in the same way for ever.
func TestAStepThatCannotBeFinishedIsMadeSmaller(t *testing.T) {
	t.Parallel()
	finished := 0
	_, failures := worked(t, quick{}, true, time.Hour, func(size int) (more bool, err error) {
		if size > 8 {
			return false, errors.New("canceling statement due to statement timeout")
		}
		finished++
		return false, nil
	})
	if finished == 0 || failures < 3 {
		t.Errorf("%d steps are finished in an hour, and %d have failed", finished, failures)
	}
}

// What housekeeping does may take longer than a request's statement may: the walk over a long queue is one.
func TestAStepHasMoreTimeThanARequest(t *testing.T) {
	t.Parallel()
	pool, err := database.NewPool(t.Context(), testdb.Config(t, testdb.Server(t), time.Minute), 1, database.Timeouts(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	k := New(pool, Options{Log: slog.New(slog.DiscardHandler)})
	var allowed string
	_, err = k.step(t.Context(), &task{step: func(ctx context.Context, tx pgx.Tx, _ int) (bool, func(*State), error) {
		return false, nil, tx.QueryRow(ctx, `select current_setting('statement_timeout')`).Scan(&allowed)
	}})
	if err != nil || allowed != "1min" {
		t.Errorf("a step's statement may take %s, %v", allowed, err)
	}
}
