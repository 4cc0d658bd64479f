// Package doctor owns the examination of the database: what an operator would look at when a queue gets slow or stands
// still, with advice in words. It must only read, with a handful of cheap statements, and never be needed for the work.
package doctor

import (
	"cmp"
	"context"
	"embed"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

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
	Stranded    *Stranded      // nil: this role may not see it
	Behind      []string       // sequences that give out ids that are taken
	Restored    *time.Time     // when an order was completed that was restored without orderflow.installation; nil: there is none
	Nameless    bool           // orderflow.installation is empty: nothing names this installation
	Letters     int            // dead letters, counted up to 100,000
	Consumers   int            // as far as this role may see
	Pooled      bool           // a connection pooler in transaction mode is in between, which shares sessions out: Consumers says nothing
	Renamed     bool           // this session has not the name that we give it, so the consumers' may have none that Consumers knows
	Effect      *Effect        // EFFECT_FUNCTION; nil: there is none
	Gate        *queue.GateRow // what consumers may fetch; nil: this role may not see it
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

// Examine measures. q says which queue, function which function does the work of orders; nil: none. Every consumer is examined at each scrape,
// so all is asked in one transaction, after one in which the statements are described; only a role that may not see everything is asked
// question by question.
func Examine(ctx context.Context, conn *pgx.Conn, q *queue.Queue, function *effect.Function) (*Figures, error) {
	f := &Figures{Settings: map[string]string{}, Pooled: postgres.Transactional(conn)}
	always, withTables := f.ofServer(q), f.ofTables(q, function)
	err := askTogether(ctx, conn, slices.Concat(always, withTables))
	if queue.Answered(err) { // something is missing, or may not be seen
		if err = askEach(ctx, conn, always); err == nil && f.Description.Tables {
			err = askEach(ctx, conn, withTables)
		}
	}
	if err != nil {
		return nil, err
	}
	f.Holders = merged(f.Holders)
	return f, nil
}

// merged makes one of what several sources tell of the same holder, and puts the oldest first.
func merged(told []Holder) []Holder {
	var found []Holder
	seen := map[string]int{}
	for _, h := range told {
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
	slices.SortStableFunc(found, func(a, b Holder) int { return cmp.Compare(b.XminAge, a.XminAge) })
	return found
}
