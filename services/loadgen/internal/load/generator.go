// Package load sends a run's orders: by workers that wait for their answers (closed model) or when they are due (open model). Every request
// carries an idempotency key and is tried again, with that key, until it is answered or its time is up. What became of each order goes
// to the ledger, how long things took to the recorder. It never asks the api about orders afterwards: that is the audit's part.
package load

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"orderflow.example/services/loadgen/internal/arrivals"
	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/ledger"
	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/orders"
)

// Poster sends one request at a time; client.Poster is one.
type Poster interface {
	Post(key, body []byte) client.Answer
	Release()
}

// Plan says what to send.
type Plan struct {
	Keys  orders.Keys
	Mix   orders.Mix
	Limit int // orders at most; 0 = no limit
	Bulk  int // orders in a request

	Workers  int           // closed model
	Duration time.Duration // closed model: no new requests after this; 0 = no end

	Schedule    *arrivals.Schedule // open model; nil = closed
	Peak        float64            // open model: the schedule's highest rate, in orders a second
	MaxInFlight int                // open model
	MaxLate     time.Duration      // open model

	Retry Retry
}

// Generator carries out a plan, once.
type Generator struct {
	Plan      Plan
	NewPoster func() Poster
	Ledger    *ledger.Ledger
	Recorder  *measure.Recorder
	Log       *slog.Logger
	Wait      func(ctx context.Context, until time.Time) bool // the pacer's; nil = the real clock

	seq     atomic.Int64
	said    atomic.Int64
	running sync.WaitGroup
}

// Run sends until the plan is carried out or the context ends. When it ends, nothing new is sent, what is under way is waited for, and
// what waits for a retry is given up. It returns when every request has come to its end.
func (g *Generator) Run(ctx context.Context, start time.Time) {
	if g.Plan.Schedule == nil {
		g.closed(ctx, start)
	} else {
		g.open(ctx, start)
	}
	g.running.Wait()
}

// failureLevel is how an order that failed is logged: the first few as warnings, then, as they are counted anyway, for those who ask for every line.
func (g *Generator) failureLevel() slog.Level {
	if g.said.Add(1) > 10 {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// closed keeps Workers requests under way: each worker sends its next one when the last was answered. A server that stalls is
// sent less, which is why this model cannot show what customers would have seen.
func (g *Generator) closed(ctx context.Context, start time.Time) {
	for range g.Plan.Workers {
		g.running.Go(func() {
			w := g.newWorker()
			defer w.poster.Release()
			for ctx.Err() == nil {
				if g.Plan.Duration > 0 && time.Since(start) >= g.Plan.Duration {
					return
				}
				if !w.send(ctx, int(g.seq.Add(1)-1), time.Time{}) {
					return
				}
			}
		})
	}
}

// open hands every arrival over when it is due to a worker that is free, starting workers as they are needed, up to MaxInFlight. When all
// are busy, arrivals wait in a bounded queue; their latency counts from when they were due.
func (g *Generator) open(ctx context.Context, start time.Time) {
	queue := make(chan arrivals.Arrival, backlog(g.Plan))
	var idle atomic.Int64
	worker := func() {
		w := g.newWorker()
		defer w.poster.Release()
		for {
			idle.Add(1)
			a, ok := <-queue
			idle.Add(-1)
			switch {
			case !ok:
				return
			case ctx.Err() != nil: // interrupted: what was not sent yet is not sent any more
			case time.Since(a.Due) > g.Plan.MaxLate:
				g.Recorder.Drop()
			default:
				w.send(ctx, a.Seq, a.Due)
			}
		}
	}
	workers, left, started := 0, g.Plan.Limit, time.Time{}
	pacer := arrivals.Pacer{Schedule: g.Plan.Schedule, Wait: g.Wait}
	pacer.Run(ctx, start, func(a arrivals.Arrival) bool {
		if g.Plan.Limit > 0 && g.Plan.Mix.Kind(a.Seq) == orders.Valid {
			if left <= 0 {
				return false
			}
			left -= g.Plan.Bulk
		}
		g.Recorder.Due()
		select {
		case queue <- a:
		default:
			g.Recorder.Drop()
		}
		if workers < g.Plan.MaxInFlight && idle.Load() < int64(len(queue)) {
			if now := time.Now(); now.Sub(started) >= workerPause {
				workers, started = workers+1, now
				g.running.Go(worker)
			}
		}
		return true
	})
	close(queue)
}

// workerPause is the least time between two new workers. A machine that was busy elsewhere for 20 ms wakes to hundreds of overdue
// arrivals; as many new connections at once would only make it later still. A server that stalls gets a thousand in 0.2 s all the same.
const workerPause = 200 * time.Microsecond

// backlog is how many arrivals may wait: as many as come while the oldest is not too late yet, within reason.
func backlog(p Plan) int {
	return int(min(max(p.Peak/float64(max(1, p.Bulk))*p.MaxLate.Seconds(), 1<<10), 1<<20))
}
