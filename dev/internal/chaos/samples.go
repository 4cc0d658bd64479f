package chaos

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/stack"
)

// Sample is what a system that runs for long had at a moment, in the order of lines.
type Sample struct {
	At     time.Duration // since the beginning
	Values []float64
}

// measure is one thing that must not grow for ever.
type measure struct {
	name string
	// may is how much its trend may rise over the second half of a run: a part of its mean, and least at any rate.
	may, least float64
	sql        string // empty: of a process
}

// lines are all of them, with the bounds by which a soak is judged.
var lines = []measure{
	{name: "api_rss_mib", may: 0.10, least: 4},
	{name: "consumer_rss_mib", may: 0.10, least: 4},
	{name: "connections", may: 0.10, least: 1, sql: `select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend'`},
	{name: "orders", may: 0.10, least: 1000, sql: `select count(*) from public.orders`}, // those that retention keeps
	{name: "orders_mib", may: 0.10, least: 2, sql: `select pg_total_relation_size('public.orders') / 1048576.0`},
	{name: "queue_mib", may: 0.10, least: 2, sql: `select pg_total_relation_size('pgmq.q_order_queue') / 1048576.0`},
	{name: "dead_letters_mib", may: 0.10, least: 2, sql: `select pg_total_relation_size('pgmq.q_order_queue_dlq') / 1048576.0`},
	{name: "other_mib", may: 0.10, least: 2, sql: `select sum(pg_total_relation_size(c.oid)) / 1048576.0 from pg_class c where c.relnamespace = 'orderflow'::regnamespace and c.relkind = 'r'`},
	{name: "dead_rows", may: 0.25, least: 5000, sql: `select coalesce(sum(n_dead_tup), 0) from pg_stat_user_tables`},
}

// sample looks again and again, until ctx ends. Where the database does not answer, since it is away just now, a moment is left out.
func (r *Rig) sample(ctx context.Context, every time.Duration) []Sample {
	var samples []Sample
	tick := time.NewTicker(every)
	defer tick.Stop()
	for began := time.Now(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return samples
		}
		if values, err := r.look(ctx); err == nil {
			samples = append(samples, Sample{time.Since(began), values})
		}
	}
}

func (r *Rig) look(ctx context.Context) ([]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, r.databaseURL)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	processes := []*stack.Node{r.api, r.consumers[0]}
	values := make([]float64, len(lines))
	var errs []error
	for i, m := range lines {
		if m.sql == "" {
			values[i], err = resident(processes[i].Process().PID())
		} else {
			err = conn.QueryRow(ctx, "select ("+m.sql+")::float8").Scan(&values[i])
		}
		errs = append(errs, err)
	}
	return values, errors.Join(errs...)
}

// resident is a process's memory in MiB.
func resident(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	var size, pages float64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		return 0, fmt.Errorf("read a process's memory: %w", err)
	}
	return pages * float64(os.Getpagesize()) / (1 << 20), nil
}

// Trend is how one measure went.
type Trend struct {
	Name        string
	Mean, Rise  float64 // over the second half: the mean, and how much the line of best fit rises from the half to the end
	Most        float64 // at any time
	May         float64
	Flat        bool
	FirstSample float64
}

// Trends judges the second half of a run by the line that fits it best. The first half is for what has to fill once.
func (s Soak) Trends() []Trend {
	var trends []Trend
	for i, m := range lines {
		t := Trend{Name: m.name}
		var at, values []float64
		for n, sample := range s.Samples {
			t.Most = max(t.Most, sample.Values[i])
			if n == 0 {
				t.FirstSample = sample.Values[i]
			}
			if n >= len(s.Samples)/2 {
				at, values = append(at, sample.At.Seconds()), append(values, sample.Values[i])
			}
		}
		t.Mean, t.Rise = fit(at, values)
		t.May = max(m.may*t.Mean, m.least)
		t.Flat = len(values) > 2 && t.Rise <= t.May
		trends = append(trends, t)
	}
	return trends
}

// fit is the mean of values, and the rise of the straight line with the least squares from the first to the last of the moments.
func fit(at, values []float64) (mean, rise float64) {
	n := float64(len(values))
	if n == 0 {
		return 0, 0
	}
	var x, y float64
	for i := range values {
		x, y = x+at[i]/n, y+values[i]/n
	}
	var xy, xx float64
	for i := range values {
		xy += (at[i] - x) * (values[i] - y)
		xx += (at[i] - x) * (at[i] - x)
	}
	if xx == 0 {
		return y, 0
	}
	return y, xy / xx * (at[len(at)-1] - at[0])
}

// WriteCSV writes the samples, a line each.
func (s Soak) WriteCSV(out io.Writer) error {
	w := csv.NewWriter(out)
	head := []string{"seconds"}
	for _, m := range lines {
		head = append(head, m.name)
	}
	if err := w.Write(head); err != nil {
		return err
	}
	for _, sample := range s.Samples {
		line := []string{strconv.FormatFloat(sample.At.Seconds(), 'f', 0, 64)}
		for _, v := range sample.Values {
			line = append(line, strconv.FormatFloat(v, 'f', 1, 64))
		}
		if err := w.Write(line); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}
