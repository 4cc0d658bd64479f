package queue_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// A statement is planned once, when a consumer starts, perhaps on an empty queue. The plan has to be right for a million rows.
// Where the planner's idea of the table changes, it plans again, and that plan has to be right as well.
func TestPlansHoldWhateverThePlannerBelieves(t *testing.T) {
	t.Parallel()
	db := dbtest.New(t)
	server := pg.NewServer(db.Address(), me, slog.New(slog.DiscardHandler), pg.Observer{})
	link := server.NewLink("plans", nil)
	defer link.Close()
	q := queue.New(dbtest.QueueName, queue.Description{Front: true})
	one := []queue.Entry{{Lease: queue.Lease{ID: 1, ReadCount: 1}, OrderID: 1, Attempt: 1, Reason: "permanent"}}
	prepare := map[string]func(context.Context, *pgx.Conn) error{
		"fetch": func(ctx context.Context, c *pgx.Conn) error {
			_, err := q.Fetch(ctx, c, bounds(30), time.Minute)
			return err
		},
		"peek":         func(ctx context.Context, c *pgx.Conn) error { _, err := q.Peek(ctx, c, time.Time{}); return err },
		"ack":          func(ctx context.Context, c *pgx.Conn) error { _, err := q.Ack(ctx, c, one, me); return err },
		"ack_unlocked": func(ctx context.Context, c *pgx.Conn) error { _, err := q.AckUnlocked(ctx, c, one, me); return err },
		"ack_open": func(ctx context.Context, c *pgx.Conn) error {
			open, err := q.OpenAck(ctx, c, one, false, me, queue.Sharing{})
			if err == nil {
				_, err = open.Commit(ctx) // with ack_stands
			}
			return err
		},
		"nack": func(ctx context.Context, c *pgx.Conn) error { _, err := q.Nack(ctx, c, one, "test"); return err },
		"nack_message_only": func(ctx context.Context, c *pgx.Conn) error {
			_, err := q.NackMessageOnly(ctx, c, one, "test")
			return err
		},
		"release":   func(ctx context.Context, c *pgx.Conn) error { _, err := q.Release(ctx, c, one, "test"); return err },
		"extend":    func(ctx context.Context, c *pgx.Conn) error { _, err := q.Extend(ctx, c, one, time.Minute); return err },
		"bury":      func(ctx context.Context, c *pgx.Conn) error { _, err := q.Bury(ctx, c, one, me); return err },
		"gate_read": func(ctx context.Context, c *pgx.Conn) error { _, err := q.ReadGate(ctx, c); return err },
		"fate":      func(ctx context.Context, c *pgx.Conn) error { _, err := q.Fates(ctx, c, one, me); return err },
	}
	db.Publish(1) // so that a read has orders to look up
	if err := link.Do(t.Context(), prepare["fetch"]); err != nil {
		t.Fatal(err)
	}
	// A queue that was worked off and then vacuumed: pages without rows, by which the planner takes any number of pages for
	// one row.
	grow := func() {
		db.Exec(`insert into public.orders (customer_name, product_name, quantity, price) select 'c', 'p', 1, 1 from generate_series(1, 20000)`)
		db.Exec(`insert into pgmq.q_order_queue (vt, message) select clock_timestamp(), '{}' from generate_series(1, 20000)`)
	}
	grow()
	db.Exec(`delete from public.orders`)
	db.Exec(`delete from pgmq.q_order_queue`)
	db.Exec(`alter table public.orders set (vacuum_truncate = off)`)
	db.Exec(`vacuum analyze public.orders, pgmq.q_order_queue`)
	if dense := dbtest.One[int](db, `select count(*) from pg_class where oid in ('public.orders'::regclass, 'pgmq.q_order_queue'::regclass)
		and (relpages = 0 or reltuples <> 0)`); dense != 0 {
		t.Fatalf("%d tables without the statistics that mislead", dense)
	}
	for name, work := range prepare {
		if err := link.Do(t.Context(), work); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	check := func(when string) {
		for _, name := range append(slices.Collect(maps.Keys(prepare)), "identify", "ack_stands") { // these come with others
			plan := planOf(t, link, name)
			if whole := wholeScan(plan); whole != "" {
				t.Errorf("%s, %s: reads all of a table or an index, at %q:\n%s", when, name, whole, plan)
			}
			if strings.Contains(plan, "Join Filter") {
				t.Errorf("%s, %s: compares each row of a batch with each other one:\n%s", when, name, plan)
			}
			if name == "fetch" && !atTheFront.MatchString(plan) {
				t.Errorf("%s, fetch: the front does not bound the scan:\n%s", when, plan)
			}
			if !strings.Contains(plan, "Index Cond") {
				t.Errorf("%s, %s: uses no index:\n%s", when, name, plan)
			}
		}
	}
	check("empty")
	grow() // and nobody analyzes: the plans that are in use in the minute after a burst
	check("grown")
	db.Exec(`analyze public.orders, pgmq.q_order_queue`)
	check("analyzed")
}

// atTheFront is a scan that begins where $3 and the front say.
var atTheFront = regexp.MustCompile(`Index Cond: .*vt >= GREATEST\(`)

// wholeScan returns the first scan of the plan that no condition bounds.
func wholeScan(plan string) string {
	lines := strings.Split(plan, "\n")
	for i, line := range lines {
		if strings.Contains(line, "Seq Scan") && !strings.Contains(line, "on front_order_queue") || // a sequence has one row
			strings.Contains(line, "Index") && strings.Contains(line, "Scan") && !strings.Contains(strings.Join(lines[i+1:min(i+2, len(lines))], ""), "Index Cond:") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// planOf returns the plan that the link's connection uses for a prepared statement of the queue's.
func planOf(t *testing.T, link *pg.Link, name string) string {
	t.Helper()
	var plan string
	if err := link.Do(t.Context(), func(ctx context.Context, conn *pgx.Conn) error {
		var statement string
		var parameters int
		if err := conn.QueryRow(ctx, `select name, cardinality(parameter_types) from pg_prepared_statements
			where statement like '/* orderflow consumer: ' || $1 || ' */%'`, name).Scan(&statement, &parameters); err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		nothing := strings.TrimSuffix(strings.Repeat("null, ", parameters), ", ")
		rows, err := conn.Query(ctx, fmt.Sprintf(`explain (costs off) execute %s(%s)`, pgx.Identifier{statement}.Sanitize(), nothing),
			pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return err
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		plan = strings.Join(lines, "\n")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return plan
}
