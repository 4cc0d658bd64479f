package pg

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

// hangUpWhenCancelled closes the socket the moment a statement's time is up. pgx alone would first ask the server to
// cancel and keep the socket open until that request was answered: a server that hangs would, when it wakes, still
// find the connection alive and go on holding what the statement locked.
func hangUpWhenCancelled(conn *pgconn.PgConn) ctxwatch.Handler { return hangUp{conn} }

type hangUp struct{ conn *pgconn.PgConn }

func (h hangUp) HandleCancel(context.Context) { _ = h.conn.Conn().Close() }
func (h hangUp) HandleUnwatchAfterCancel()    {}

// nudgeWhenCancelled ends a wait for notifications without ending the connection, which is what the listening link needs.
func nudgeWhenCancelled(conn *pgconn.PgConn) ctxwatch.Handler {
	return &pgconn.DeadlineContextWatcherHandler{Conn: conn.Conn()}
}
