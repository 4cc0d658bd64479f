package effect

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/services/consumer/internal/handler"
)

// Statements is the work of handlers in Go: each order's Work is the *pgx.Batch that its handler has left.
type Statements struct{}

// Prepare has nothing to find out.
func (Statements) Prepare(context.Context, *pgx.Conn) error { return nil }

// Run sends all orders' statements in one round trip. An error that comes with the first result may be about any of them: statements are
// prepared, and arguments encoded, before the first is run.
func (Statements) Run(ctx context.Context, conn *pgx.Conn, orders []Order) error {
	results, err := send(ctx, conn, orders)
	if err != nil {
		return err
	}
	defer func() { _ = results.Close() }() // its error has been seen
	next := 0
	for i, o := range orders {
		for _, q := range o.Work.(*pgx.Batch).QueuedQueries {
			err := result(results, q)
			next++
			switch {
			case err == nil:
			case conn.IsClosed() && !unencodable(err):
				return err
			case next == 1:
				return &FailedError{unknown, err}
			default:
				return &FailedError{i, err}
			}
		}
	}
	return results.Close()
}

// send sends the statements. An argument that panics, as it is encoded, is the failure of one of the orders. What has been sent by then is
// half a batch: the connection is of no more use.
func send(ctx context.Context, conn *pgx.Conn, orders []Order) (results pgx.BatchResults, err error) {
	defer func() {
		if p := recover(); p != nil {
			_ = conn.Close(ctx)
			err = &FailedError{unknown, fmt.Errorf("panic over an argument: %v", p)}
		}
	}()
	var all pgx.Batch
	for _, o := range orders {
		for _, q := range o.Work.(*pgx.Batch).QueuedQueries {
			// A copy: a batch that was sent remembers the connection's prepared statements, and this one may be sent again. It has no functions that
			// look at results: closing it, after one has failed, would call the others.
			all.Queue(q.SQL, q.Arguments...)
		}
	}
	return conn.SendBatch(ctx, &all), nil
}

// unencodable says whether an argument cannot be sent as what its statement takes. pgx has no type for that, and gives the connection up.
func unencodable(err error) bool {
	return strings.Contains(err.Error(), "failed to encode args[") || strings.Contains(err.Error(), " arguments, got ")
}

// result reads one statement's result, as its handler wants to. What panics there is the order's failure and not the process's end.
func result(results pgx.BatchResults, q *pgx.QueuedQuery) (err error) {
	if q.Fn == nil {
		_, err = results.Exec()
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic over the result of %q: %v", q.SQL, p)
		}
	}()
	return plain(q.Fn(results))
}

// plain is a user's error as one of ours, from which the server's answer can still be told, if there was one.
func plain(err error) error {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return answered{handler.Plain(err), answer}
	}
	return handler.Plain(err)
}

type answered struct {
	error
	answer *pgconn.PgError
}

func (a answered) Unwrap() []error { return []error{a.error, a.answer} }

// ErrTransaction refuses statements that would end the transaction that they are to be a part of.
var ErrTransaction = errors.New("a statement in the transaction of the ack must not begin or end a transaction")

// Allowed says whether a statement can be part of the ack's transaction.
func Allowed(sql string) error {
	word := strings.ToLower(firstWord(sql))
	switch word {
	case "begin", "start", "commit", "end", "rollback", "abort", "prepare", "savepoint", "release":
		return fmt.Errorf("%w: %s", ErrTransaction, word)
	}
	return nil
}

// firstWord skips white space, comments and semicolons.
func firstWord(sql string) string {
	for {
		sql = strings.TrimLeft(sql, " \t\r\n\f\v;")
		switch {
		case strings.HasPrefix(sql, "--"):
			_, sql, _ = strings.Cut(sql, "\n")
		case strings.HasPrefix(sql, "/*"):
			sql = sql[commentEnd(sql):]
		default:
			end := strings.IndexFunc(sql, func(r rune) bool { return (r|0x20) < 'a' || (r|0x20) > 'z' })
			if end < 0 {
				return sql
			}
			return sql[:end]
		}
	}
}

// commentEnd is where a comment ends; Postgres' comments nest.
func commentEnd(sql string) int {
	depth := 0
	for i := 0; i+1 < len(sql); {
		switch sql[i : i+2] {
		case "/*":
			depth++
			i += 2
		case "*/":
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return len(sql)
}
