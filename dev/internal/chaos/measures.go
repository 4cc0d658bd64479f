package chaos

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// measures are no faults: the same rig, nothing that breaks, and the bars for a quiet system.
func measures() []Fault {
	return []Fault{
		{Name: "idle", Title: "nothing goes wrong: latency, punctuality and cost at rest", Measures: true, Run: idle},
	}
}

func idle(ctx context.Context, r *Rig) error {
	if err := r.up(ctx, settings{consumers: 1, api: r.unhurried(), consumer: []string{
		"SIMULATE_WORK=0", "SIMULATE_FAILURES=example", "BACKOFF_BASE=700ms", "BACKOFF_MAX=700ms",
	}}); err != nil {
		return err
	}
	if err := r.atRest(ctx); err != nil {
		return err
	}
	latencies, err := r.oneByOne(ctx, pick(r.plan, 300, 60))
	if err != nil {
		return err
	}
	slices.Sort(latencies)
	p50, p99 := percentile(latencies, 50), percentile(latencies, 99)
	r.quick("p50 from POST to completed, one order at a time", p50, 10*time.Millisecond)
	r.quick("p99 of the same", p99, 50*time.Millisecond)
	l, err := r.settled(ctx)
	if err != nil {
		return err
	}
	r.result.judgeAlone(l)
	return nil
}

// atRest measures what an idle consumer costs: its own processor time, and Postgres's transactions.
func (r *Rig) atRest(ctx context.Context) error {
	const transactions = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
	consumer := r.consumers[0]
	before, err := consumer.Metrics(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	// It has only just started, and who asks for its metrics has it ask the database some forty things, which is not to be counted. A server
	// process tells of its transactions up to ten seconds later (PGSTAT_IDLE_INTERVAL), so a shorter run is no shorter here, if it is judged.
	settle, span := 12*time.Second, 10*time.Second
	if r.plan.Untimed {
		settle, span = time.Second, 3*time.Second
	}
	if err := r.wait(ctx, settle); err != nil {
		return err
	}
	committed, err := r.scalar(ctx, transactions)
	if err != nil {
		return err
	}
	if err := r.wait(ctx, span); err != nil {
		return err
	}
	later, err := r.scalar(ctx, transactions)
	if err != nil {
		return err
	}
	after, err := consumer.Metrics(ctx)
	if err != nil {
		return err
	}
	used := (after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]) / time.Since(began).Seconds()
	r.measured(used < 0.01 || r.plan.Untimed, "processor time of an idle consumer", fmt.Sprintf("%.2f %% of a core", used*100), "under 1 %")
	perSecond := float64(later-committed) / span.Seconds()
	// The consumer's poll, the api's look at the queue and at the database's health, and our own questions.
	r.measured(perSecond <= 6 || r.plan.Untimed, "transactions per second of an idle system", fmt.Sprintf("%.1f", perSecond), "at most 6")
	return nil
}

// oneByOne posts orders into the idle system, each when the one before is settled, and returns the time from the POST to the
// completion of those that do not fail. Of those that fail it measures how punctual the retry is.
func (r *Rig) oneByOne(ctx context.Context, n int) ([]time.Duration, error) {
	conn, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	client := &http.Client{Timeout: r.patience()}
	defer client.CloseIdleConnections()
	var latencies []time.Duration
	var late []time.Duration
	for i := range n {
		sent := time.Now()
		status, order, err := post(ctx, client, r.api.URL()+"/orders", probeBody(proberName(1), fmt.Sprintf("Probe %d", i)))
		if err != nil {
			return nil, fmt.Errorf("POST /orders: %d: %w", status, err)
		}
		r.result.Orders++
		r.result.Accepted++
		var attempts int
		var completed time.Time
		var due *time.Time
		err = r.until(ctx, "the order is settled", func() (bool, error) {
			var status string
			var at *time.Time
			if err := conn.QueryRow(ctx, "select status, attempts, completed_at from public.orders where id = $1", order.ID).Scan(&status, &attempts, &at); err != nil {
				return false, err
			}
			if at != nil {
				completed = *at
				return true, nil
			}
			// Until then it waits for a retry, and its message says when that is due.
			var vt time.Time
			err := conn.QueryRow(ctx, `select m.vt from pgmq.q_order_queue m join public.orders o on o.message_id = m.msg_id
				where o.id = $1 and m.vt > clock_timestamp() and (m.headers->>'orderflow-retry')::int = m.read_ct`, order.ID).Scan(&vt)
			if err == nil {
				due = &vt
			} else if err != pgx.ErrNoRows { //nolint:errorlint // returned bare
				return false, err
			}
			return false, nil
		})
		if err != nil {
			return nil, err
		}
		r.result.Completed++
		switch {
		case attempts == 1:
			latencies = append(latencies, completed.Sub(sent))
		case due != nil:
			late = append(late, completed.Sub(*due))
		}
	}
	if len(late) > 0 {
		r.quick(fmt.Sprintf("latest of %d delayed retries, from due to completed", len(late)), slices.Max(late), 50*time.Millisecond)
	}
	if len(latencies) == 0 {
		return nil, fmt.Errorf("none of %d orders was completed at its first attempt", n)
	}
	return latencies, nil
}

func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[min(len(sorted)-1, (len(sorted)*p+99)/100-1)]
}
