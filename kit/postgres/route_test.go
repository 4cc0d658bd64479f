package postgres_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/kit/postgres"
	"orderflow.example/kit/testdb"
)

// What happens when servers change places is tested with real standbys, beside the rig that fails over: dev/internal/chaos.

// hosts are a database by way of several proxies, each of which is a host of the address.
func hosts(t *testing.T, n int, more ...string) (postgres.Address, []*pgproxy.Proxy) {
	t.Helper()
	u := database(t)
	base := *u
	var (
		proxies []*pgproxy.Proxy
		all     []string
	)
	for range n {
		p := testdb.Proxy(t, base.String())
		through, err := url.Parse(p.URL)
		if err != nil {
			t.Fatal(err)
		}
		proxies, all = append(proxies, p), append(all, through.Host)
	}
	u.Host = strings.Join(append(more, all...), ",")
	u.RawQuery = "sslmode=disable"
	return testdb.Address(t, u.String()), proxies
}

func connectTo(t *testing.T, config *pgx.ConnConfig) (conn *pgx.Conn, host string) {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn, conn.PgConn().Conn().RemoteAddr().String()
}

// distrust is the route's, for as long as a test takes.
func distrust(r *postgres.Route, conn *pgx.Conn) {
	r.Distrust(conn.PgConn())
	r.HoldDistrust(conn.PgConn())
}

func hostOf(t *testing.T, p *pgproxy.Proxy) string {
	t.Helper()
	u, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// A first host that accepts and never says a word costs one time limit, and not one with each connection.
func TestASilentFirstHostCostsItsTimeLimitOnce(t *testing.T) {
	t.Parallel()
	var dials atomic.Int64
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	address, proxies := hosts(t, 1, silent.Addr().String())
	config := address.Config("test", 10*time.Second)
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, at string) (net.Conn, error) {
		conn, err := dial(ctx, network, at)
		if at == silent.Addr().String() && err == nil {
			dials.Add(1)
		}
		return conn, err
	}
	for range 5 {
		if _, host := connectTo(t, config); host != hostOf(t, proxies[0]) {
			t.Fatal(host)
		}
		if n := dials.Load(); n != 1 {
			t.Fatalf("the silent host was tried %d times", n)
		}
	}
	if at, known := address.Route().Current(); !known || at.String() != hostOf(t, proxies[0]) || at.Timeline == 0 || at.System == "" {
		t.Errorf("%+v, %v", at, known)
	}
}

// While no host takes writes, the silent one before the others costs the attempts of some seconds one time limit, and not each of them its own.
// Who refuses costs nothing, and is asked each time.
func TestASilentHostIsPassedOverWhileNoneTakesWrites(t *testing.T) {
	t.Parallel()
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	u := database(t)
	proxy := testdb.Proxy(t, u.String())
	u.Host, u.RawQuery = silent.Addr().String()+","+hostOf(t, proxy), "sslmode=disable"
	config, err := pgx.ParseConfig(u.String())
	if err != nil {
		t.Fatal(err)
	}
	tried, down := false, false // down: the other one, so that nothing listens there
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, at string) (net.Conn, error) {
		switch {
		case at == silent.Addr().String() && tried:
			t.Error("the silent host is tried again")
			return nil, syscall.ECONNREFUSED // nobody has to wait for it
		case at == silent.Addr().String():
			tried = true
		case down:
			return nil, syscall.ECONNREFUSED
		}
		return dial(ctx, network, at)
	}
	route := postgres.RouteOf("one", "another")
	route.Apply(&config.Config)
	refused := func() {
		t.Helper()
		if _, err := pgx.ConnectConfig(t.Context(), config); err == nil {
			t.Fatal("connected to nothing")
		}
	}
	down, config.ConnectTimeout = true, time.Second
	refused()
	await.True(t, "that the first host says nothing is noticed", func() bool { return route.Hold(silent.Addr().String()) })
	config.ConnectTimeout = await.Limit() // who refuses may be slow, and is not silent
	refused()
	down = false
	proxy.Refuse()
	refused()
	proxy.Accept()
	connectTo(t, config)
}

// While the server that took writes is there, nobody looks elsewhere; when it is gone, all are tried again.
func TestConnectionsStayTogether(t *testing.T) {
	t.Parallel()
	address, proxies := hosts(t, 3)
	route := address.Route()
	proxies[0].Refuse()
	conn, host := connectTo(t, address.Config("one", 30*time.Second))
	if host != hostOf(t, proxies[1]) {
		t.Fatalf("connected to %s", host)
	}
	proxies[0].Accept()
	if _, host := connectTo(t, address.Config("two", 30*time.Second)); host != hostOf(t, proxies[1]) {
		t.Errorf("%s although the second host is there", host)
	}
	if route.Moved(conn.PgConn()) {
		t.Error("a connection to where the others are is given up")
	}
	proxies[1].Close()
	if _, host := connectTo(t, address.Config("three", 30*time.Second)); host != hostOf(t, proxies[2]) {
		t.Errorf("%s, and not the one after the server that is gone", host)
	}
	if !route.Moved(conn.PgConn()) {
		t.Error("a connection is kept although the others are elsewhere")
	}
}

// A server that accepts connections only to end them, as one that starts, or a proxy before nothing, hides no other.
func TestAServerThatTurnsEverybodyAwayHidesNoOther(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	rude := &turningAway{Listener: listener}
	u := database(t)
	server := u.Host
	u.Host, u.RawQuery = server+","+rude.Addr().String(), "sslmode=disable"
	address := testdb.Address(t, u.String())
	go forward(t.Context(), rude, server) // at first it leads to the server
	config := address.Config("test", 30*time.Second)
	conn, _ := connectTo(t, config)
	distrust(address.Route(), conn)
	if _, at := connectTo(t, config); at != rude.Addr().String() {
		t.Fatal(at)
	}
	rude.away.Store(true)
	for deadline := time.Now().Add(await.Limit()); ; {
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err == nil {
			_ = conn.Close(t.Context())
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the other host is never tried: %v", err)
		}
	}
}

// A server that answers and does not do its work is left for another one, and comes back when there is no other.
func TestADistrustedServerComesLast(t *testing.T) {
	t.Parallel()
	address, proxies := hosts(t, 2)
	config := address.Config("test", 30*time.Second)
	conn, host := connectTo(t, config)
	if host != hostOf(t, proxies[0]) {
		t.Fatal(host)
	}
	distrust(address.Route(), conn)
	if address.Route().Leads(conn.PgConn()) {
		t.Error("the connections to it are kept until somebody has found another one")
	}
	if _, host := connectTo(t, config); host != hostOf(t, proxies[1]) {
		t.Errorf("%s, which is not trusted", host)
	}
	if !address.Route().Moved(conn.PgConn()) {
		t.Error("the connection to it is kept")
	}
	// When there is no other it is as good as any, after a while.
	proxies[1].Close()
	for deadline := time.Now().Add(await.Limit()); ; {
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err == nil {
			_ = conn.Close(t.Context())
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestTheOnlyServerIsUsedWhateverHappened(t *testing.T) {
	t.Parallel()
	address, proxies := hosts(t, 1)
	config := address.Config("test", 30*time.Second)
	conn, _ := connectTo(t, config)
	address.Route().Distrust(conn.PgConn())
	connectTo(t, config)
	proxies[0].Freeze()
	if _, err := pgx.ConnectConfig(t.Context(), address.Config("test", time.Second)); err == nil {
		t.Fatal("connected to a server that hangs")
	}
	proxies[0].Thaw()
	connectTo(t, config)
}

// named is a database that a name leads to, first at one address of this machine and then, when a test likes, at another one. The answer is
// the name server's.
func named(t *testing.T) (config *pgx.ConnConfig, route *postgres.Route, port string, answer *nameServer) {
	t.Helper()
	u := database(t)
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	if host != "127.0.0.1" {
		t.Skip("the server for the tests is not on this machine")
	}
	var everywhere bool
	err = testdb.Connect(t, u.String()).QueryRow(t.Context(), `select current_setting('listen_addresses') ~ '[*]|0[.]0[.]0[.]0'`).Scan(&everywhere)
	if err != nil {
		t.Fatal(err)
	}
	if everywhere {
		t.Skip("the server for the tests has all addresses of this machine")
	}
	var other net.Listener
	await.True(t, "no other test has the port", func() bool {
		other, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.2:"+port)
		return !errors.Is(err, syscall.EADDRINUSE)
	})
	if err != nil {
		t.Skip("this machine has only one loopback address:", err)
	}
	t.Cleanup(func() { _ = other.Close() })
	go forward(t.Context(), other, u.Host)
	u.Host, u.RawQuery = "orders-db.invalid:"+port, "sslmode=disable"
	config, err = pgx.ParseConfig(u.String())
	if err != nil {
		t.Fatal(err)
	}
	answer = &nameServer{addresses: []string{"127.0.0.1"}}
	config.LookupFunc = func(context.Context, string) ([]string, error) { return answer.addresses, answer.err }
	route = postgres.RouteOf("orders-db.invalid")
	route.Apply(&config.Config)
	return config, route, port, answer
}

type nameServer struct {
	addresses []string
	err       error
}

// A name that stands for another server by now leads there, although the one before still answers.
func TestANameThatMovesIsFollowed(t *testing.T) {
	t.Parallel()
	config, route, port, answer := named(t)
	before, at := connectTo(t, config)
	if at != "127.0.0.1:"+port {
		t.Fatal(at)
	}
	if route.Refresh(t.Context()) || !route.Leads(before.PgConn()) {
		t.Error("the name still leads to where the connection does")
	}
	for _, nothing := range []nameServer{{err: errors.New("the name server is away")}, {}} {
		*answer = nothing
		if route.Refresh(t.Context()) || !route.Leads(before.PgConn()) {
			t.Errorf("a connection that works is given up because the name leads nowhere just now: %v", nothing.err)
		}
	}
	*answer = nameServer{addresses: []string{"127.0.0.2"}}
	if !route.Refresh(t.Context()) {
		t.Error("nobody notices that the name leads elsewhere")
	}
	if _, at := connectTo(t, config); at != "127.0.0.2:"+port {
		t.Errorf("%s, where the name led before", at)
	}
	if current, _ := route.Current(); !route.Moved(before.PgConn()) || current.String() != "orders-db.invalid:"+port+" (127.0.0.2:"+port+")" {
		t.Errorf("%s", current)
	}
}

// Whoever connects finds by himself that the name has moved: the address that it led to may be gone for good.
func TestWhoConnectsFollowsANameThatMoved(t *testing.T) {
	t.Parallel()
	config, _, port, answer := named(t)
	connectTo(t, config)
	*answer = nameServer{addresses: []string{"127.0.0.2"}}
	if _, at := connectTo(t, config); at != "127.0.0.2:"+port {
		t.Errorf("%s, where the name led before", at)
	}
}

// The servers behind one name are as many as its addresses: what one of them does not finish is done by another.
func TestADistrustedServerComesLastBehindOneName(t *testing.T) {
	t.Parallel()
	config, route, port, answer := named(t)
	answer.addresses = []string{"127.0.0.1", "127.0.0.2"}
	conn, at := connectTo(t, config)
	if at != "127.0.0.1:"+port {
		t.Fatal(at)
	}
	distrust(route, conn)
	if _, at := connectTo(t, config); at != "127.0.0.2:"+port {
		t.Errorf("%s, which is not trusted", at)
	}
}

// Platforms that keep the log elsewhere, or to themselves, do not tell their timeline. They are used all the same.
func TestAServerThatDoesNotTellItsTimelineIsUsed(t *testing.T) {
	t.Parallel()
	role := testdb.Role(t, "reticent")
	u := database(t)
	if _, err := testdb.Connect(t, u.String()).Exec(t.Context(), `revoke execute on function pg_catalog.pg_control_system() from public`); err != nil {
		t.Fatal(err)
	}
	testdb.Admin(t, "create role "+role+" login password 'secret'")
	u.User = url.UserPassword(role, "secret")
	address := testdb.Address(t, u.String())
	_, host := connectTo(t, address.Config("test", 30*time.Second))
	if at, known := address.Route().Current(); !known || at.Address != host || at.System != "" || at.Timeline != 0 {
		t.Errorf("connected to %s, and the route leads to %+v", host, at)
	}
}

// A server that says nothing more right after the handshake is given up as one that says nothing at all.
func TestAServerThatFallsSilentAfterTheHandshakeIsGivenUp(t *testing.T) {
	t.Parallel()
	address, proxies := hosts(t, 1)
	proxies[0].Trap("select pg_catalog.pg_backend_pid()", pgproxy.Held)
	config := address.Config("test", time.Second)
	for proxies[0].Sprung() == 0 { // a busy machine does not always get that far
		ended := make(chan error, 1)
		go func() {
			conn, err := pgx.ConnectConfig(t.Context(), config)
			if err == nil {
				_ = conn.Close(t.Context())
			}
			ended <- err
		}()
		if err := await.Value(t, "the attempt to connect to end", ended); err == nil {
			t.Fatal("connected to a server that says nothing")
		}
	}
}

// turningAway accepts connections only to end them, from when it is told to.
type turningAway struct {
	net.Listener
	away atomic.Bool
}

func (l *turningAway) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || !l.away.Load() {
			return conn, err
		}
		go func() {
			buf := make([]byte, 8)
			_, _ = conn.Read(buf) // the client is connected, and has begun to speak
			_ = conn.Close()
		}()
	}
}

// forward passes bytes on between whoever connects and a server.
func forward(ctx context.Context, listener net.Listener, server string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		upstream, err := new(net.Dialer).DialContext(ctx, "tcp", server)
		if err != nil {
			_ = client.Close()
			return
		}
		for _, ends := range [][2]net.Conn{{client, upstream}, {upstream, client}} {
			go func() {
				_, _ = ends[0].(*net.TCPConn).WriteTo(ends[1])
				_ = ends[1].Close()
			}()
		}
	}
}

// Of several hosts, one that is set to be read-only is not used; the only one is, for what reading there is.
func TestAServerThatOnlyReadsIsTheLastResort(t *testing.T) {
	t.Parallel()
	address, _ := hosts(t, 2)
	connectTo(t, address.Config("test", 30*time.Second)) // it is known to take writes, until now
	config := address.Config("test", 30*time.Second)
	config.RuntimeParams["default_transaction_read_only"] = "on"
	_, err := pgx.ConnectConfig(t.Context(), config)
	if !errors.Is(err, pgconn.ErrReadOnlyConnection) || postgres.NoWriter(err) != postgres.ReadOnly || strings.Contains(err.Error(), "not tried") {
		t.Errorf("%v", err)
	}
	alone, _ := hosts(t, 1)
	config = alone.Config("test", 30*time.Second)
	config.RuntimeParams["default_transaction_read_only"] = "on"
	connectTo(t, config)
}

// A server that has no more connections to give is still the one that those it has given lead to.
func TestARefusedConnectionDoesNotSendTheOthersAway(t *testing.T) {
	t.Parallel()
	role := testdb.Role(t, "few")
	u := database(t)
	testdb.Admin(t, "create role "+role+" login password 'secret' connection limit 1")
	u.User, u.RawQuery = url.UserPassword(role, "secret"), "sslmode=disable"
	address := testdb.Address(t, u.String())
	config := address.Config("test", 30*time.Second)
	conn, _ := connectTo(t, config)
	if _, err := pgx.ConnectConfig(t.Context(), config); err == nil {
		t.Fatal("there is no limit")
	}
	// What a failed attempt has to say is said when its context ends, which is a moment later.
	for deadline := time.Now().Add(500 * time.Millisecond); time.Now().Before(deadline); {
		if !address.Route().Leads(conn.PgConn()) || address.Route().Moved(conn.PgConn()) {
			t.Fatal("a connection that works is to be given up")
		}
	}
	address.Route().Distrust(conn.PgConn())
	if !address.Route().Leads(conn.PgConn()) {
		t.Error("it is given up although there is no other server")
	}
}
