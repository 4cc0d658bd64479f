package postgres_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/pgbouncer"
	"orderflow.example/kit/postgres"
	"orderflow.example/kit/testdb"
)

func connect(t *testing.T, address string) (*pgx.Conn, error) {
	t.Helper()
	a, err := postgres.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(t.Context(), a.Config("test", 30*time.Second))
	if err == nil {
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
	}
	return conn, err
}

// Without its own client_encoding a session has the database's, and each byte of a letter is stored as a letter.
func TestLettersSurviveADatabaseOfAnotherEncoding(t *testing.T) {
	t.Parallel()
	u := database(t, "encoding 'LATIN1' template template0 lc_collate 'C' lc_ctype 'C'")
	conn, err := connect(t, u.String())
	if err != nil {
		t.Fatal(err)
	}
	var (
		length int
		bytes  []byte
		back   string
	)
	if err := conn.QueryRow(t.Context(), `select length($1::text), convert_to($1::text, 'LATIN1'), $1::text`, "Müller").Scan(&length, &bytes, &back); err != nil {
		t.Fatal(err)
	}
	if length != 6 || string(bytes) != "M\xfcller" || back != "Müller" {
		t.Errorf("%d letters, % x, %s", length, bytes, back)
	}
	// What the database cannot hold is refused, and not stored as something else.
	var refused *pgconn.PgError
	err = conn.QueryRow(t.Context(), `select $1::text`, "東京").Scan(&back)
	if !errors.As(err, &refused) || refused.Code != pgerrcode.UntranslatableCharacter {
		t.Errorf("%v", err)
	}
}

// A database without an encoding holds bytes, whoever wrote them.
func TestADatabaseWithoutAnEncodingIsReadAsTheBytesItHas(t *testing.T) {
	t.Parallel()
	u := database(t, "encoding 'SQL_ASCII' template template0 lc_collate 'C' lc_ctype 'C'")
	conn, err := connect(t, u.String())
	if err != nil {
		t.Fatal(err)
	}
	var latin, utf8 string
	if err := conn.QueryRow(t.Context(), `select e'M\xfcller', $1::text`, "Müller").Scan(&latin, &utf8); err != nil || latin != "M\xfcller" || utf8 != "Müller" {
		t.Errorf("%q, %q, %v", latin, utf8, err)
	}
}

// A policy that hides rows makes a statement match nothing, which looks like success. It has to be an error.
func TestARowLevelSecurityPolicyIsAnErrorAndNoFilter(t *testing.T) {
	t.Parallel()
	role, password := testdb.Role(t, "role"), "secret"
	u := database(t)
	owner, err := connect(t, u.String())
	if err != nil {
		t.Fatal(err)
	}
	testdb.Admin(t, fmt.Sprintf("create role %s login password '%s'", role, password))
	for _, statement := range []string{
		"create table things (id integer)", "insert into things values (1)", "grant all on things to " + role,
		"alter table things enable row level security", "create policy nobody on things using (false)",
	} {
		if _, err := owner.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _, _ = owner.Exec(context.Background(), "drop owned by "+role) })
	u.User = url.UserPassword(role, password)
	conn, err := connect(t, u.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"select id from things", "update things set id = 2", "delete from things"} {
		var refused *pgconn.PgError
		if tag, err := conn.Exec(t.Context(), statement); !errors.As(err, &refused) || refused.Code != pgerrcode.InsufficientPrivilege {
			t.Errorf("%s: %s, %v", statement, tag, err)
		}
	}
}

// speaksTLS tells whether the server for the tests has a certificate.
func speaksTLS(t *testing.T) (yes bool) {
	t.Helper()
	conn, err := connect(t, server(t).String())
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.QueryRow(t.Context(), `select current_setting('ssl')::boolean`).Scan(&yes); err != nil {
		t.Fatal(err)
	}
	return yes
}

// What the server refuses for good is told from a server that is away.
func TestRefusalsAreToldFromOutages(t *testing.T) {
	t.Parallel()
	role, stranger := testdb.Role(t, "role"), testdb.Role(t, "stranger")
	base := database(t)
	testdb.Admin(t, fmt.Sprintf("create role %s nologin password 'secret'", role), fmt.Sprintf("revoke connect on database %s from public", base.Path[1:]))
	testdb.Admin(t, fmt.Sprintf("create role %s login password 'secret'", stranger))
	with := func(change func(u *url.URL)) string {
		u := *base
		change(&u)
		return u.String()
	}
	for what, test := range map[string]struct{ address, want string }{
		"wrong password":  {with(func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "wrong") }), "database refuses the password"},
		"unknown role":    {with(func(u *url.URL) { u.User = url.UserPassword("nobody_"+stranger, "wrong") }), "database refuses the password"},
		"may not log in":  {with(func(u *url.URL) { u.User = url.UserPassword(role, "secret") }), "database refuses the role"},
		"may not connect": {with(func(u *url.URL) { u.User = url.UserPassword(stranger, "secret") }), "role may not connect to the database"},
		"no database":     {with(func(u *url.URL) { u.Path = "/nothing" }), "database does not exist"},
		"wrong value":     {with(func(u *url.URL) { u.RawQuery = "sslmode=disable&work_mem=much" }), "database refuses the value of a parameter"},
		"too new":         {with(func(u *url.URL) { u.RawQuery = "sslmode=disable&options=-c%20newer=1" }), "database does not know a parameter of DATABASE_URL"},
		"no TLS":          {with(func(u *url.URL) { u.RawQuery = "sslmode=verify-full" }), "database does not speak TLS, which sslmode requires"},
		"away":            {with(func(u *url.URL) { u.Host = "127.0.0.1:1" }), ""},
		"no such host":    {with(func(u *url.URL) { u.Host = "no-such-host.invalid:1" }), ""},
	} {
		if what == "no TLS" && speaksTLS(t) {
			continue
		}
		_, err := connect(t, test.address)
		if err == nil {
			t.Errorf("%s: connected", what)
		} else if got := postgres.Refusal(err); got != test.want {
			t.Errorf("%s: %q, want %q, of %v", what, got, test.want, err)
		}
	}
	// A statement's error is not the server's refusal to connect.
	conn, err := connect(t, base.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "set work_mem = 'much'"); postgres.Refusal(err) != "" || err == nil {
		t.Errorf("%v: %s", err, postgres.Refusal(err))
	}
}

// A certificate that is not accepted stays so until somebody changes something: it is no outage.
func TestACertificateThatIsNotAcceptedIsARefusal(t *testing.T) {
	t.Parallel()
	web := httptest.NewTLSServer(nil) // for its certificate, which is example.com's, and its own authority
	defer web.Close()
	authority := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go offerTLS(listener, web.TLS.Certificates)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for what, at := range map[string]string{
		"unknown authority": "127.0.0.1:" + port + "/d?sslmode=verify-full",
		"another's name":    "wrong.invalid:" + port + "/d?sslmode=verify-full&hostaddr=127.0.0.1&sslrootcert=" + authority,
	} {
		_, err := connect(t, "postgres://u:p@"+at)
		if got := postgres.Refusal(err); got != "database's certificate is not accepted" {
			t.Errorf("%s: %q, of %v", what, got, err)
		}
	}
}

// offerTLS is a server as far as the end of its TLS handshake.
func offerTLS(listener net.Listener, certificates []tls.Certificate) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if _, err := io.ReadFull(conn, make([]byte, 8)); err == nil { // SSLRequest
			_, _ = conn.Write([]byte("S"))
			_ = tls.Server(conn, &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS12}).Handshake() // which the client ends
		}
		_ = conn.Close()
	}
}

func TestEachErrorOfAnOutageIsNewsOnce(t *testing.T) {
	t.Parallel()
	var o postgres.Outage
	for i, test := range []struct {
		err  string
		news bool
	}{
		{"dial: connection refused", true},
		{"dial: connection refused", false},
		{"read tcp 127.0.0.1:4711->127.0.0.1:5432: reset", true},
		{"read tcp 127.0.0.1:4712->127.0.0.1:5432: reset", false},
		{"dial: connection refused", false},
		{"password", true},
		// The other side ends the connection, now a little earlier, now a little later.
		{"u@d: h (::1): failed to receive message: unexpected EOF", true},
		{"u@d: h (::1): failed to receive message: read tcp [::1]:4713->[::1]:5432: read: connection reset by peer", false},
		{"u@d: h (::1): failed to write startup message: write: broken pipe\nu@d: h (::1): dial error: dial tcp [::1]:5432: connect: connection reset by peer", false},
		{"u@d: h (::2): failed to receive message: unexpected EOF", true},
	} {
		if got := o.News(errors.New(test.err)); got != test.news {
			t.Errorf("%d %s: news is %v", i, test.err, got)
		}
	}
	o.Over()
	if !o.News(errors.New("password")) {
		t.Error("the next outage has no news")
	}
	told := 0
	for i := range 1000 {
		if o.News(fmt.Errorf("error %d", i)) {
			told++
		}
	}
	if told > 20 {
		t.Errorf("%d errors are told", told)
	}
}

func TestBriefIsOneLineWithoutRepetition(t *testing.T) {
	t.Parallel()
	got := postgres.Brief(errors.New("failed:\n\ta: refused\n\tb: refused\n\ta: refused"))
	if got != "failed: a: refused b: refused" {
		t.Fatal(got)
	}
}

// What a server refuses of a session's settings costs that setting and not the connection; a stricter limit of somebody else's stays. It is so
// through a pooler in transaction mode, too, where each transaction is set.
func TestSettingsAreMadeWhereTheyCanBe(t *testing.T) {
	t.Parallel()
	u := database(t)
	testdb.Admin(t, "alter database "+u.Path[1:]+" set statement_timeout = '25s'", "alter database "+u.Path[1:]+" set lock_timeout = '1h'")
	settings := postgres.Timeouts(30*time.Second, 777*time.Millisecond, 3*time.Second).With(postgres.Settings{
		"plan_cache_mode": "forbidden", "not_a_setting": "1", "jit": "off", "TimeZone": "UTC",
	})
	made := func(t *testing.T, address string) {
		t.Helper()
		conn, err := connect(t, address)
		if err != nil {
			t.Fatal(err)
		}
		if err := settings.Apply(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"statement_timeout": "25s", "lock_timeout": "777ms", "idle_in_transaction_session_timeout": "3s", "plan_cache_mode": "auto", "jit": "off", "TimeZone": "UTC",
		} {
			if got := show(t, conn, name); got != want {
				t.Errorf("%s is %s, want %s", name, got, want)
			}
		}
	}
	t.Run("server", func(t *testing.T) { made(t, u.String()) })
	t.Run("pooler", func(t *testing.T) { made(t, testdb.Pooler(t, u.String(), pgbouncer.Transaction, 3).URL) })
}
