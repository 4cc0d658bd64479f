package orders

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/database"
)

// BenchmarkCommit writes batches of orders as the writer does. Beside what the service takes of time and memory for a batch it reports what
// Postgres does for an order: its processor's time, where Linux tells it, and its log, which has what others write to the same server as
// well. Both mean something on a machine that does other things, too.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{1, 64, 256, 1000} {
		b.Run(fmt.Sprintf("orders=%d", size), func(b *testing.B) {
			url := testdb.New(b)
			p, err := newPublisher(testdb.Config(b, url, time.Minute), "order_queue", time.Minute)
			if err != nil {
				b.Fatal(err)
			}
			defer database.Discard(p.Conn)
			look := testdb.Connect(b, url)
			written := func() (bytes float64) {
				if err := look.QueryRow(context.Background(), `select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8`).Scan(&bytes); err != nil {
					b.Fatal(err)
				}
				return bytes
			}
			units, n := make([]*unit, size), 0
			commit := func() {
				for i := range units {
					n++
					units[i] = &unit{Request: Request{Orders: []Draft{{
						CustomerName: "Customer " + strconv.Itoa(n%1000), ProductName: "Product " + strconv.Itoa(n%100), Quantity: int32(n%10 + 1), Price: Cents(1000 + n%50*100),
					}}}}
				}
				if _, err := p.publish(units); err != nil {
					b.Fatal(err)
				}
			}
			for range 8 { // the first pages, and the plan
				commit()
			}
			b.ReportAllocs()
			pid := p.PgConn().PID()
			log, cpu, from := written(), processor(pid), n
			for b.Loop() {
				commit()
			}
			orders := float64(n - from)
			b.ReportMetric((written()-log)/orders, "WAL-B/order")
			if cpu > 0 {
				b.ReportMetric(float64(processor(pid)-cpu)/1000/orders, "server-us/order")
			}
		})
	}
}

// processor is what a process has had of the processor, in nanoseconds; 0 where that cannot be read.
func processor(pid uint32) int64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	if err != nil {
		return 0
	}
	first, _, _ := bytes.Cut(stat, []byte(" "))
	n, _ := strconv.ParseInt(string(first), 10, 64) // the kernel writes numbers
	return n
}
