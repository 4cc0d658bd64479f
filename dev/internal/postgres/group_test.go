package postgres_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/session"
	"orderflow.example/kit/await"
	"orderflow.example/kit/pgproxy"
	address "orderflow.example/kit/postgres"
)

func group(t *testing.T) *postgres.Group {
	t.Helper()
	s, err := session.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	g, err := postgres.StartGroup(t.Context(), postgres.Options{Session: s}, 3, "remote_write")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return g
}

// The whole way of a failover, with real servers, as the services' connections see it.
func TestAFailoverIsFollowed(t *testing.T) {
	t.Parallel()
	g := group(t)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	a, err := address.Parse(g.URL())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(ctx, a.Config("test", await.Limit()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "create table things (id integer); insert into things values (1)"); err != nil {
		t.Fatal(err)
	}
	first, _ := a.Route().Current()

	// The primary freezes, and is replaced.
	old := g.Primary
	if err := old.Freeze(ctx); err != nil {
		t.Fatal(err)
	}
	best, err := g.Best(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Promote(ctx, best); err != nil {
		t.Fatal(err)
	}
	config := a.Config("test", 5*time.Second) // for the one that is frozen
	connect := func() (*pgx.Conn, error) { return pgx.ConnectConfig(ctx, config) }
	fresh := func() *pgx.Conn {
		for {
			conn, err := connect()
			if err == nil {
				return conn
			}
			if ctx.Err() != nil {
				t.Fatal(err)
			}
		}
	}
	second := fresh()
	at, _ := a.Route().Current()
	if at.Timeline <= first.Timeline || at.System != first.System || at.Address == first.Address {
		t.Errorf("from %+v to %+v", first, at)
	}
	var things int
	if err := second.QueryRow(ctx, "select count(*) from things").Scan(&things); err != nil || things != 1 {
		t.Errorf("%d, %v", things, err)
	}
	if !a.Route().Moved(conn.PgConn()) {
		t.Error("the connection to the frozen primary is kept")
	}

	// It comes back and takes itself for the primary. Nobody who has seen the new one goes there, also when that is gone.
	if err := old.Thaw(ctx); err != nil {
		t.Fatal(err)
	}
	if err := g.Primary.Halt(ctx, true); err != nil {
		t.Fatal(err)
	}
	for {
		_, err := connect()
		var replaced *address.ReplacedError
		if errors.As(err, &replaced) {
			break
		}
		if err == nil || ctx.Err() != nil {
			t.Fatalf("connected to a primary that was replaced, or: %v", err)
		}
	}

	// Rejoined, it is a standby like others.
	if err := g.Primary.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := old.Halt(ctx, true); err != nil {
		t.Fatal(err)
	}
	if err := old.Rewind(ctx, g.Primary); err != nil {
		t.Fatal(err)
	}
	if err := old.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := g.Streaming(ctx, g.Standbys()...); err != nil {
		t.Fatal(err)
	}
	_ = fresh().Close(ctx)

	// With one standby away nobody knows who has what was acknowledged.
	if err := old.Crash(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Best(ctx); !errors.Is(err, postgres.ErrUnsafe) {
		t.Errorf("a guess is taken for safe: %v", err)
	}
}

// One address leads to the primary, whichever that is, as a Service of Kubernetes' does: what stands leads on to the one that was replaced, and
// is given up as soon as somebody has met its successor.
func TestAnAddressThatLeadsToAnotherServerIsFollowed(t *testing.T) {
	t.Parallel()
	g := group(t)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	service, err := pgproxy.New(g.Primary.Clients.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	a, err := address.Parse(service.URL)
	if err != nil {
		t.Fatal(err)
	}
	config := a.Config("test", await.Limit())

	// While it leads to a standby it leads nowhere: who stayed there would not notice that it leads to the primary again.
	service.Lead(g.Standbys()[0].Clients.Host())
	if _, err := pgx.ConnectConfig(ctx, config); address.NoWriter(err) != address.ReadOnly {
		t.Errorf("connected to a standby, or: %v", err)
	}
	service.Lead(g.Primary.Clients.Host())
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := a.Route().Current()
	if a.Route().Moved(conn.PgConn()) || !a.Route().Leads(conn.PgConn()) {
		t.Error("a connection to where the address leads is given up")
	}

	// The primary freezes, is replaced, and comes back. The connection has heard nothing of it.
	old := g.Primary
	if err := old.Freeze(ctx); err != nil {
		t.Fatal(err)
	}
	best, err := g.Best(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Promote(ctx, best); err != nil {
		t.Fatal(err)
	}
	service.Lead(best.Clients.Host())
	if err := old.Thaw(ctx); err != nil {
		t.Fatal(err)
	}
	if err := conn.Ping(ctx); err != nil {
		t.Fatalf("the connection to the former primary: %v", err)
	}
	second, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := a.Route().Current()
	if at.Address != first.Address || at.Timeline <= first.Timeline {
		t.Fatalf("from %+v to %+v", first, at)
	}
	if !a.Route().Moved(conn.PgConn()) || a.Route().Leads(conn.PgConn()) {
		t.Error("the connection to the primary that was replaced is kept")
	}
	if a.Route().Moved(second.PgConn()) || !a.Route().Leads(second.PgConn()) {
		t.Error("the connection to its successor is given up")
	}
}

// A server that is killed in the middle of its promotion must not come back as a primary on the timeline of the one that it was to replace: the two would
// write different logs under one name, and nothing that rejoins the former primary could tell.
func TestAPromotionThatWasBrokenOffIsBegunAgain(t *testing.T) {
	t.Parallel()
	g := group(t)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	old := g.Primary
	if err := old.Exec(ctx, "create table things (id integer)"); err != nil {
		t.Fatal(err)
	}
	before, err := old.Timeline(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Crash(ctx); err != nil {
		t.Fatal(err)
	}
	best, err := g.Best(ctx)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := best.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var data string
	if err := conn.QueryRow(ctx, "select current_setting('data_directory')").Scan(&data); err != nil {
		t.Fatal(err)
	}
	// That is how it is left between the two steps.
	if err := best.Crash(ctx); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(data, "standby.signal")); err != nil {
		t.Fatal(err)
	}

	if err := best.StartAsStandby(ctx); err != nil {
		t.Fatal(err)
	}
	if began, err := best.Began(ctx, before); err != nil || began {
		t.Errorf("it has begun a timeline, %v", err)
	}
	if err := g.Promote(ctx, best); err != nil {
		t.Fatal(err)
	}
	after, err := best.Timeline(ctx)
	if err != nil || after <= before {
		t.Fatalf("two primaries on one timeline: %d, and %d before, %v", after, before, err)
	}
	if err := old.Rewind(ctx, best); err != nil {
		t.Fatal(err)
	}
	if err := old.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := g.Streaming(ctx, g.Standbys()...); err != nil {
		t.Fatal(err)
	}

	// One that was killed after its promotion is known by its timeline.
	if err := best.Exec(ctx, "checkpoint"); err != nil {
		t.Fatal(err)
	}
	if err := best.Crash(ctx); err != nil {
		t.Fatal(err)
	}
	if err := best.StartAsStandby(ctx); err != nil {
		t.Fatal(err)
	}
	if began, err := best.Began(ctx, before); err != nil || !began {
		t.Errorf("it has begun no timeline, %v", err)
	}
}
