package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/pooling"
)

// Transactional says whether a connection leads through a pooler that gives it a server's connection for one transaction at a time. Such a
// connection can do all but listen, lock beyond a transaction and have temporary tables; see package pooling.
func Transactional(conn *pgx.Conn) bool { return pooling.Transactional(conn.PgConn()) }

// pooler is what is known of what stands between a program and the server. Its connections share it.
type pooler struct {
	told *bool // by the address: it gives out connections for a transaction, or not

	mu            sync.Mutex
	transactional bool
	found         time.Time
}

// tries is how often two connections are compared. A pooler in transaction mode gives the one what the other had just now, unless a third
// one was quicker, or takes turns, so that each has another one every time.
const tries = 8

// statementMode is what PgBouncer says when it is in statement mode.
const statementMode = "transaction blocks not allowed in statement pooling mode"

// errStatementMode refuses it.
var errStatementMode = errors.New("a connection pooler in statement mode takes transactions apart, so nothing can be relied on: set pool_mode to transaction or session")

// errNoSecond says why it could not be found out.
var errNoSecond = errors.New("the connection pooler gives no second connection, so its mode cannot be found out: allow more (default_pool_size), or say pgbouncer=true in DATABASE_URL if it is in transaction mode")

// mode finds out whether the pooler that conn leads through is in transaction mode.
func (p *pooler) mode(ctx context.Context, conn *pgconn.PgConn, config *pgconn.Config) (transactional bool, err error) {
	if p.told != nil {
		return *p.told, nil
	}
	// What is in between may be set up anew at any time, so an answer is for those who had asked when it was found.
	asked := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found.After(asked) {
		return p.transactional, nil
	}
	p.found = time.Time{}
	p.transactional, err = compare(ctx, conn, config)
	if err != nil {
		return false, err
	}
	p.found = time.Now()
	return p.transactional, nil
}

// compare asks two connections by turns which of the server's processes serves them. In session mode each has one of its own for as long as
// it lasts.
func compare(ctx context.Context, conn *pgconn.PgConn, config *pgconn.Config) (transactional bool, err error) {
	own, err := backend(ctx, conn)
	if err != nil {
		return false, err
	}
	other, err := pgconn.ConnectConfig(ctx, besides(conn, config))
	if err != nil {
		return false, fmt.Errorf("%w: %w", errNoSecond, err)
	}
	defer func() {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 100*time.Millisecond)
		defer cancel()
		_ = other.Close(limited) // nothing depends on it
	}()
	last := ""
	for range tries {
		theirs, err := backend(ctx, other)
		if err != nil {
			return false, fmt.Errorf("%w: %w", errNoSecond, err)
		}
		now, err := backend(ctx, conn)
		if err != nil {
			return false, err
		}
		if theirs == own || now != own || last != "" && theirs != last {
			return true, nil
		}
		last = theirs
	}
	return false, nil
}

// besides is the configuration of another connection to where conn leads.
func besides(conn *pgconn.PgConn, config *pgconn.Config) *pgconn.Config {
	other, at := config.Copy(), conn.Conn().RemoteAddr()
	secure, encrypted := conn.Conn().(*tls.Conn)
	for _, f := range config.Fallbacks {
		if encrypted == (f.TLSConfig != nil) && (!encrypted || f.TLSConfig.ServerName == secure.ConnectionState().ServerName) {
			other.TLSConfig = f.TLSConfig
			break
		}
	}
	other.Fallbacks, other.AfterConnect, other.ValidateConnect = nil, nil, nil
	dial := config.DialFunc
	other.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, at.Network(), at.String()) }
	return other
}

// backend is the process that serves a connection just now.
func backend(ctx context.Context, conn *pgconn.PgConn) (string, error) {
	result := conn.ExecParams(ctx, "select pg_catalog.pg_backend_pid()", nil, nil, nil, nil).Read()
	if result.Err != nil {
		return "", fmt.Errorf("ask for the server's process: %w", result.Err)
	}
	return string(result.Rows[0][0]), nil
}

// holdsTransactions is nil when a transaction of several round trips stays together.
func holdsTransactions(ctx context.Context, conn *pgconn.PgConn) error {
	for _, sql := range []string{"begin", "rollback"} {
		if _, err := conn.Exec(ctx, sql).ReadAll(); err != nil {
			if strings.Contains(err.Error(), statementMode) {
				return errStatementMode
			}
			return fmt.Errorf("try a transaction: %w", err)
		}
	}
	return nil
}
