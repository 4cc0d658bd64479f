package queue_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// Benchmarks measure what one connection does, as the consumer sets it up. Rates depend on the machine; what counts are ratios
// within one run.

func benchmark(b *testing.B) (*dbtest.DB, *queue.Queue, *pg.Link) {
	b.Helper()
	db := dbtest.New(b)
	server := pg.NewServer(db.Address(), "benchmark", discard, pg.Observer{})
	link := server.NewLink("benchmark", nil)
	b.Cleanup(link.Close)
	return db, queue.New(dbtest.QueueName, queue.Description{}), link
}

func do(b *testing.B, link *pg.Link, work func(context.Context, *pgx.Conn) error) {
	b.Helper()
	if err := link.Do(context.Background(), work); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkReadAndAck(b *testing.B) {
	for _, size := range []int{1, 10, 30, 100, 500, 1000} {
		for _, variant := range []string{"", "unlocked"} {
			b.Run(fmt.Sprintf("batch=%d%s", size, variant), func(b *testing.B) {
				db, q, link := benchmark(b)
				backlog := min(40*size, 20_000)
				messages := 0
				for b.Loop() {
					b.StopTimer()
					db.Publish(backlog)
					b.StartTimer()
					for left := backlog; left > 0; {
						do(b, link, func(ctx context.Context, conn *pgx.Conn) error {
							f, err := q.Fetch(ctx, conn, bounds(size), time.Minute)
							if err != nil {
								return err
							}
							leases := make([]queue.Entry, len(f.Messages))
							for i := range f.Messages {
								leases[i] = queue.EntryOf(&f.Messages[i].Message, true)
							}
							ack := q.Ack
							if variant != "" {
								ack = q.AckUnlocked
							}
							confirmed, err := ack(ctx, conn, leases, "benchmark")
							left -= len(confirmed)
							messages += len(confirmed)
							return err
						})
					}
				}
				b.ReportMetric(float64(messages)/b.Elapsed().Seconds(), "messages/s")
			})
		}
	}
}

// BenchmarkReadPastDelayedMessages compares reading by due time with pgmq.read, when many messages wait for their retry
// in front of those that are due.
func BenchmarkReadPastDelayedMessages(b *testing.B) {
	const size = 100
	for _, delayed := range []int{0, 10_000, 100_000} {
		rates := map[string]float64{}
		for _, how := range []string{"pgmq.read", "by due time"} {
			b.Run(fmt.Sprintf("delayed=%d/%s", delayed, how), func(b *testing.B) {
				db, q, link := benchmark(b)
				db.Exec(`select pgmq.send('order_queue', '{}', 3600) from generate_series(1, $1::integer)`, delayed)
				db.Exec(`vacuum analyze pgmq.q_order_queue`)
				messages := 0
				for b.Loop() {
					b.StopTimer()
					db.Publish(20 * size)
					b.StartTimer()
					for range 20 {
						do(b, link, func(ctx context.Context, conn *pgx.Conn) error {
							if how == "by due time" {
								f, err := q.Fetch(ctx, conn, bounds(size), time.Hour)
								messages += len(f.Messages)
								return err
							}
							rows, err := conn.Query(ctx, `select msg_id, message::text from pgmq.read('order_queue', 3600, $1)`, size)
							if err != nil {
								return err
							}
							got, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct {
								ID   int64
								Body string
							}])
							messages += len(got)
							return err
						})
					}
					b.StopTimer()
					db.Exec(`delete from pgmq.q_order_queue where read_ct > 0`)
					db.Exec(`vacuum pgmq.q_order_queue`)
					b.StartTimer()
				}
				rates[how] = float64(messages) / b.Elapsed().Seconds()
				b.ReportMetric(rates[how], "messages/s")
				if how == "by due time" && rates["pgmq.read"] > 0 {
					b.ReportMetric(rates[how]/rates["pgmq.read"], "times-pgmq.read")
				}
			})
		}
	}
}

// BenchmarkReadWhileVacuumIsHeldBack reads behind dead rows that cannot be removed, because a session sits in a transaction:
// from the beginning of the index, and from where the read before has ended.
func BenchmarkReadWhileVacuumIsHeldBack(b *testing.B) {
	const size = 100
	for _, test := range []struct {
		dead      int
		watermark bool
	}{{0, false}, {100_000, false}, {100_000, true}} {
		dead := test.dead
		b.Run(fmt.Sprintf("dead=%d,watermark=%t", dead, test.watermark), func(b *testing.B) {
			db, q, link := benchmark(b)
			holder, err := db.Begin(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			defer holder.Rollback(context.WithoutCancel(b.Context()))
			if _, err := holder.Exec(b.Context(), `select txid_current()`); err != nil {
				b.Fatal(err)
			}
			db.Exec(`insert into pgmq.q_order_queue (vt, message) select clock_timestamp(), '{}' from generate_series(1, $1::integer)`, dead)
			db.Exec(`delete from pgmq.q_order_queue`)
			messages := 0
			var watermark time.Time
			for b.Loop() {
				b.StopTimer()
				db.Publish(20 * size)
				b.StartTimer()
				for range 20 {
					do(b, link, func(ctx context.Context, conn *pgx.Conn) error {
						f, err := q.Fetch(ctx, conn, bounds(size, watermark), time.Hour)
						messages += len(f.Messages)
						if test.watermark {
							watermark = f.Last.Add(-250 * time.Millisecond)
						}
						return err
					})
				}
			}
			b.ReportMetric(float64(messages)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

func BenchmarkPeek(b *testing.B) {
	db, q, link := benchmark(b)
	db.Publish(10_000)
	for b.Loop() {
		do(b, link, func(ctx context.Context, conn *pgx.Conn) error {
			_, err := q.Peek(ctx, conn, time.Time{})
			return err
		})
	}
}

var discard = slog.New(slog.DiscardHandler)
