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

// Run sends all orders' statements in one round trip.
func (Statements) Run(ctx context.Context, conn *pgx.Conn, orders []Order) error {
	var all pgx.Batch
	for _, o := range orders {
		for _, q := range o.Work.(*pgx.Batch).QueuedQueries {
			// A copy: a batch that was sent remembers the connection's prepared statements, and this one may be sent again.
			all.Queue(q.SQL, q.Arguments...).Fn = q.Fn
		}
	}
	results := conn.SendBatch(ctx, &all)
	defer func() { _ = results.Close() }() // the error has been seen
	next := 0
	for i, o := range orders {
		for range o.Work.(*pgx.Batch).QueuedQueries {
			var err error
			if fn := all.QueuedQueries[next].Fn; fn != nil {
				err = fn(results)
			} else {
				_, err = results.Exec()
			}
			next++
			if err != nil && conn.IsClosed() {
				return err
			}
			if err != nil {
				return &FailedError{i, err}
			}
		}
	}
	return results.Close()
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
