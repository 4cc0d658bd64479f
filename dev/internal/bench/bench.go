// Package bench measures Orderflow against what the same Postgres does in the same minutes when it is asked directly: the ratio says what
// the design gains or costs, on any machine. Rates alone would only describe the machine.
//
// What is compared takes turns, round after round, so that a machine that grows slow meanwhile is slow for both.
//
// It must never judge: figures are for people, and no test depends on them.
package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/session"
	"orderflow.example/dev/internal/stack"
)

// Bench is what a run needs.
type Bench struct {
	Session     *session.Session
	Binaries    stack.Binaries
	DatabaseURL string        // migrated, private, and nobody else's
	ServicesURL string        // by which the services get to it; empty: DatabaseURL
	Span        time.Duration // of each measurement
	Rounds      int
	Say         func(format string, args ...any)
	// River is the program of tools/river, which does the same work with River; empty: it is not compared.
	River string

	settings []string // of the services, besides those of all measurements
	viewers  int      // how many look at the api's dashboard meanwhile
	varied   bool     // each order that is posted has a customer of many, and a random idempotency key
}

// group is a set of contenders that are measured in turn. The first is the one that the others are compared with.
type group struct {
	name       string // by which a person chooses it
	title      string
	note       string // what has to be known to read the table
	contenders []contender
}

// contender is one thing that is measured, once in each round.
type contender struct {
	name    string
	measure func(context.Context) (figures, error) // begins on an empty database
}

// figures are what one measurement found; zero is what it did not look for.
type figures struct {
	rate     float64 // orders a second
	p50, p99 time.Duration
	cost     cost
}

// Groups are the names of all groups, in the order in which they run.
func (b *Bench) Groups() []string {
	var names []string
	for _, g := range b.groups() {
		names = append(names, g.name)
	}
	return names
}

func (b *Bench) groups() []group {
	return slices.Concat(b.publishing(), b.consuming(), []group{b.together()}, b.features(), b.pooled(), b.retaining())
}

// Run measures the groups of these names; all of them when there is none.
func (b *Bench) Run(ctx context.Context, names []string) ([]Result, error) {
	groups := b.groups()
	if len(names) > 0 {
		known := b.Groups()
		for _, name := range names {
			if !slices.Contains(known, name) {
				return nil, fmt.Errorf("no benchmark is called %q: there are %s", name, strings.Join(known, ", "))
			}
		}
		groups = slices.DeleteFunc(groups, func(g group) bool { return !slices.Contains(names, g.name) })
	}
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	var results []Result
	for _, g := range groups {
		result, err := b.compare(ctx, g)
		if err != nil {
			return results, fmt.Errorf("%s: %w", g.name, err)
		}
		results = append(results, result)
	}
	return results, nil
}

// prepare makes the effects' function, which changes nothing for those who do not call it.
func (b *Bench) prepare(ctx context.Context) error {
	return stack.CreateEffects(ctx, b.DatabaseURL, 0, false)
}

// compare measures a group's contenders, round after round.
func (b *Bench) compare(ctx context.Context, g group) (Result, error) {
	result := Result{Title: g.title, Note: g.note, Rows: make([]Row, len(g.contenders))}
	for i, c := range g.contenders {
		result.Rows[i].What = c.name
	}
	for round := range b.Rounds {
		for i, c := range g.contenders {
			if err := b.clear(ctx); err != nil {
				return result, err
			}
			got, err := c.measure(ctx)
			if err != nil {
				return result, fmt.Errorf("%s: %w", c.name, err)
			}
			result.Rows[i].rounds = append(result.Rows[i].rounds, got)
			b.Say("bench: %s, round %d of %d: %s: %.0f orders/s", g.name, round+1, b.Rounds, c.name, got.rate)
		}
	}
	return result, b.clear(ctx)
}

func (b *Bench) stack() *stack.Stack {
	return stack.New(stack.Options{
		Session: b.Session, Binaries: b.Binaries, DatabaseURL: cmp.Or(b.ServicesURL, b.DatabaseURL),
		Env: append([]string{"LOG_LEVEL=warn", "LOG_FORMAT=json"}, b.settings...),
	})
}

// clear makes each measurement start on an empty database.
func (b *Bench) clear(ctx context.Context) error {
	statements := []string{"truncate public.orders, pgmq.q_order_queue, pgmq.q_order_queue_dlq, shop.effects", "checkpoint"}
	return b.execute(ctx, statements...)
}

func (b *Bench) execute(ctx context.Context, statements ...string) error {
	return b.with(ctx, func(conn *pgx.Conn) error {
		for _, sql := range statements {
			if _, err := conn.Exec(ctx, sql); err != nil {
				return fmt.Errorf("%.60s…: %w", strings.Join(strings.Fields(sql), " "), err)
			}
		}
		return nil
	})
}

// with runs something on a connection of its own.
func (b *Bench) with(ctx context.Context, run func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, b.DatabaseURL)
	if err != nil {
		return err
	}
	err = run(conn)
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}
