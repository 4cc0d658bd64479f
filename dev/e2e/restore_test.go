package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/stack"
)

// named tells orders apart where an id alone does not: a database that went back in time gives ids out again.
type named struct {
	id      int64
	created time.Time
}

// restored are the ways in which a database comes back as it was earlier. back is called under load; what it returns is called later, and puts
// what it had at that moment in the place of what there is by then.
var restored = map[string]struct {
	back func(ctx context.Context, t *testing.T, server *postgres.Server, database string) (restore func())
	// half: the messages are not part of it.
	half bool
}{
	"pg_dump": {back: func(ctx context.Context, t *testing.T, server *postgres.Server, _ string) func() {
		return dumped(ctx, t, server)
	}},
	"pg_dump of all but the queue": {
		back: func(ctx context.Context, t *testing.T, server *postgres.Server, _ string) func() {
			return dumped(ctx, t, server, "--exclude-table-data=pgmq.q_*")
		},
		half: true,
	},
	"pg_dump, its data alone into a migrated database": {back: func(ctx context.Context, t *testing.T, server *postgres.Server, _ string) func() {
		return dataAlone(ctx, t, server)
	}},
	"base backup and log, to a moment": {back: func(ctx context.Context, t *testing.T, server *postgres.Server, database string) func() {
		if err := server.Backup(ctx); err != nil {
			t.Fatal(err)
		}
		moment, err := scalar(ctx, database, "select (extract(epoch from clock_timestamp()) * 1000000)::bigint")
		if err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := server.Recover(ctx, time.UnixMicro(moment)); err != nil {
				t.Fatal(err)
			}
		}
	}},
}

// dumped restores a dump beside the database while the load goes on, and at last gives it the database's name.
func dumped(ctx context.Context, t *testing.T, server *postgres.Server, args ...string) func() {
	t.Helper()
	runAll(ctx, t, server,
		append([]string{"pg_dump", "--format=custom", "--file=dump", "--dbname=shop"}, args...),
		[]string{"createdb", "beside"},
		[]string{"pg_restore", "--exit-on-error", "--dbname=beside", "dump"},
	)
	return func() { takeItsPlace(ctx, t, server) }
}

// dataAlone does the same with the schema of this build, and the dump's rows.
func dataAlone(ctx context.Context, t *testing.T, server *postgres.Server) func() {
	t.Helper()
	runAll(ctx, t, server, []string{"pg_dump", "--format=custom", "--file=dump", "--dbname=shop"}, []string{"createdb", "beside"})
	beside, err := postgres.WithDatabase(server.URL(), "beside")
	if err != nil {
		t.Fatal(err)
	}
	if err := stack.Migrate(ctx, programsFor(t).session, programsFor(t).binaries, beside); err != nil {
		t.Fatal(err)
	}
	runAll(ctx, t, server,
		[]string{"psql", "--dbname=beside", "--command=truncate orderflow.installation, pgmq.meta"},
		[]string{"psql", "--dbname=beside", `--command=\! pg_restore --list dump | grep -vE ' public orderflow_migrations| orderflow (order_scan|retention|front_[^ ]*) ' > list`},
		[]string{"pg_restore", "--exit-on-error", "--data-only", "--use-list=list", "--dbname=beside", "dump"},
	)
	return func() { takeItsPlace(ctx, t, server) }
}

// runAll runs programs of the server's, one after the other.
func runAll(ctx context.Context, t *testing.T, server *postgres.Server, calls ...[]string) {
	t.Helper()
	for _, call := range calls {
		if err := server.Program(ctx, call[0], call[1:]...); err != nil {
			t.Fatal(err)
		}
	}
}

func takeItsPlace(ctx context.Context, t *testing.T, server *postgres.Server) {
	t.Helper()
	cutOff(ctx, t, server.URL(), "shop", "alter database shop rename to lost", "alter database beside rename to shop")
}

// A database is restored from a backup that was taken under load, and everybody else goes on with what they remember: consumers with their
// leases, clients with the keys of what they have ordered, the receiver of the webhooks with the ids that it knows. Each order of the clients
// is there at last, and is completed once. The receiver may be called again for what it knows; no order that is new may look to it
// like one of the lost ones, although it has the id of one.
func TestEverybodyGoesOnAfterARestore(t *testing.T) {
	t.Parallel()
	for name, way := range restored {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const orders = 300
			server, err := postgres.Open(t.Context(), postgres.Options{
				Session: programsFor(t).session, From: "local", MaxConnections: 60, Settings: postgres.Archiving,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := server.Close(context.Background()); err != nil {
					t.Error(err)
				}
			})
			ctx := bounded(t)
			if err := server.Program(ctx, "createdb", "shop"); err != nil {
				t.Fatal(err)
			}
			database, err := postgres.WithDatabase(server.URL(), "shop")
			if err != nil {
				t.Fatal(err)
			}
			b := setup(t, database)
			api, err := b.stack.StartAPI(ctx, "api", "MIGRATE_ON_START=true")
			if err != nil {
				t.Fatal(err)
			}
			receiver, err := b.stack.StartReceiver(ctx, api, "receiver", "RECEIVER_STATE="+filepath.Join(t.TempDir(), "ids"), "RECEIVER_FAULTS=slow:100%:200ms")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.stack.StartConsumer(ctx, "consumer-1", append(receiver.Deliveries(), "VT=2", "BACKOFF_MAX=1s", "CONCURRENCY=10")...); err != nil {
				t.Fatal(err)
			}
			load := func(run string) (wait func()) {
				loadgen, err := b.stack.Loadgen(api, nil, "RUN_ID="+run, fmt.Sprintf("ORDERS=%d", orders), "RATE=200", "PROGRESS=off", "AUDIT_PATIENCE=60s")
				if err != nil {
					t.Fatal(err)
				}
				return func() {
					t.Helper()
					if code, err := loadgen.Wait(ctx); err != nil || code != 0 {
						t.Fatal(code, err, loadgen.Failure())
					}
				}
			}

			wait := load("clients")
			await(ctx, t, "a part of the orders is there", func() (bool, error) {
				n, err := scalar(ctx, database, "select count(*) from public.orders")
				return n >= orders/4, err
			})
			restore := way.back(ctx, t, server, database)
			wait()
			load("lost")() // by those who never ask again
			lost := ordersOf(ctx, t, database)
			restore()
			receiver.Kill() // what it remembers is in its file
			if err := errors.Join(receiver.Start(), receiver.WaitReady(ctx)); err != nil {
				t.Fatal(err)
			}
			await(ctx, t, "the api is ready on the restored database", func() (bool, error) { err := api.Ready(ctx); return err == nil, err })
			kept := ordersOf(ctx, t, database)
			if len(kept) == 0 || len(kept) >= len(lost) {
				t.Fatalf("%d orders before the restore, and %d after it: this shows nothing", len(lost), len(kept))
			}
			if way.half {
				if out, err := printed(ctx, b.binaries[stack.API], []string{"DATABASE_URL=" + database}, "requeue", "-older-than", "0s", "-apply"); err != nil || !strings.Contains(out, "have a new one") {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			// Others order at the same time as those who do not know what became of theirs and try again.
			others := load("others")
			load("clients")()
			others()
			await(ctx, t, "what the backup had pending is completed, too", func() (bool, error) {
				n, err := scalar(ctx, database, "select count(*) from public.orders where status <> 'completed'")
				return n == 0, err
			})

			now := ordersOf(ctx, t, database)
			if n, err := scalar(ctx, database, "select count(*) from public.orders where effects <> 1"); err != nil || n != 0 || len(now) != 2*orders {
				t.Errorf("%d orders of %d clients' calls, %d of them with other effects than one (%v)", len(now), 2*orders, n, err)
			}
			still := map[named]bool{}
			for _, o := range now {
				still[o] = true
			}
			for _, o := range kept {
				if !still[o] {
					t.Errorf("order %d of the backup is another one now", o.id)
				}
			}
			all, ids := map[named]bool{}, map[int64]int{}
			for _, o := range append(lost, now...) {
				if !all[o] {
					ids[o.id]++
				}
				all[o] = true
			}
			again := len(all) - len(ids)
			if again == 0 {
				t.Fatalf("no id was given out again (%d orders in the lost database, %d in the other), so this has shown nothing", len(lost), len(now))
			}
			a, err := receiver.Received(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if a.Received.Mistaken != 0 || a.Received.IDs != int64(len(all)) {
				t.Errorf("%d new orders were dropped as repetitions; %d webhook ids for %d orders, of which %d have the id of another", a.Received.Mistaken, a.Received.IDs, len(all), again)
			}
			if len(a.Faults) != 0 || a.Orders == nil || a.Orders.Accepted != int64(len(now)) {
				t.Errorf("%d orders in the restored database, %+v", len(now), a)
			}
			t.Logf("%d orders were there, %d of them in the backup; of %d in both, %d have an id that was given out twice: %d repetitions, %d of them of another order",
				len(lost), len(kept), len(all), again, a.Received.Repetitions, a.Received.Mistaken)
		})
	}
}

// printed runs a program to its end, and returns what it printed.
func printed(ctx context.Context, program string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// cutOff does something to a database that nobody may be connected to meanwhile.
func cutOff(ctx context.Context, t *testing.T, server, name string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	statements = append([]string{
		fmt.Sprintf(`alter database %s allow_connections false`, name),
		fmt.Sprintf(`select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = '%s'`, name),
	}, statements...)
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if _, err := conn.Exec(ctx, fmt.Sprintf(`alter database %s allow_connections true`, name)); err != nil {
		t.Fatal(err)
	}
}

func ordersOf(ctx context.Context, t *testing.T, database string) []named {
	t.Helper()
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "select id, created_at from public.orders")
	if err != nil {
		t.Fatal(err)
	}
	orders, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o named, err error) {
		err = row.Scan(&o.id, &o.created)
		o.created = o.created.UTC() // times are compared as they are written
		return o, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return orders
}

func scalar(ctx context.Context, database, sql string) (n int64, err error) {
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	return n, conn.QueryRow(ctx, sql).Scan(&n)
}

// await waits for a condition, bounded.
func await(ctx context.Context, t *testing.T, what string, is func() (bool, error)) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := is()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v, %v", what, context.Cause(ctx), err)
		}
	}
}
