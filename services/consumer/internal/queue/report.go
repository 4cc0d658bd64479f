package queue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
)

// Report is what a consumer says of itself, for the dashboard. The counters are of its whole life.
type Report struct {
	Key      string // tells the process from every other, also of the same name
	Name     string // CONSUMER_ID
	Age      time.Duration
	Every    time.Duration // it will report at least so often
	State    string        // working, idle, draining or gone
	Busy     int           // handlers at work
	Capacity int           // handlers that can be

	Completed, Failed, Retried, Dead int64
	Latency                          Latency
}

// Latency counts orders by the time from publication to completion: element i those of up to 2^(i/3) ms that are in no element before,
// the last one also those that took longer than its 70 minutes. So a percentile is known to a quarter of its value. The api reads it by
// the same rule.
type Latency [67]int64

// LatencyBucket is the element that a time is counted in.
func LatencyBucket(took time.Duration) int {
	ms := float64(took) / float64(time.Millisecond)
	if ms <= 1 {
		return 0
	}
	return min(int(math.Ceil(3*math.Log2(ms))), len(Latency{})-1)
}

// counted are the elements up to the last that is not 0.
func (l *Latency) counted() []int64 {
	n := len(l)
	for n > 0 && l[n-1] == 0 {
		n--
	}
	return l[:n]
}

// PeekAndReport is [Queue.Peek] with a report in the same statement. A report that cannot be written takes nothing from the look: unreported
// says why, and is empty when it was written.
func (q *Queue) PeekAndReport(ctx context.Context, conn *pgx.Conn, watermark time.Time, r *Report) (p Peeked, unreported string, err error) {
	var why *string
	p, err = peeked(conn.QueryRow(ctx, q.peekAndReport, append([]any{bound(watermark), q.Name}, r.arguments(conn)...)...), &why)
	if why != nil {
		unreported = *why
	}
	return p, unreported, err
}

// Report writes a report alone, and says why when it could not be.
func (q *Queue) Report(ctx context.Context, conn *pgx.Conn, r *Report) (unreported string, err error) {
	var why *string
	if err := conn.QueryRow(ctx, q.report, append([]any{nil, q.Name}, r.arguments(conn)...)...).Scan(&why); err != nil {
		return "", fmt.Errorf("report: %w", err)
	}
	if why != nil {
		unreported = *why
	}
	return unreported, nil
}

func (r *Report) arguments(conn *pgx.Conn) []any {
	return []any{
		encodable(conn, r.Key), encodable(conn, r.Name), r.Age.Seconds(), r.Every.Seconds(), r.State, r.Busy, r.Capacity,
		r.Completed, r.Failed, r.Retried, r.Dead, r.Latency.counted(),
	}
}

// FindingsEvery is how often a consumer of the queue looks what the doctor finds.
const FindingsEvery = time.Minute

// ClaimFindings tells whether it is time for somebody to look what the doctor finds; then it is the caller's turn.
func (q *Queue) ClaimFindings(ctx context.Context, conn *pgx.Conn) (mine bool, err error) {
	err = conn.QueryRow(ctx, `
		insert into orderflow.findings as f (queue, claimed_at)
		values (lower($1::text), clock_timestamp())
		on conflict (queue) do update
		set claimed_at = excluded.claimed_at
		where f.claimed_at not between clock_timestamp() - make_interval(secs => $2) and clock_timestamp()
		returning true`, q.Name, (FindingsEvery - 5*time.Second).Seconds()).Scan(&mine)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return false, fmt.Errorf("claim the doctor's look: %w", err)
	}
	return mine, nil
}

// StoreFindings writes what the doctor found: JSON, an array of {check, finding, advice}.
func (q *Queue) StoreFindings(ctx context.Context, conn *pgx.Conn, by string, findings []byte) error {
	_, err := conn.Exec(ctx, `
		update orderflow.findings
		set at = clock_timestamp(), by = $2, findings = $3
		where queue = lower($1::text)`, q.Name, encodable(conn, by), []byte(encodable(conn, string(findings))))
	if err != nil {
		return fmt.Errorf("store what the doctor found: %w", err)
	}
	return nil
}
