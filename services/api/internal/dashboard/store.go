package dashboard

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/isotime"
	"orderflow.example/services/api/internal/queue"
)

//go:embed sql/look.sql
var lookFile string

// lookSQL has the texts of orders, which anybody may have written, as they are to be shown.
func lookSQL(as database.ShownAs) string {
	return "/* orderflow dashboard */ " + strings.NewReplacer(
		"{created_at}", isotime.Bounded("o.created_at"), "{completed_at}", isotime.Bounded("o.completed_at"), "{gate}", queue.GateColumns,
		"{customer_name}", as("left(o.customer_name, 101)"), "{product_name}", as("left(o.product_name, 101)"), "{status}", as("left(o.status, 20)"),
	).Replace(lookFile)
}

// store reads what the dashboard shows.
type store struct {
	db      *pgxpool.Pool
	queue   *queue.Queue
	watcher *queue.Watcher
}

// seen is what one look at the database brings.
type seen struct {
	now       time.Time
	figures   queue.Snapshot // of the queue; a few seconds older when looking takes long
	processes []process
	samples   []sample // those that are new
	counts    counts
	latest    []latestRow
	findings  findings
	consuming queue.Consuming
}

// process is a row of orderflow.processes.
type process struct {
	Key, Name, Kind, State               string
	StartedAt                            time.Time `json:"started_at"`
	SeenAt                               time.Time `json:"seen_at"`
	Ago                                  float64   // seconds since seen_at, or until then: its clock was ahead
	Every                                float64
	Busy, Capacity                       int
	Accepted, Completed, Failed, Retried int64
	Dead                                 int64
	Latency                              []int64
}

type latestRow struct {
	ID           int64  `json:"id"`
	CreatedAt    int64  `json:"created_at"` // in µs since 1970
	CustomerName string `json:"customer_name"`
	ProductName  string `json:"product_name"`
	Status       string
	Attempts     int32
	CompletedAt  *int64 `json:"completed_at"`
}

// counts are what is known of the orders; see balance.go.
type counts struct {
	Ranges    int64
	Completed int64
	Dead      int64
	UnderWay  int64 `json:"under_way"`
	Lost      int64
	Example   *int64
	Stranded  int64  // found by the search for stranded orders, those that name no message among them
	First     *int64 `json:"first_stranded"`
	CheckedAt *int64 `json:"checked_at"` // in µs since 1970
	LastID    *int64 `json:"last_id"`    // the end of the last range
	NewestID  *int64 `json:"newest_id"`  // of an order
}

type findings struct {
	at    *time.Time
	by    string
	stale bool
	list  []Finding
}

// look reads everything in one round trip. since is the step of the last sample that is known. With a report it takes that along.
func (s *store) look(ctx context.Context, since int64, r *report) (found *seen, err error) {
	err = database.Legibly(func(as database.ShownAs) error {
		b := &pgx.Batch{}
		r.add(b, s.queue.Name())
		done := s.watcher.Join(b)
		found = &seen{}
		b.Queue(lookSQL(as), s.queue.Name(), since).QueryRow(func(row pgx.Row) error { return found.read(row) })
		err := s.db.SendBatch(ctx, b).Close()
		done(err)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look: %w", err)
	}
	// Somebody else is looking at the queue just now, or it takes so long that this is not done every time.
	figures, ok := s.watcher.Last()
	if !ok {
		if figures, err = s.watcher.Get(ctx); err != nil {
			return nil, fmt.Errorf("look at the queue: %w", err)
		}
	}
	found.figures = figures
	return found, nil
}

func (f *seen) read(row pgx.Row) error {
	var gate queue.Gate
	var processes, samples, counts, latest, list []byte
	into := append([]any{&f.now, &processes, &samples, &counts, &latest, &f.findings.at, &f.findings.by, &list, &f.findings.stale}, gate.Targets()...)
	if err := row.Scan(into...); err != nil {
		return err
	}
	f.consuming = gate.Consuming()
	for _, part := range []struct {
		raw  []byte
		into any
	}{{processes, &f.processes}, {samples, &f.samples}, {counts, &f.counts}, {latest, &f.latest}} {
		if err := json.Unmarshal(part.raw, part.into); err != nil {
			return fmt.Errorf("read what was looked up: %w", err)
		}
	}
	// What the doctor's row holds is anybody's to write who may write to it.
	if json.Unmarshal(list, &f.findings.list) != nil {
		f.findings.list = nil
	}
	return nil
}
