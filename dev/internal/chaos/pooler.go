package chaos

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/pgbouncer"
)

func poolerFaults() []Fault {
	return []Fault{{
		Name: "pooler", Title: "behind PgBouncer in transaction mode, which is killed and paused and loses its servers",
		Recovery: visibilityAndASecond, Run: poolerFault,
	}}
}

// poolSize is less than the services have connections.
const poolSize = 6

// poolerFault has everything go through one pooler, and another client of the pool look all the time at what it finds on its connections.
func poolerFault(ctx context.Context, r *Rig) error {
	p, err := pgbouncer.Start(ctx, r.databaseURL, pgbouncer.Transaction, poolSize)
	if errors.Is(err, pgbouncer.ErrMissing) {
		return &skipError{err.Error()}
	}
	if err != nil {
		return err
	}
	r.pooler = p
	through := "DATABASE_URL=" + p.URL
	if err := r.up(ctx, settings{consumers: 2, api: []string{through}, consumer: r.work(through)}); err != nil {
		return err
	}
	other := startNeighbour(ctx, p.URL)
	defer other.end()
	if err := r.loadFor(ctx, r.plan.Duration+2*time.Second+r.tail()); err != nil {
		return err
	}
	away := pick(r.plan, time.Second, 300*time.Millisecond)
	err = r.every(ctx, r.plan.Duration/4, func(n int) error {
		switch n % 3 {
		case 0:
			p.Kill()
			return errors.Join(r.wait(ctx, away), p.Restart(ctx))
		case 1:
			return r.sql(ctx, `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`)
		default:
			return errors.Join(p.Pause(), r.wait(ctx, away), p.Resume())
		}
	})
	if err != nil {
		return err
	}
	r.ended()
	if err := r.account(ctx); err != nil {
		return err
	}
	looks, found := other.end()
	r.check(looks > 0, "looks of another client of the pool", looks, "more than 0")
	r.check(len(found) == 0, "what another client of the pool finds", strings.Join(found, ", "), "nothing")
	return nil
}

// neighbour is another client of a pool.
type neighbour struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	looks  int
	found  []string
}

// inheritedSQL is what a session has that nobody has set up: PgBouncer itself sets the settings that it gives each client its own of.
const inheritedSQL = `
select name || ' = ' || setting from pg_settings where source = 'session' and setting is distinct from reset_val
   and name not in ('application_name', 'client_encoding', 'TimeZone', 'DateStyle', 'standard_conforming_strings')
union all select 'an advisory lock' from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()
union all select 'listening to ' || c from pg_listening_channels() as c
union all select 'the statement ' || statement from pg_prepared_statements`

// startNeighbour looks again and again, whenever it gets a connection, until end.
func startNeighbour(ctx context.Context, poolerURL string) *neighbour {
	ctx, cancel := context.WithCancel(ctx)
	n := &neighbour{cancel: cancel}
	n.done.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		var conn *pgx.Conn
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				if conn != nil {
					_ = conn.Close(context.WithoutCancel(ctx))
				}
				return
			}
			if conn == nil || conn.IsClosed() {
				var err error
				if conn, err = pgx.Connect(ctx, poolerURL+"&default_query_exec_mode=exec"); err != nil {
					conn = nil // the pooler is away, as it is meant to be
					continue
				}
			}
			rows, err := conn.Query(ctx, inheritedSQL)
			if err != nil {
				continue
			}
			found, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				continue
			}
			n.looks++
			for _, f := range found {
				if !slices.Contains(n.found, f) {
					n.found = append(n.found, f)
				}
			}
		}
	})
	return n
}

func (n *neighbour) end() (looks int, found []string) {
	n.cancel()
	n.done.Wait()
	return n.looks, n.found
}
