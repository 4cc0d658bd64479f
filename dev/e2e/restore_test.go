package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/stack"
	"orderflow.example/kit/testdb"
)

// named tells orders apart where an id alone does not: a database that went back in time gives ids out again.
type named struct {
	id      int64
	created time.Time
}

// A database is restored from a backup that was taken under load, and the receiver of the webhooks keeps what it remembers. It may be
// called again for what it knows. No order that is new may look to it like one of the lost ones, although it has the id of one.
func TestAReceiverTellsNewOrdersFromThoseOfALostDatabase(t *testing.T) {
	t.Parallel()
	const orders = 400
	database := testdb.New(t)
	b := setup(t, database)
	ctx := bounded(t)
	api, err := b.stack.StartAPI(ctx, "api")
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := b.stack.StartReceiver(ctx, api, "receiver", "RECEIVER_STATE="+filepath.Join(t.TempDir(), "ids"), "RECEIVER_FAULTS=slow:100%:200ms")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.stack.StartConsumer(ctx, "consumer-1", append(receiver.Deliveries(), "VT=2", "BACKOFF_MAX=1s")...); err != nil {
		t.Fatal(err)
	}
	load := func(run string) func() {
		loadgen, err := b.stack.Loadgen(api, nil, "RUN_ID="+run, fmt.Sprintf("ORDERS=%d", orders), "RATE=200", "PROGRESS=off", "AUDIT_PATIENCE=60s")
		if err != nil {
			t.Fatal(err)
		}
		return func() {
			if code, err := loadgen.Wait(ctx); err != nil || code != 0 {
				t.Fatal(code, err, loadgen.Failure())
			}
		}
	}

	wait := load("lost")
	await(ctx, t, "a part of the orders is there", func() (bool, error) {
		n, err := scalar(ctx, database, "select count(*) from public.orders")
		return n >= orders/4, err
	})
	server, name := serverAndName(t, database)
	cutOff(ctx, t, server, name, fmt.Sprintf(`create database %[1]s_backup template %[1]s`, name))
	wait()
	receiver.Kill() // what it remembers is in its file
	if err := errors.Join(receiver.Start(), receiver.WaitReady(ctx)); err != nil {
		t.Fatal(err)
	}
	lost := ordersOf(ctx, t, database)
	cutOff(ctx, t, server, name, fmt.Sprintf(`alter database %[1]s rename to %[1]s_lost`, name), fmt.Sprintf(`alter database %[1]s_backup rename to %[1]s`, name))
	t.Cleanup(func() {
		if err := stack.DropDatabase(context.WithoutCancel(ctx), server, name+"_lost"); err != nil {
			t.Error(err)
		}
	})
	await(ctx, t, "the api is ready on the restored database", func() (bool, error) { err := api.Ready(ctx); return err == nil, err })
	load("new")()
	await(ctx, t, "what the backup had pending is completed, too", func() (bool, error) {
		n, err := scalar(ctx, database, "select count(*) from public.orders where status <> 'completed'")
		return n == 0, err
	})

	kept := ordersOf(ctx, t, database)
	all, ids := map[named]bool{}, map[int64]int{}
	for _, o := range append(lost, kept...) {
		if !all[o] {
			ids[o.id]++
		}
		all[o] = true
	}
	again := len(all) - len(ids)
	if again == 0 {
		t.Fatalf("no id was given out again (%d orders in the lost database, %d in the other), so this has shown nothing", len(lost), len(kept))
	}
	a, err := receiver.Received(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if a.Received.Mistaken != 0 || a.Received.IDs != int64(len(all)) {
		t.Errorf("%d new orders were dropped as repetitions; %d webhook ids for %d orders, of which %d have the id of another", a.Received.Mistaken, a.Received.IDs, len(all), again)
	}
	if len(a.Faults) != 0 || a.Orders == nil || a.Orders.Accepted != int64(len(kept)) {
		t.Errorf("%d orders in the restored database, %+v", len(kept), a)
	}
	t.Logf("%d orders in both databases, %d of them under an id that was given out twice: %d repetitions, %d of them of another order", len(all), again, a.Received.Repetitions, a.Received.Mistaken)
}

// serverAndName are the parts of a test database's address.
func serverAndName(t *testing.T, database string) (server, name string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	name = strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	return u.String(), name
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
