package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/queue"
)

// question is something that is asked of the database.
type question struct {
	what     string             // for errors: to do what
	optional bool               // this role may not see it, or the schema may not have it: what there is to say of that is said under rights, and schema
	ask      func(b *pgx.Batch) // queues it, with what becomes of the answer; may be called twice
}

// ofServer are those that can be answered whatever the database contains.
func (f *Figures) ofServer(q *queue.Queue) []question {
	questions := []question{
		{what: "describe the database", ask: func(b *pgx.Batch) { q.AskDescription(b, &f.Description) }},
		{what: "read the schema's version", optional: true, ask: func(b *pgx.Batch) { q.AskSchemaVersion(b, &f.Description) }},
		{what: "ask who we are", ask: func(b *pgx.Batch) {
			b.Queue(`select current_database(), current_user, current_setting('application_name') !~ '^(orderflow-(command|consumer) |$)'`).QueryRow(
				into(&f.Database, &f.Role, &f.Renamed))
		}},
		{what: "read settings", ask: func(b *pgx.Batch) {
			b.Queue(statement("settings", q)).Query(func(rows pgx.Rows) error {
				var name, value string
				_, err := pgx.ForEachRow(rows, []any{&name, &value}, func() error {
					f.Settings[name] = value
					return nil
				})
				f.Server = f.Settings["server_version"]
				return err
			})
		}},
	}
	// What this role may see by itself, and what a function of the schema shows it.
	for _, source := range []string{"holders", "holders_all", "holders_locks"} {
		questions = append(questions, question{what: "look for what holds vacuum back", optional: true, ask: func(b *pgx.Batch) {
			b.Queue(statement(source, q)).Query(func(rows pgx.Rows) error {
				found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Holder])
				f.Holders = append(f.Holders, found...) // merged at last
				return err
			})
		}})
	}
	return questions
}

// ofTables are those about the orders and the queue, which have to be there.
func (f *Figures) ofTables(q *queue.Queue, function *effect.Function) []question {
	table, letters := q.Tables()
	all := []string{table, letters, "public.orders"}
	questions := []question{
		{what: "look at what makes orders durable", optional: true, ask: func(b *pgx.Batch) {
			b.Queue(statement("durability", q), all).QueryRow(into(&f.Standbys, &f.Unlogged))
		}},
		{what: "look up rights", ask: func(b *pgx.Batch) {
			b.Queue(statement("rights", q), table, letters).Query(collect(&f.Missing, pgx.RowTo[string]))
		}},
		{what: "look for what filters rows", optional: true, ask: func(b *pgx.Batch) {
			b.Queue(statement("filters", q), table, letters).Query(collect(&f.Filters, pgx.RowToStructByPos[Filter]))
		}},
		{what: "look at tables", ask: func(b *pgx.Batch) {
			b.Queue(statement("tables", q), all).Query(collect(&f.Tables, pgx.RowToStructByPos[Table]))
		}},
		{what: "read the gate", optional: true, ask: func(b *pgx.Batch) {
			q.AskGate(b, func(g queue.GateRow) { f.Gate = &g })
		}},
		{what: "look for stranded orders", optional: true, ask: func(b *pgx.Batch) {
			b.Queue(statement("stranded", q)).QueryRow(func(row pgx.Row) error {
				var s Stranded
				err := row.Scan(&s.Orders, &s.First, &s.Looked)
				if err == nil {
					f.Stranded = &s
				}
				return err
			})
		}},
		{what: "look for sequences that are behind", optional: true, ask: func(b *pgx.Batch) {
			b.Queue(statement("sequences", q), table, letters).Query(collect(&f.Behind, pgx.RowTo[string]))
		}},
		{what: "look at what was restored", optional: true, ask: func(b *pgx.Batch) {
			b.Queue(statement("restored", q)).QueryRow(into(&f.Restored, &f.Nameless))
		}},
		{what: "look at the queue", optional: true, ask: func(b *pgx.Batch) {
			b.Queue(statement("queue", q)).QueryRow(func(row pgx.Row) error {
				var waiting *float64
				err := row.Scan(&waiting, &f.Letters, &f.Consumers, &f.NotifyUsage)
				if waiting != nil {
					d := time.Duration(*waiting * float64(time.Second))
					f.Waiting = &d
				}
				return err
			})
		}},
	}
	if function != nil {
		questions = slices.Insert(questions, 0, question{what: "look for EFFECT_FUNCTION", ask: func(b *pgx.Batch) {
			f.Effect = &Effect{Name: function.String()}
			function.Ask(b, &f.Effect.Description)
		}})
	}
	return questions
}

// into scans a row.
func into(values ...any) func(pgx.Row) error {
	return func(row pgx.Row) error { return row.Scan(values...) }
}

// collect takes all rows.
func collect[T any](to *[]T, each pgx.RowToFunc[T]) func(pgx.Rows) error {
	return func(rows pgx.Rows) (err error) {
		*to, err = pgx.CollectRows(rows, each)
		return err
	}
}

// askTogether asks in one transaction: the first error ends it.
func askTogether(ctx context.Context, conn *pgx.Conn, questions []question) error {
	var b pgx.Batch
	for _, q := range questions {
		q.ask(&b)
	}
	if err := conn.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("examine the database: %w", err)
	}
	return nil
}

// askEach asks in a transaction each.
func askEach(ctx context.Context, conn *pgx.Conn, questions []question) error {
	for _, q := range questions {
		var b pgx.Batch
		q.ask(&b)
		if err := conn.SendBatch(ctx, &b).Close(); err != nil && (!q.optional || !unseen(err)) {
			return fmt.Errorf("%s: %w", q.what, err)
		}
	}
	return nil
}

// unseen says whether an error is that of a role without a right, or of a database without a migration.
func unseen(err error) bool {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.Code {
	case pgerrcode.InsufficientPrivilege, pgerrcode.UndefinedFunction, pgerrcode.InvalidSchemaName, pgerrcode.UndefinedTable:
		return true
	}
	return false
}
