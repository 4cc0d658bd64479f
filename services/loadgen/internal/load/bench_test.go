package load_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"orderflow.example/services/loadgen/internal/arrivals"
	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/ledger"
	"orderflow.example/services/loadgen/internal/load"
	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/orders"
)

// sink is the variable under which this test's binary is an api that accepts everything, in a process of its own: then this process's
// processor time is the load generator's alone.
const sink = "LOADGEN_BENCH_SINK"

func init() {
	if os.Getenv(sink) == "" {
		return
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	// The order as it came, so that its data are held against what was sent, with what an api adds to it.
	const answer = `{"id":123456,"created_at":"2026-01-07T19:48:03.123456+00:00","message_id":123456,"status":"pending","attempts":0,"effects":0,` +
		`"last_error":null,"completed_at":null,"processed_by":null,"idempotency_key":"bench-0-000000001",`
	err = (&fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		ctx.SetStatusCode(fasthttp.StatusCreated)
		ctx.SetContentType("application/json")
		ctx.SetBodyString(answer)
		ctx.Response.AppendBody(ctx.PostBody()[1:])
	}}).Serve(l)
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func startSink(b *testing.B) string {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), sink+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed: that is no news
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return "http://" + strings.TrimSpace(line)
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // never fails for this process
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSend tells what an order costs the generator: µs of processor time, and the orders a second that one core's worth would send.
func BenchmarkSend(b *testing.B) {
	url := startSink(b)
	for name, plan := range map[string]load.Plan{
		"closed/20":  {Workers: 20},
		"closed/256": {Workers: 256},
		"open/20000": {MaxInFlight: 1000, MaxLate: time.Minute, Peak: 20_000},
		"bulk/100":   {Workers: 8, Bulk: 100},
	} {
		b.Run(name, func(b *testing.B) {
			c, err := client.New(client.Options{URL: url, Timeout: 10 * time.Second, MaxConns: 2000})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			plan.Keys, plan.Limit, plan.Bulk = orders.Keys{Run: "bench"}, b.N, max(1, plan.Bulk)
			if plan.Peak > 0 {
				plan.Schedule = arrivals.NewSchedule(arrivals.Constant(plan.Peak, 0), 1)
			}
			start := time.Now()
			recorder := measure.NewRecorder(start)
			g := &load.Generator{
				Plan: plan, NewPoster: func() load.Poster { return c.NewPoster(plan.Bulk > 1) }, Ledger: ledger.New(start, plan.Bulk), Recorder: recorder,
				Log: slog.New(slog.DiscardHandler),
			}
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu()
			g.Run(context.Background(), start)
			used := cpu() - before
			b.StopTimer()
			perOrder := used.Seconds() / float64(b.N)
			b.ReportMetric(perOrder*1e6, "cpu-µs/order")
			b.ReportMetric(1/perOrder, "orders/s/core")
			b.ReportMetric(float64(recorder.Post().Percentile(99).Microseconds()), "p99-µs")
		})
	}
}
