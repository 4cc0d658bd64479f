package durability_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/durability"
	"orderflow.example/services/api/internal/schema"
)

func TestMain(m *testing.M) { os.Exit(await.Ended(m, func() error { return goleak.Find() })) }

var sound = durability.Facts{Fsync: true, PageWrites: true, Commit: "on"}

func TestWhatACrashOrAFailoverWouldLoseIsSaid(t *testing.T) {
	t.Parallel()
	with := func(change func(*durability.Facts)) durability.Facts {
		f := sound
		change(&f)
		return f
	}
	for name, test := range map[string]struct {
		facts durability.Facts
		risk  string // empty: none
		says  string
	}{
		"sound":                      {sound, "", ""},
		"another session's":          {with(func(f *durability.Facts) { f.Commit = "" }), "", ""},
		"no fsync":                   {with(func(f *durability.Facts) { f.Fsync = false }), durability.Fsync, "can destroy the database"},
		"torn pages":                 {with(func(f *durability.Facts) { f.PageWrites = false }), durability.PageWrites, "half written"},
		"commits do not wait":        {with(func(f *durability.Facts) { f.Commit = "off" }), durability.Commit, "a crash loses the latest"},
		"local, and nobody else":     {with(func(f *durability.Facts) { f.Commit = "local" }), "", ""},
		"local, although there is":   {with(func(f *durability.Facts) { f.Commit, f.Synchronous = "local", "a" }), durability.Commit, "no standby has yet"},
		"asynchronous standbys":      {with(func(f *durability.Facts) { f.Standbys = 2 }), durability.Asynchronous, "2 standbys replicate and no commit waits for them"},
		"synchronous ones":           {with(func(f *durability.Facts) { f.Standbys, f.Synchronous = 2, "ANY 1 (a, b)" }), "", ""},
		"written at the standby":     {with(func(f *durability.Facts) { f.Standbys, f.Synchronous, f.Commit = 2, "*", "remote_write" }), "", ""},
		"unlogged":                   {with(func(f *durability.Facts) { f.Unlogged = []string{"pgmq.q_order_queue"} }), durability.Unlogged, "pgmq.q_order_queue is unlogged: a crash or a failover empties it"},
		"nobody has standbys to ask": {with(func(f *durability.Facts) { f.Synchronous = "*" }), "", ""},
	} {
		found := test.facts.Findings()
		if test.risk == "" {
			if len(found) > 0 {
				t.Errorf("%s: %v", name, found)
			}
			continue
		}
		if len(found) != 1 || found[0].Risk != test.risk || !strings.Contains(found[0].Text, test.says) || !slices.Contains(durability.Risks, test.risk) {
			t.Errorf("%s: %v", name, found)
		}
	}
}

func open(t *testing.T, strict bool) (*durability.Checker, *pgx.Conn, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	c := durability.New(durability.Options{Tables: schema.Tables("order_queue"), Strict: strict, Log: slog.New(slog.NewTextHandler(&log, nil))})
	return c, testdb.Connect(t, testdb.New(t)), &log
}

func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func TestStrictRefusesUntilNothingIsAtRisk(t *testing.T) {
	t.Parallel()
	c, conn, log := open(t, true)
	if why := c.Refusal(); !strings.Contains(why, "not known yet") {
		t.Errorf("before anybody has looked: %q", why)
	}
	exec(t, conn, "alter table pgmq.q_order_queue set unlogged")
	if err := c.Session(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if why := c.Refusal(); !strings.Contains(why, "pgmq.q_order_queue is unlogged") || !strings.Contains(why, "DURABILITY=strict") {
		t.Errorf("%q", why)
	}
	exec(t, conn, "alter table pgmq.q_order_queue set logged")
	if err := c.Again(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if why := c.Refusal(); why != "" {
		t.Errorf("mended, and still refused: %s", why)
	}
	for _, want := range []string{"orders may be lost: pgmq.q_order_queue is unlogged", "orders are durable again"} {
		if strings.Count(log.String(), want) != 1 {
			t.Errorf("%q is not in the log once:\n%s", want, log.String())
		}
	}
}

// What the session that writes has counts, whoever is asked later.
func TestTheSessionThatWritesCounts(t *testing.T) {
	t.Parallel()
	c, conn, _ := open(t, true)
	exec(t, conn, "set synchronous_commit = off")
	if err := c.Session(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(c.Refusal(), "synchronous_commit is off") {
		t.Errorf("%q", c.Refusal())
	}
	exec(t, conn, "set synchronous_commit = on")
	if err := c.Again(t.Context(), conn); err != nil || !strings.Contains(c.Refusal(), "synchronous_commit is off") {
		t.Errorf("another session's setting is taken for the writer's: %q, %v", c.Refusal(), err)
	}
	if err := c.Session(t.Context(), conn); err != nil || c.Refusal() != "" {
		t.Errorf("%q, %v", c.Refusal(), err)
	}
}

// server answers as a database does.
type server struct {
	facts durability.Facts
	asked func() // before it answers
}

func (s server) QueryRow(context.Context, string, ...any) pgx.Row { return s }

func (s server) Scan(into ...any) error {
	if s.asked != nil {
		s.asked()
	}
	values := []any{s.facts.Server, s.facts.Fsync, s.facts.PageWrites, s.facts.Commit, s.facts.Synchronous, s.facts.Unlogged}
	if len(into) == 1 {
		values = []any{s.facts.Standbys}
	}
	for i, value := range values {
		reflect.ValueOf(into[i]).Elem().Set(reflect.ValueOf(value))
	}
	return nil
}

// After a failover the session that writes leads to another server sooner than those that read: what it has found stands against them.
func TestTheServerBeforeSaysNothing(t *testing.T) {
	t.Parallel()
	before, after := sound, sound
	before.Server = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	after.Server = before.Server.Add(time.Microsecond)
	after.Fsync = false
	found := func(c *durability.Checker) bool { return strings.Contains(c.Refusal(), "fsync is off") }
	session := func(c *durability.Checker, facts durability.Facts) {
		t.Helper()
		if err := c.Session(t.Context(), server{facts: facts}); err != nil {
			t.Fatal(err)
		}
	}

	c := durability.New(durability.Options{Strict: true, Log: slog.New(slog.DiscardHandler)})
	session(c, before)
	if err := c.Again(t.Context(), server{facts: before}); err != nil || c.Refusal() != "" {
		t.Errorf("%q, %v", c.Refusal(), err)
	}
	// It looks where connections led, and is overtaken: even by what the same server says by now.
	worse := before
	worse.PageWrites = false
	if err := c.Again(t.Context(), server{facts: before, asked: func() { session(c, worse) }}); err == nil || !strings.Contains(c.Refusal(), "full_page_writes") {
		t.Errorf("while the writer connected: %q, %v", c.Refusal(), err)
	}
	session(c, after)
	for range 3 {
		if err := c.Again(t.Context(), server{facts: before}); err == nil || !found(c) {
			t.Fatalf("after the writer has connected: %q, %v", c.Refusal(), err)
		}
	}
	// The server that is written to counts, whoever asks it.
	mended := after
	mended.Fsync = true
	if err := c.Again(t.Context(), server{facts: mended}); err != nil || c.Refusal() != "" {
		t.Errorf("mended: %q, %v", c.Refusal(), err)
	}

	// A server that was started again is another one. Who has nothing to write does not notice, and would be refused for ever.
	session(c, after)
	restarted := mended
	restarted.Server = after.Server.Add(time.Hour)
	looks := 0
	for found(c) && looks < 20 {
		_ = c.Again(t.Context(), server{facts: restarted})
		looks++
	}
	if found(c) || looks < 3 {
		t.Errorf("after %d looks: %q", looks, c.Refusal())
	}
}

func TestWarnRefusesNothing(t *testing.T) {
	t.Parallel()
	c, conn, _ := open(t, false)
	exec(t, conn, "alter table pgmq.q_order_queue_dlq set unlogged")
	if err := c.Session(t.Context(), conn); err != nil || c.Refusal() != "" || len(c.Findings()) != 1 {
		t.Errorf("%q, %v, %v", c.Refusal(), c.Findings(), err)
	}
}

// While orders are refused, somebody is mending it: that is noticed within seconds.
func TestSettingsAreLookedAtAgain(t *testing.T) {
	t.Parallel()
	c, conn, _ := open(t, true)
	exec(t, conn, "alter table public.orders set unlogged")
	other := testdb.Connect(t, conn.Config().ConnString())
	if err := c.Session(t.Context(), conn); err != nil || c.Refusal() == "" {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx, conn, func() bool { return true })
	}()
	defer func() {
		stop()
		<-done
	}()
	exec(t, other, "alter table public.orders set logged")
	for deadline := time.Now().Add(await.Limit()); c.Refusal() != ""; {
		if time.Now().After(deadline) {
			t.Fatal(c.Refusal())
		}
	}
}

// changing is a database whose settings change.
type changing struct {
	atomic.Pointer[durability.Facts]
}

func (c *changing) QueryRow(context.Context, string, ...any) pgx.Row { return server{facts: *c.Load()} }

// Nobody has to be refused, or to restart anything, until it is noticed that a setting has changed.
func TestASettingThatChangesIsNoticed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := durability.New(durability.Options{Strict: true, Log: slog.New(slog.DiscardHandler)})
		var db changing
		safe, careless := sound, sound
		careless.Fsync = false
		db.Store(&safe)
		if err := c.Session(t.Context(), &db); err != nil || c.Refusal() != "" {
			t.Fatalf("%q, %v", c.Refusal(), err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go c.Run(ctx, &db, func() bool { return true })
		synctest.Wait() // it has looked, and found nothing
		db.Store(&careless)
		time.Sleep(2 * time.Minute) //nolint:forbidigo // the bubble's clock, which nobody waits for
		if why := c.Refusal(); !strings.Contains(why, "fsync is off") {
			t.Errorf("fsync was turned off two minutes ago: %q", why)
		}
	})
}

// A role that may do little is told how many standbys there are.
func TestARoleWithoutRightsSeesWhatItNeeds(t *testing.T) {
	t.Parallel()
	role := testdb.Role(t, "api")
	url := testdb.New(t)
	testdb.Admin(t, "create role "+role+" login")
	owner := testdb.Connect(t, url)
	exec(t, owner, "grant usage on schema orderflow, pgmq to "+role)
	exec(t, owner, "grant execute on function orderflow.standbys() to "+role)
	t.Cleanup(func() { _, _ = owner.Exec(context.Background(), "drop owned by "+role) })
	exec(t, owner, "set role "+role)
	facts, err := durability.Look(t.Context(), owner, schema.Tables("order_queue"))
	exec(t, owner, "reset role")
	if err != nil || !facts.Fsync || !facts.PageWrites || facts.Commit != "on" || facts.Standbys != 0 || len(facts.Unlogged) != 0 {
		t.Errorf("%+v, %v", facts, err)
	}
}
