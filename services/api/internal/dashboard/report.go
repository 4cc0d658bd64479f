package dashboard

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// This process's own row of orderflow.processes: how many orders it has accepted. It is written when there is something new to say, and
// otherwise often enough to be known to be there.
const (
	reportIdle  = 5 * time.Second
	reportEvery = 2 * reportIdle // what is promised
)

// reporter knows when there is something to report.
type reporter struct {
	key, name string
	started   time.Time
	accepted  func() int64

	mu   sync.Mutex
	last int64
	at   time.Time
}

func newReporter(accepted func() int64) *reporter {
	name, err := os.Hostname()
	if err != nil {
		name = "api"
	}
	return &reporter{key: fmt.Sprintf("%.200s/%016x", name, rand.Uint64()), name: name, started: time.Now(), accepted: accepted}
}

// report is what is to be said; nil: nothing.
type report struct {
	*reporter
	accepted int64
}

// due is the report to be sent now. It is not sent again when that fails: the next one tells the same.
func (r *reporter) due(now time.Time) *report {
	r.mu.Lock()
	defer r.mu.Unlock()
	accepted := r.accepted()
	if accepted == r.last && now.Sub(r.at) < reportIdle {
		return nil
	}
	r.last, r.at = accepted, now
	return &report{r, accepted}
}

// add puts a report into a batch. What goes wrong with it is of no consequence (see orderflow.report).
func (r *report) add(b *pgx.Batch, queue string) {
	if r == nil {
		return
	}
	b.Queue(`select orderflow.report($1, $2, 'api', $3, $4, $5, $6, 0, 0, $7, 0, 0, 0, 0, '{}')`,
		r.key, queue, r.name, time.Since(r.started).Seconds(), reportEvery.Seconds(), "working", r.accepted)
}

// send reports, when nobody looks and so takes it along.
func (s *store) send(ctx context.Context, r *report) error {
	if r == nil {
		return nil
	}
	b := &pgx.Batch{}
	r.add(b, s.queue.Name())
	if err := s.db.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
