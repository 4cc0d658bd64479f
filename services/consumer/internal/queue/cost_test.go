package queue_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/queue"
)

// BenchmarkCost measures what a message costs by means that a busy machine does not change: processor time of the server's process and
// of ours, and bytes of WAL without the images of whole pages, which depend on when the last checkpoint was. The WAL is the whole server's.
func BenchmarkCost(b *testing.B) {
	for _, size := range []int{1, 30, 1000} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			db, q, link := benchmark(b)
			if !dbtest.One[bool](db, `select exists (select from pg_available_extensions where name = 'pg_walinspect')`) {
				b.Skip("the server has no pg_walinspect")
			}
			db.Exec(`create extension pg_walinspect`)
			var fetch, ack cost
			messages := 0
			for b.Loop() {
				backlog := min(100*size, 20_000)
				db.Publish(backlog)
				db.Exec(`vacuum analyze public.orders, pgmq.q_order_queue`)
				for left := backlog; left > 0; {
					do(b, link, func(ctx context.Context, conn *pgx.Conn) error {
						var f queue.Fetched
						var err error
						fetch.add(b, db, conn, func() { f, err = q.Fetch(ctx, conn, bounds(size), time.Minute) })
						if err != nil {
							return err
						}
						entries := make([]queue.Entry, len(f.Messages))
						for i := range f.Messages {
							entries[i] = queue.EntryOf(&f.Messages[i].Message, true)
						}
						var confirmed queue.Confirmed
						ack.add(b, db, conn, func() { confirmed, err = q.Ack(ctx, conn, entries, "benchmark") })
						left -= len(confirmed)
						messages += len(confirmed)
						return err
					})
				}
			}
			fetch.report(b, "fetch", messages)
			ack.report(b, "ack", messages)
		})
	}
}

// cost is a sum over some statements.
type cost struct {
	server, client time.Duration
	wal            int64 // bytes
}

// add measures what work does on conn.
func (c *cost) add(b *testing.B, db *dbtest.DB, conn *pgx.Conn, work func()) {
	b.Helper()
	server, client := int(conn.PgConn().PID()), os.Getpid()
	from := dbtest.One[string](db, `select pg_current_wal_insert_lsn()::text`)
	serverBefore, clientBefore := onCPU(b, server), onCPU(b, client)
	work()
	c.server += onCPU(b, server) - serverBefore
	c.client += onCPU(b, client) - clientBefore
	c.wal += dbtest.One[int64](db, `select coalesce(sum(record_size), 0)::bigint from pg_get_wal_stats_till_end_of_wal($1::pg_lsn)`, from)
}

func (c *cost) report(b *testing.B, name string, messages int) {
	b.Helper()
	n := float64(messages)
	b.ReportMetric(float64(c.server.Nanoseconds())/n/1000, name+"-server-µs/message")
	b.ReportMetric(float64(c.client.Nanoseconds())/n/1000, name+"-client-µs/message")
	b.ReportMetric(float64(c.wal)/n, name+"-WAL-B/message")
}

// onCPU is how long a process's threads have run: the first field of schedstat, in nanoseconds (Documentation/scheduler/sched-stats).
func onCPU(b *testing.B, pid int) time.Duration {
	b.Helper()
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		b.Skip("processes of the server cannot be seen: ", err)
	}
	var sum time.Duration
	for _, thread := range threads {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, thread.Name()))
		if err != nil {
			continue // it has ended
		}
		n, _ := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64) // the kernel writes numbers
		sum += time.Duration(n)
	}
	return sum
}
