// Package housekeeping does what has to be done to a database now and then that orders go through for years: it looks for pending orders
// whose message is gone, and deletes what has been kept for long enough.
//
// The work is done in small steps, each a transaction of its own. How far it has come is a row of the database, and that row's lock is what
// lets only one at a time work on it, over all replicas: it ends with the transaction, and needs no session that lasts. A step must
// never wait for anybody, or make the orders that come in meanwhile wait for long.
package housekeeping

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/postgres"
)

// Options say what is to be done.
type Options struct {
	Queue string // its name
	// OrderRetention is how long completed orders are kept after their completion, DeadLetterRetention how long dead letters and their
	// orders after their death. Zero: for ever.
	OrderRetention, DeadLetterRetention time.Duration
	Up                                  func() bool // whether the database can be used
	Log                                 *slog.Logger
}

// Database is what the keeper needs of a pool.
type Database interface {
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// Keeper does the work, as long as Run does.
type Keeper struct {
	db   Database
	opts Options

	mu    sync.Mutex
	state State
}

// State is what the metrics show.
type State struct {
	Stranded int64     // pending orders without a message, as far as is known
	LookedAt time.Time // what was committed until then has been looked at; the keeper's start while nothing has

	OrdersDeleted, LettersDeleted int64 // by this process
	Failures                      int64 // steps of this process that failed
}

// New makes a keeper.
func New(db Database, opts Options) *Keeper {
	return &Keeper{db: db, opts: opts, state: State{LookedAt: time.Now()}}
}

// State returns what is known now.
func (k *Keeper) State() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

func (k *Keeper) change(change func(*State)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(&k.state)
}

// Pauses when there is nothing to do, and after an error.
const (
	idle     = 10 * time.Second
	setBack  = 15 * time.Second
	firstRun = time.Second // after the start, when the others are busy with theirs
	// stepTimeout is far above what a step should take. It bounds what cannot be done in steps: one walk over the queue.
	stepTimeout = time.Minute
)

// task is one kind of work.
type task struct {
	what string
	pace pace
	// step does about as much as it is told to. What is new to the metrics holds when the transaction has committed; nil: nothing.
	step func(ctx context.Context, tx pgx.Tx, size int) (more bool, news func(*State), err error)
}

// Run works until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	tasks := []*task{{what: "look for stranded orders", pace: pace{size: 2048, least: 512, most: 16384}, step: k.look}}
	if k.opts.OrderRetention > 0 {
		tasks = append(tasks, &task{what: "delete orders", pace: pace{size: 500, least: 50, most: 5000}, step: k.expireOrders})
	}
	if k.opts.DeadLetterRetention > 0 {
		tasks = append(tasks, &task{what: "delete dead letters", pace: pace{size: 100, least: 20, most: 1000}, step: k.expireDeadLetters})
	}
	var running sync.WaitGroup
	for _, t := range tasks {
		running.Go(func() { k.work(ctx, t) })
	}
	running.Wait()
}

func (k *Keeper) work(ctx context.Context, t *task) {
	var outage postgres.Outage
	for pause := firstRun; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = idle
		if !k.opts.Up() {
			continue
		}
		began := time.Now()
		more, err := k.step(ctx, t)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			k.change(func(s *State) { s.Failures++ })
			if outage.News(err) {
				k.opts.Log.WarnContext(ctx, "housekeeping: cannot "+t.what+"; retrying", "error", err)
			}
			t.pace.smaller()
			pause = setBack
		default:
			outage.Over()
			if rest := t.pace.after(time.Since(began)); more {
				pause = rest
			}
		}
	}
}

func (k *Keeper) step(ctx context.Context, t *task) (more bool, err error) {
	var news func(*State)
	err = pgx.BeginFunc(ctx, beginner{k.db}, func(tx pgx.Tx) error {
		if err := patience(ctx, tx, stepTimeout); err != nil {
			return err
		}
		more, news, err = t.step(ctx, tx, t.pace.size)
		return err
	})
	if err == nil && news != nil {
		k.change(news)
	}
	if referred := (*pgconn.PgError)(nil); errors.As(err, &referred) && referred.Code == pgerrcode.ForeignKeyViolation {
		err = fmt.Errorf("%s.%s references orders that retention wants to delete: set its constraint %s to on delete cascade or set null: %w",
			referred.SchemaName, referred.TableName, referred.ConstraintName, err)
	}
	return more, err
}

// patience lets the statements of a transaction take longer than those of requests.
func patience(ctx context.Context, tx pgx.Tx, limit time.Duration) error {
	if _, err := tx.Exec(ctx, `select set_config('statement_timeout', $1, true)`, fmt.Sprint(limit.Milliseconds())); err != nil {
		return fmt.Errorf("set a statement timeout: %w", err)
	}
	return nil
}

// beginner gives BeginFunc what it needs.
type beginner struct{ Database }

func (b beginner) Begin(ctx context.Context) (pgx.Tx, error) { return b.BeginTx(ctx, pgx.TxOptions{}) }
