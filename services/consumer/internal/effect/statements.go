package effect

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Statements is the work of handlers in Go: each order's Work is the *pgx.Batch that its handler has left.
type Statements struct{}

// Prepare has nothing to find out.
func (Statements) Prepare(context.Context, *pgx.Conn) error { return nil }

// Run sends all orders' statements in one round trip. An error that comes with the first result may be about any of them: statements are
// prepared, and arguments encoded, before the first is run.
func (Statements) Run(ctx context.Context, conn *pgx.Conn, orders []Order) error {
	var all pgx.Batch
	for _, o := range orders {
		for _, q := range o.Work.(*pgx.Batch).QueuedQueries {
			// A copy: a batch that was sent remembers the connection's prepared statements, and this one may be sent again.
			all.Queue(q.SQL, q.Arguments...).Fn = q.Fn
		}
	}
	results := conn.SendBatch(ctx, &all)
	defer func() { _ = results.Close() }() // its error has been seen
	next := 0
	for i, o := range orders {
		for range o.Work.(*pgx.Batch).QueuedQueries {
			err := result(results, all.QueuedQueries[next])
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
	return q.Fn(results)
}

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
