package pg

import (
	"context"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

// A half-open connection (the peer is gone and nobody said so) is found out by probes when idle, after
// 5 s + 3 × 2 s, and by tcp_user_timeout when data is on its way.
const unacknowledged = 6 * time.Second

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
		Control:         limitUnacknowledged,
	}
	return d.DialContext(ctx, network, address)
}

// hangUpWhenCancelled closes the socket the moment a statement's time is up. pgx alone would first ask the server to
// cancel and keep the socket open until that request was answered: a server that hangs would, when it wakes, still
// find the connection alive and go on holding what the statement locked.
func hangUpWhenCancelled(conn *pgconn.PgConn) ctxwatch.Handler { return hangUp{conn} }

type hangUp struct{ conn *pgconn.PgConn }

func (h hangUp) HandleCancel(context.Context) { _ = h.conn.Conn().Close() }
func (h hangUp) HandleUnwatchAfterCancel()    {}

// nudge ends a wait for notifications without ending the connection, which is what the listening link needs.
func nudgeWhenCancelled(conn *pgconn.PgConn) ctxwatch.Handler {
	return &pgconn.DeadlineContextWatcherHandler{Conn: conn.Conn()}
}
