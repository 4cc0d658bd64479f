package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Growth compares a database that has been at work for years with a new one on the same server, in the same minutes.
type Growth struct {
	Bench           // whose DatabaseURL is the grown one
	FreshURL string // the new one
	Orders   int    // that the grown one holds
	Messages int    // of them that have gone through the queue, each processed by a consumer
	Held     time.Duration
	Requests int // of each listing and search
}

// Grown is what was found.
type Grown struct {
	Orders  int64
	Bytes   int64    // of the orders' table with its indexes
	Results []Result // a table for publishing and one for consuming: new, then grown
	Calls   []Call
	Held    []Span
	Sizes   []string // of tables and indexes, the largest first
}

// Run grows the database and measures. What it found stands beside an error, too.
func (g *Growth) Run(ctx context.Context) (Grown, error) {
	var found Grown
	if err := g.grow(ctx); err != nil {
		return found, fmt.Errorf("grow: %w", err)
	}
	err := g.with(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `select count(*), pg_total_relation_size('public.orders') from public.orders`).Scan(&found.Orders, &found.Bytes)
	})
	if err != nil {
		return found, err
	}
	// Filling has taken the most of the time: what one part cannot find does not keep the others from being told.
	var errs []error
	part := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	found.Calls, err = g.search(ctx)
	part("search", err)
	found.Results, err = g.alternate(ctx)
	part("publish and consume", err)
	if g.Held > 0 {
		found.Held, err = g.hold(ctx)
		part("hold a snapshot", err)
	}
	found.Sizes, err = g.sizes(ctx)
	part("sizes", err)
	return found, errors.Join(errs...)
}

// alternate measures publishing and consuming, in the new and in the grown database by turns.
func (g *Growth) alternate(ctx context.Context) ([]Result, error) {
	fresh := g.Bench
	fresh.DatabaseURL = g.FreshURL
	kinds := []struct {
		title   string
		note    string
		contend func(*Bench) contender
	}{
		{"SQL, one statement an order, 64 connections", "", func(b *Bench) contender { return b.publishDirectly(64) }},
		{"POST /orders, 64 connections", "", func(b *Bench) contender { return b.publish(64, 1) }},
		{
			"POST /orders, 64 connections, 90,000 customers and random keys", `Right after a checkpoint, which is the worst of all moments: each page of an index that
is touched for the first time since then goes to the log as a whole, and so does nearly each one that is touched.`, func(b *Bench) contender {
				varied := *b
				varied.varied = true
				return varied.publish(64, 1)
			},
		},
		{"Consuming, one consumer as shipped", "", func(b *Bench) contender { return b.consume("", 1, asShipped, preloaded, 0) }},
		{"Consuming, BATCH_SIZE=1000 CONCURRENCY=64", "", func(b *Bench) contender { return b.consume("", 1, atItsBest, preloaded, 0) }},
	}
	var results []Result
	for _, kind := range kinds {
		result := Result{Title: kind.title, Note: strings.TrimSpace("The same server and minutes, by turns. " + kind.note), Rows: []Row{{What: "new"}, {What: fmt.Sprintf("with %d orders", g.Orders)}}}
		for round := range g.Rounds {
			for i, b := range []*Bench{&fresh, &g.Bench} {
				if err := b.calm(ctx, i == 0); err != nil {
					return results, err
				}
				got, err := kind.contend(b).measure(ctx)
				if err != nil {
					return results, fmt.Errorf("%s: %w", kind.title, err)
				}
				result.Rows[i].rounds = append(result.Rows[i].rounds, got)
				g.Say("growth: %s, round %d of %d, %s: %.0f orders/s", kind.title, round+1, g.Rounds, result.Rows[i].What, got.rate)
			}
		}
		results = append(results, result)
	}
	return results, nil
}

// calm makes both databases begin a measurement alike: nothing waits, nothing is to be vacuumed, and the log is written. The new one is empty.
// What was published to the grown one is completed: a million pending orders without messages would be counted and looked for meanwhile.
func (b *Bench) calm(ctx context.Context, empty bool) error {
	if empty {
		if err := b.clear(ctx); err != nil {
			return err
		}
	}
	return b.execute(ctx, `
		with gone as (delete from pgmq.q_order_queue returning (message ->> 'order_id')::bigint as id)
		update public.orders as o
		   set status = 'completed', attempts = 1, effects = 1, completed_at = now(), processed_by = 'consumer-1'
		  from gone
		 where o.id = gone.id and o.status = 'pending'`,
		"vacuum (analyze) pgmq.q_order_queue", "vacuum (analyze) public.orders", "checkpoint")
}

// sizes are what takes the most room.
func (g *Growth) sizes(ctx context.Context) (sizes []string, err error) {
	err = g.with(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `
			select c.oid::regclass || ' ' || pg_size_pretty(pg_relation_size(c.oid))
			  from pg_class c join pg_namespace n on n.oid = c.relnamespace
			 where n.nspname in ('public', 'pgmq', 'orderflow') and c.relkind in ('r', 'i')
			 order by pg_relation_size(c.oid) desc limit 12`)
		if err == nil {
			sizes, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		return err
	})
	return sizes, err
}

// Call is a listing or a search, and how long it took. Pages is how many pages of tables and indexes the server looked at for one, on average:
// the machine may be busy, that does not change.
type Call struct {
	What          string
	P50, P99, Max time.Duration
	Pages         float64
}

// search calls everything that lists or searches, one after the other.
func (g *Growth) search(ctx context.Context) (calls []Call, err error) {
	s := g.stack()
	defer s.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // the figures stand
	// On a busy machine a call may take long, and what is asked here is how long.
	api, err := s.StartAPI(ctx, "api", "REQUEST_TIMEOUT=30s")
	if err != nil {
		return nil, err
	}
	reader := reader{client: &http.Client{Timeout: time.Minute}, base: api.URL(), token: api.Token()}
	if err := g.execute(ctx, "create extension if not exists pg_stat_statements"); err != nil {
		return nil, err
	}
	var key string
	var last int64
	if err := g.with(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `select max(id), (select idempotency_key from public.orders where idempotency_key > '8' order by idempotency_key limit 1) from public.orders`).Scan(&last, &key)
	}); err != nil {
		return nil, err
	}
	for _, path := range []string{
		"/orders?limit=50", "/orders?limit=1000", "/orders?status=completed", "/orders?status=pending", "/orders?status=dead",
		"/orders?customer_name=Customer%20{n}", "/orders?customer_name=Customer%20{n}&status=completed", "/orders?customer_name=Customer%20{n}&status=pending",
		"/orders?customer_name=Customer%20{n}&status=dead", "/orders?customer_name=nobody",
		"/orders?idempotency_key_prefix=" + key[:3], "/orders?idempotency_key_prefix=" + key, "/orders?idempotency_key_prefix=" + key[:3] + "&status=pending",
		"/orders/{id}", "/orders/{id}/history", "/messages", "/messages?limit=1000", "/queue", "/dead-letters", "/dead-letters?reason=max_attempts", "/dead-letters?reason=none",
		"/", "/ui/orders", "/ui/dead-letters",
	} {
		call, err := g.pages(ctx, func() (Call, error) { return reader.measure(ctx, path, g.Requests, last) })
		if err != nil {
			return calls, err
		}
		if call.What != "" {
			calls = append(calls, call)
		}
	}
	for _, list := range []string{"/orders?limit=100", "/orders?limit=100&status=completed", "/orders?limit=100&status=pending", "/orders?limit=100&status=dead", "/orders?limit=100&customer_name=Customer%2077", "/dead-letters?limit=100"} {
		call, err := g.pages(ctx, func() (Call, error) { return reader.follow(ctx, list, g.Requests) })
		if err != nil {
			return calls, err
		}
		calls = append(calls, call)
	}
	return calls, nil
}

// pages adds to a call what the server looked at for it: the statements that ran with at least every second of the requests. What the api does
// besides, all the time, is rarer.
func (g *Growth) pages(ctx context.Context, measure func() (Call, error)) (Call, error) {
	if err := g.resetStatements(ctx); err != nil {
		return Call{}, err
	}
	call, err := measure()
	if err != nil {
		return call, err
	}
	err = g.with(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `
			select coalesce(sum(shared_blks_hit + shared_blks_read), 0)::float8 / $1
			  from pg_stat_statements where calls >= $1 / 2 and dbid = (select oid from pg_database where datname = current_database())`, g.Requests).Scan(&call.Pages)
	})
	if call.What != "" {
		g.Say("growth: %s: p50 %s, p99 %s, %.0f pages", call.What, rough(call.P50), rough(call.P99), call.Pages)
	}
	return call, err
}

// Write prints what was found as Markdown that is readable as plain text.
func (f Grown) Write(b *strings.Builder, within time.Duration) {
	fmt.Fprintf(b, "%d orders, %.1f GB with their indexes.\n\n", f.Orders, float64(f.Bytes)/1e9)
	Write(b, f.Results)
	fmt.Fprintf(b, "### Listings and searches\n\nPages are those of tables and indexes that the server looks at for one call.\n\n```\n%-64s %9s %9s %9s %9s\n", "call", "p50", "p99", "longest", "pages")
	for _, c := range f.Calls {
		late := ""
		if c.P99 > within {
			late = fmt.Sprintf("  more than %v", within)
		}
		fmt.Fprintf(b, "%-64s %9s %9s %9s %9.0f%s\n", c.What, rough(c.P50), rough(c.P99), rough(c.Max), c.Pages, late)
	}
	fmt.Fprintf(b, "```\n\n")
	if len(f.Held) > 0 {
		fmt.Fprintf(b, "### A snapshot is held\n\n```\n%-34s %12s %10s %10s %12s\n", "", "completed/s", "p50", "p99", "dead rows")
		for _, s := range f.Held {
			fmt.Fprintf(b, "%-34s %12.0f %10s %10s %12d\n", s.What, s.Rate, rough(s.P50), rough(s.P99), s.Dead)
		}
		fmt.Fprintf(b, "```\n\n")
	}
	fmt.Fprintf(b, "Largest: %s.\n", strings.Join(f.Sizes, ", "))
}

func rough(d time.Duration) string { return d.Round(100 * time.Microsecond).String() }
