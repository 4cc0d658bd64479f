// Package doctor owns the examination of the database: what an operator would look at when a queue gets slow or stands
// still, with advice in words. It must only read, with a handful of cheap statements, and never be needed for the work.
package doctor

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/postgres"
	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/queue"
)

//go:embed sql/*.sql
var files embed.FS

func statement(name string, q *queue.Queue) string {
	text, err := files.ReadFile("sql/" + name + ".sql")
	if err != nil {
		panic(err) // embedded at build time
	}
	table, letters := q.Tables()
	return strings.NewReplacer("{queue}", table, "{dlq}", letters).Replace(string(text))
}

// Figures are what was measured.
type Figures struct {
	Server, Database, Role string

	Description queue.Description
	Missing     []string // rights
	Filters     []Filter // what may keep rows from being read or written without an error, the likely ones first
	Tables      []Table
	Holders     []Holder // of vacuum, the oldest first
	Waiting     *time.Duration
	Stranded    *Stranded   // nil: this role may not see it
	Letters     int         // dead letters, counted up to 100,000
	Consumers   int         // as far as this role may see
	Pooled      bool        // a connection pooler in transaction mode is in between, which shares sessions out: Consumers says nothing
	Effect      *Effect     // EFFECT_FUNCTION; nil: there is none
	Gate        *queue.Gate // what consumers may fetch; nil: this role may not see it
	Settings    map[string]string
	Standbys    int      // that replicate, whether commits wait for them or not
	Unlogged    []string // tables that a crash empties
	NotifyUsage float64  // share of the server's notification queue that is in use
}

// Table is one table's state.
type Table struct {
	Name       string
	Live, Dead int64
	Bytes      int64
	Vacuumed   *float64 // seconds ago; nil: never since the statistics began
	Vacuuming  bool
	Disabled   bool // autovacuum is switched off for it
}

// Filter is what may keep rows from being read or written without an error.
type Filter struct {
	Kind, Table, Name string // Name is empty for row-level security
	Active            bool   // it applies to this role, or shows that it suppresses writes
	Off               string // the statement that ends it
}

// Stranded is what the api's search for pending orders without a message has found.
type Stranded struct {
	Orders int64
	First  *int64   // the lowest id; nil: there is none
	Looked *float64 // seconds since what it has seen was committed; nil: it has not come to an end yet
}

// Effect is a function of the user's, and what the database has under its name.
type Effect struct {
	Name string
	effect.Description
}

// Holder is what keeps vacuum from removing rows that died after it began.
type Holder struct {
	Kind, Name string
	XminAge    int      // transactions back
	Seconds    *float64 // how long; nil: unknown
	Detail     string
}

// Examine measures. q says which queue, function which function does the work of orders; nil: none.
func Examine(ctx context.Context, conn *pgx.Conn, q *queue.Queue, function *effect.Function) (*Figures, error) {
	f := &Figures{Settings: map[string]string{}, Pooled: postgres.Transactional(conn)}
	var err error
	if f.Description, err = q.Describe(ctx, conn); err != nil {
		return nil, err
	}
	if err := conn.QueryRow(ctx, `select current_database(), current_user`).Scan(&f.Database, &f.Role); err != nil {
		return nil, fmt.Errorf("who are we: %w", err)
	}
	if err := f.settings(ctx, conn, q); err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	if f.Holders, err = holders(ctx, conn, q); err != nil {
		return nil, fmt.Errorf("look for what holds vacuum back: %w", err)
	}
	if !f.Description.Tables {
		return f, nil
	}
	if function != nil {
		found, err := function.Describe(ctx, conn)
		if err != nil {
			return nil, err
		}
		f.Effect = &Effect{function.String(), found}
	}
	table, letters := q.Tables()
	err = conn.QueryRow(ctx, statement("durability", q), []string{table, letters, "public.orders"}).Scan(&f.Standbys, &f.Unlogged)
	if err != nil && !denied(err) && !missing(err) { // said under rights, and under schema
		return nil, fmt.Errorf("look at what makes orders durable: %w", err)
	}
	rows, err := conn.Query(ctx, statement("rights", q), table, letters)
	if err == nil {
		f.Missing, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil {
		return nil, fmt.Errorf("look up rights: %w", err)
	}
	rows, err = conn.Query(ctx, statement("filters", q), table, letters)
	if err == nil {
		f.Filters, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Filter])
	}
	if err != nil && !denied(err) { // said under rights
		return nil, fmt.Errorf("look for what filters rows: %w", err)
	}
	rows, err = conn.Query(ctx, statement("tables", q), []string{table, letters, "public.orders"})
	if err == nil {
		f.Tables, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Table])
	}
	if err != nil {
		return nil, fmt.Errorf("look at tables: %w", err)
	}
	if g, err := q.ReadGate(ctx, conn); err == nil {
		f.Gate = &g
	} else if !denied(err) && code(err) != pgerrcode.UndefinedTable { // said under rights, and under schema
		return nil, err
	}
	var s Stranded
	if err := conn.QueryRow(ctx, statement("stranded", q)).Scan(&s.Orders, &s.First, &s.Looked); err == nil {
		f.Stranded = &s
	} else if !denied(err) && code(err) != pgerrcode.UndefinedTable { // said under rights, and under schema
		return nil, fmt.Errorf("look for stranded orders: %w", err)
	}
	var waiting *float64
	err = conn.QueryRow(ctx, statement("queue", q)).Scan(&waiting, &f.Letters, &f.Consumers, &f.NotifyUsage)
	if denied(err) {
		return f, nil // said under rights
	} else if err != nil {
		return nil, fmt.Errorf("look at the queue: %w", err)
	}
	if waiting != nil {
		d := time.Duration(*waiting * float64(time.Second))
		f.Waiting = &d
	}
	return f, nil
}

func (f *Figures) settings(ctx context.Context, conn *pgx.Conn, q *queue.Queue) error {
	rows, err := conn.Query(ctx, statement("settings", q))
	if err != nil {
		return err
	}
	var name, value string
	_, err = pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		f.Settings[name] = value
		return nil
	})
	f.Server = f.Settings["server_version"]
	return err
}

// holders merges what this role may see by itself with what the schema's function shows it.
func holders(ctx context.Context, conn *pgx.Conn, q *queue.Queue) ([]Holder, error) {
	var found []Holder
	seen := map[string]int{}
	for _, source := range []string{"holders", "holders_all", "holders_locks"} {
		rows, err := conn.Query(ctx, statement(source, q))
		var list []Holder
		if err == nil {
			list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Holder])
		}
		if denied(err) || missing(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		for _, h := range list {
			if at, ok := seen[h.Kind+h.Name]; ok {
				found[at].XminAge = max(found[at].XminAge, h.XminAge)
				if found[at].Seconds == nil {
					found[at].Seconds = h.Seconds
				}
				continue
			}
			seen[h.Kind+h.Name] = len(found)
			found = append(found, h)
		}
	}
	slices.SortStableFunc(found, func(a, b Holder) int { return cmp.Compare(b.XminAge, a.XminAge) })
	return found, nil
}

func denied(err error) bool { return code(err) == pgerrcode.InsufficientPrivilege }

// missing: no such function or schema, because the migrations have not been applied.
func missing(err error) bool {
	return code(err) == pgerrcode.UndefinedFunction || code(err) == pgerrcode.InvalidSchemaName
}

func code(err error) string {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return answer.Code
	}
	return ""
}
