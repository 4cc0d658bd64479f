package database_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"orderflow.example/kit/await"
	"orderflow.example/kit/postgres"
	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/database"
)

func TestMain(m *testing.M) { os.Exit(await.Ended(m, func() error { return goleak.Find() })) }

func TestClassify(t *testing.T) {
	t.Parallel()
	state := func(code, severity string) error {
		return fmt.Errorf("wrapped: %w", &pgconn.PgError{Code: code, Severity: severity})
	}
	for _, test := range []struct {
		err  error
		want database.Kind
		away bool
	}{
		{nil, database.OK, false},
		{state(pgerrcode.UniqueViolation, "ERROR"), database.Duplicate, false},
		{state(pgerrcode.CheckViolation, "ERROR"), database.Refused, false},
		{state(pgerrcode.UntranslatableCharacter, "ERROR"), database.Refused, false},
		{state(pgerrcode.RaiseException, "ERROR"), database.Refused, false},
		{state(pgerrcode.AssertFailure, "ERROR"), database.Refused, false},
		{state(pgerrcode.DeadlockDetected, "ERROR"), database.Conflict, true},
		{state(pgerrcode.AdminShutdown, "FATAL"), database.Lost, true},
		{state(pgerrcode.CannotConnectNow, "FATAL"), database.Unavailable, true},
		{state(pgerrcode.QueryCanceled, "ERROR"), database.Unavailable, true},
		{state(pgerrcode.DiskFull, "ERROR"), database.Unavailable, true},
		{state(pgerrcode.TooManyConnections, "FATAL"), database.Unavailable, true},
		{state(pgerrcode.ReadOnlySQLTransaction, "ERROR"), database.Unavailable, true},
		{state(pgerrcode.UndefinedTable, "ERROR"), database.Unready, true},
		{state(pgerrcode.InsufficientPrivilege, "ERROR"), database.Unready, true},
		{state(pgerrcode.ConnectionFailure, "FATAL"), database.Lost, true},
		{state(pgerrcode.InternalError, "FATAL"), database.Lost, true},
		{state(pgerrcode.DiskFull, "PANIC"), database.Lost, true}, // the commit may be in the log
		{state(pgerrcode.IOError, "PANIC"), database.Lost, true},
		{state(pgerrcode.ReadOnlySQLTransaction, "FATAL"), database.Lost, true},
		{state(pgerrcode.IdleInTransactionSessionTimeout, "FATAL"), database.Lost, true},
		{&pgconn.PgError{Code: pgerrcode.DiskFull, Severity: "PANIK", SeverityUnlocalized: "PANIC"}, database.Lost, true},
		{&pgconn.PgError{Code: pgerrcode.DiskFull, Severity: "FEHLER", SeverityUnlocalized: "ERROR"}, database.Unavailable, true},
		{state(pgerrcode.InternalError, "ERROR"), database.Fault, false},
		{state(pgerrcode.SyntaxError, "ERROR"), database.Fault, false},
		{state("", ""), database.Fault, false},
		{io.ErrUnexpectedEOF, database.Lost, true},
		{&net.OpError{Op: "read", Err: errors.New("reset")}, database.Lost, true},
		{context.DeadlineExceeded, database.Lost, true},
		{database.ErrLost, database.Lost, true},
		{database.ErrUnreplicated, database.Lost, true},
		{errors.New("conn closed"), database.Lost, true},
		{errors.New("something else"), database.Fault, false},
	} {
		if got := database.Classify(test.err); got != test.want || database.Away(test.err) != test.away {
			t.Errorf("%v: kind %d, want %d", test.err, got, test.want)
		}
	}
	_, err := pgx.Connect(t.Context(), "postgres://nobody@127.0.0.1:1/x?connect_timeout=1")
	if got := database.Classify(err); got != database.Unavailable {
		t.Errorf("%v: kind %d", err, got)
	}
	// What a server says to who connects is the end of no session.
	elsewhere, err := url.Parse(testdb.Server(t))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere.Path = "/there_is_no_such_database"
	_, err = pgx.Connect(t.Context(), elsewhere.String())
	if got := database.Classify(err); database.ServerError(err) == nil || got != database.Unavailable {
		t.Errorf("%v: kind %d", err, got)
	}
}

func awaitState(t *testing.T, m *database.Monitor, up bool, reason string) {
	t.Helper()
	deadline := time.After(await.Limit())
	for {
		state, changed := m.State()
		if state.Up == up && (reason == "" || state.Reason == reason) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("state is %+v, want up = %v %s", state, up, reason)
		}
	}
}

// A password that is wrong does not become right by waiting: it is called that, and the database is used as soon as somebody has mended it.
func TestARefusalIsNoOutage(t *testing.T) {
	t.Parallel()
	address := testdb.New(t)
	admin := testdb.Connect(t, address)
	role := fmt.Sprintf("refused_%d_%d", os.Getpid(), time.Now().UnixNano())
	exec := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(context.Background(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("create role " + role + " login superuser password 'right'")
	defer exec("drop role " + role)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "wrong")
	var log bytes.Buffer
	m := database.NewMonitor(testdb.Config(t, u.String(), time.Minute), time.Second, func(context.Context, *pgx.Conn) error { return nil }, slog.New(slog.NewTextHandler(&log, nil)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Run(ctx)
	}()
	awaitState(t, m, false, "database refuses the password")
	exec("alter role " + role + " password 'wrong'")
	awaitState(t, m, true, "")
	cancel()
	<-done
	if text := log.String(); strings.Count(text, "database refuses the password") != 1 || strings.Contains(text, "away") {
		t.Errorf("the log does not say so once:\n%s", text)
	}
}

func TestMonitorKnows(t *testing.T) {
	t.Parallel()
	proxy := testdb.Proxy(t, testdb.New(t))
	proxy.Refuse()
	cfg := testdb.Config(t, proxy.URL, 5*time.Second)
	prepared := make(chan bool, 1000)
	var unfit atomic.Bool
	unfit.Store(true)
	m := database.NewMonitor(cfg, time.Second, func(context.Context, *pgx.Conn) error {
		prepared <- true
		if unfit.Load() {
			return &database.UnfitError{Reason: "not migrated"}
		}
		return nil
	}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Run(ctx)
	}()
	defer func() {
		cancel()
		<-done
	}()

	for range 2 { // at first, and after it was up
		awaitState(t, m, false, "database is away")
		unfit.Store(true)
		proxy.Accept()
		for state, changed := m.State(); state.Reason != "not migrated"; state, changed = m.State() {
			if state.Up {
				t.Fatal("an unfit database was taken for a ready one")
			}
			await.Value(t, "word that the database is unfit", changed)
		}
		unfit.Store(false)
		awaitState(t, m, true, "")
		proxy.Refuse()
		m.LookNow()
	}
	awaitState(t, m, false, "database is away")
	proxy.Accept()
	awaitState(t, m, true, "")
	proxy.Freeze()
	m.LookNow()
	awaitState(t, m, false, "database is away")
	proxy.Thaw()
	awaitState(t, m, true, "")

	// A single connection that is cut is no outage, unless it was just being made.
	await.True(t, "a cut connection is not taken for an outage", func() bool {
		before, _ := m.State()
		for len(prepared) > 0 {
			<-prepared
		}
		proxy.Cut()
		m.LookNow()
		await.Value(t, "another connection", prepared)
		awaitState(t, m, true, "")
		after, _ := m.State()
		return after.Since.Equal(before.Since)
	})
}

// A server that becomes a standby, or is set to read-only, while it is connected is as little use as one that was from the start.
func TestMonitorKnowsThatTheServerBecameReadOnly(t *testing.T) {
	t.Parallel()
	cfg, err := pgx.ParseConfig(testdb.New(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnectTimeout = 5 * time.Second
	first, again := make(chan bool, 1), make(chan struct{})
	first <- true
	m := database.NewMonitor(cfg, time.Second, func(ctx context.Context, conn *pgx.Conn) error {
		select {
		case <-first:
			_, err := conn.Exec(ctx, `set session characteristics as transaction read only`)
			return err
		case <-again:
			return nil
		default:
			return &database.UnfitError{Reason: "still read-only"}
		}
	}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Run(ctx)
	}()
	defer func() {
		cancel()
		<-done
	}()
	awaitState(t, m, false, "still read-only")
	close(again)
	awaitState(t, m, true, "")
}

// An address may lead to another server than it did, as a Service's does after a failover: the connections that stand lead to the one before.
func TestAConnectionToAServerThatWasReplacedLeadsElsewhere(t *testing.T) {
	t.Parallel()
	address := testdb.Address(t, testdb.New(t))
	conn, err := pgx.ConnectConfig(t.Context(), address.Config("test", 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	here, known := address.Route().Current()
	if !known || here.Timeline == 0 {
		t.Fatalf("%+v", here)
	}
	successor, elsewhere, silent := here, here, here
	successor.Timeline++
	elsewhere.System += "0"
	silent.System, silent.Timeline = "", 0
	for name, test := range map[string]struct {
		server    postgres.Server
		elsewhere bool
	}{
		"where it leads":                         {here, false},
		"its successor":                          {successor, true},
		"another cluster's, at the same address": {elsewhere, true},
		"one that does not tell what it is":      {silent, false},
		"one at another address":                 {postgres.Server{Address: "192.0.2.1:5432"}, true},
		"nowhere":                                {postgres.Server{}, false},
	} {
		if state := (database.State{Up: true, Server: test.server}); state.LeadsElsewhere(conn) != test.elsewhere {
			t.Errorf("connections lead to %s: it says that this one leads elsewhere: %v", name, !test.elsewhere)
		}
	}
}

// The connections to the server before are given up once, and before anybody hears of its successor: whoever takes one from the pool then would
// wait for an answer of a server that may be frozen.
func TestWhatLeadsToTheServerBeforeIsGivenUpFirst(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	former, successor := testdb.Proxy(t, db), testdb.Proxy(t, db)
	address := testdb.Address(t, strings.Replace(former.URL, former.Host(), former.Host()+","+successor.Host(), 1))
	m := database.NewMonitor(address.Config("test", time.Minute), time.Minute, func(context.Context, *pgx.Conn) error { return nil }, slog.New(slog.DiscardHandler))
	known := make(chan database.State, 2)
	m.Follow(address.Route(), func() { state, _ := m.State(); known <- state })
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	defer func() { stop(); <-done }()
	awaitState(t, m, true, "")
	before, _ := m.State()
	awaitServer := func(what, host string) {
		t.Helper()
		await.True(t, what, func() bool { state, _ := m.State(); return state.Up && state.Server.Address == host })
	}
	former.Refuse()
	m.LookNow()
	if state := await.Value(t, "connections are given up", known); state.Server.Address != before.Server.Address {
		t.Errorf("%v is known before the connections to %v are given up", state.Server, before.Server)
	}
	awaitServer("the successor is known", successor.Host())
	if len(known) != 0 {
		t.Error("connections are given up twice")
	}

	// Nor are they kept where there was no server at all in between.
	successor.Refuse()
	m.LookNow()
	awaitState(t, m, false, "database is away")
	former.Accept()
	if state := await.Value(t, "connections are given up after an outage", known); state.Server.Address != successor.Host() {
		t.Errorf("after an outage, connections to %v are given up, not to %s", state.Server, successor.Host())
	}
	awaitServer("the former server is known again", former.Host())
}

// A server that does not finish what it is asked to is left for another one, although it answers: it may be a primary that nobody replicates.
func TestADistrustedServerIsLeft(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	first, second := testdb.Proxy(t, db), testdb.Proxy(t, db)
	address := testdb.Address(t, strings.Replace(first.URL, first.Host(), first.Host()+","+second.Host(), 1))
	m := database.NewMonitor(address.Config("test", time.Minute), time.Minute, func(context.Context, *pgx.Conn) error { return nil }, slog.New(slog.DiscardHandler))
	m.Follow(address.Route(), func() {})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	defer func() { stop(); <-done }()
	awaitState(t, m, true, "")
	conn, err := pgx.ConnectConfig(t.Context(), address.Config("test", time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if before, _ := m.State(); before.Server.Address != first.Host() {
		t.Fatalf("connections lead to %v at first", before.Server)
	}
	await.True(t, "the other server is known", func() bool {
		m.Distrust(conn) // it is trusted again after a while, which connecting may take longer than
		state, _ := m.State()
		return state.Up && state.Server.Address == second.Host()
	})
}

// renamed is a route by a name that somebody moves.
type renamed struct {
	*postgres.Route
	from  *pgx.Conn // leads to where the name led before
	moved atomic.Bool
}

func (r *renamed) Refresh(context.Context) bool {
	if !r.moved.Swap(false) {
		return false
	}
	r.Distrust(r.from.PgConn())
	return true
}

// The name in the address is moved to another server while the one before still takes writes, as after a switch by hand. It is looked up now and
// then, although nothing is wrong: what is written to the one before is lost.
func TestANameThatMovesIsFollowedWhileNothingIsWrong(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	former, successor := testdb.Proxy(t, db), testdb.Proxy(t, db)
	address := testdb.Address(t, strings.Replace(former.URL, former.Host(), former.Host()+","+successor.Host(), 1))
	config := address.Config("test", time.Minute)
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	m := database.NewMonitor(config, time.Minute, func(context.Context, *pgx.Conn) error { return nil }, slog.New(slog.DiscardHandler))
	route := &renamed{Route: address.Route(), from: conn}
	m.Follow(route, func() {})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	defer func() { stop(); <-done }()
	await.True(t, "the former server is known", func() bool { state, _ := m.State(); return state.Server.Address == former.Host() })
	await.True(t, "the successor is known", func() bool {
		if state, _ := m.State(); state.Server.Address == successor.Host() {
			return true
		}
		route.moved.Store(true)
		return false
	})
}

// The database is known to be away before requests have waited for it in vain, where they wait for long as well as by default.
func TestThePingTakesNoLongerThanARequest(t *testing.T) {
	t.Parallel()
	for request, want := range map[time.Duration]time.Duration{
		100 * time.Millisecond: 700 * time.Millisecond, 900 * time.Millisecond: 700 * time.Millisecond, 4500 * time.Millisecond: 3500 * time.Millisecond, time.Minute: 5 * time.Second,
	} {
		if got := database.PingTimeout(request); got != want {
			t.Errorf("where a request may take %v the server may take %v, want %v", request, got, want)
		}
	}
}
