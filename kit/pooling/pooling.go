// Package pooling lets a pgx connection work through a pooler in transaction mode, as PgBouncer's pool_mode = transaction is: each
// transaction may get another one of the server's connections. So nothing of a session lasts there, and what a session is set to would be
// found by whichever client gets that connection next.
//
// What a session would keep is therefore kept here, and sent along with each transaction, in the same round trip: the settings, until the
// end of the transaction (SET LOCAL), and the prepared statements, as statements without a name. Who uses the connection need not know.
// What this cannot do: LISTEN, session-level advisory locks, temporary tables, WITH HOLD cursors.
//
// It must never know which settings there are or what they are for, and never change anything of a connection that no pooler is in.
package pooling

import (
	"context"
	"crypto/tls"
	"io"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// Prepare makes the connections that config will make able to become transactional. Whoever changes config.DialFunc afterwards has to call
// the one that is there.
func Prepare(config *pgconn.Config) {
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &conn{Conn: c}, nil
	}
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		c := find(w)
		if c == nil {
			return pgproto3.NewFrontend(r, w)
		}
		f := newFilter(r, w)
		c.filter = f
		return pgproto3.NewFrontend(f, f)
	}
}

// conn carries the filter of its connection, so that it can be found again. TLS is above it, and the filter above TLS.
type conn struct {
	net.Conn
	filter *filter
}

func find(w any) *conn {
	if t, ok := w.(*tls.Conn); ok {
		w = t.NetConn()
	}
	c, _ := w.(*conn)
	return c
}

func filterOf(c *pgconn.PgConn) *filter {
	if found := find(c.Conn()); found != nil {
		return found.filter
	}
	return nil
}

// Begin makes a connection that is idle transactional: from now on each transaction brings along what it needs. It says false when the
// connection was not made by a configuration that Prepare has seen.
func Begin(c *pgconn.PgConn) bool {
	f := filterOf(c)
	if f == nil {
		return false
	}
	f.begin()
	return true
}

// Transactional says whether a connection is.
func Transactional(c *pgconn.PgConn) bool {
	f := filterOf(c)
	return f != nil && f.active()
}

// Set has each transaction of a transactional connection begin with these settings, besides those that it already begins with. They are
// sent as they are: whether the server takes them is to be tried before.
func Set(c *pgconn.PgConn, settings map[string]string) { filterOf(c).set(settings) }

// Settings are those that each transaction begins with.
func Settings(c *pgconn.PgConn) map[string]string { return maps.Clone(filterOf(c).settings) }

// prologue is the statement that makes settings for the transaction that it is in.
func prologue(settings map[string]string) string {
	if len(settings) == 0 {
		return ""
	}
	var calls []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		calls = append(calls, "pg_catalog.set_config("+quote(name)+", "+quote(settings[name])+", true)")
	}
	return "select " + strings.Join(calls, ", ")
}

// quote makes a literal that means the same whatever standard_conforming_strings is.
func quote(text string) string {
	text = strings.ReplaceAll(text, "'", "''")
	if strings.Contains(text, `\`) {
		return ` E'` + strings.ReplaceAll(text, `\`, `\\`) + `'`
	}
	return "'" + text + "'"
}
