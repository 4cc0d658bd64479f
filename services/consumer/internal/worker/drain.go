package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/fetch"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/lease"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/settle"
)

// Times that a drain may take beyond its limit, and beyond fetch.Grace.
const (
	handlerGrace = time.Second     // for cancelled handlers to return
	settleGrace  = 2 * time.Second // to write what is left, but for tests
)

// drain brings every delivery to its decision.
type drain struct {
	held             *lease.Set
	buffer           *fetch.Buffer
	settler          *settle.Settler
	readers, workers *sync.WaitGroup
	stopHandling     context.CancelCauseFunc
	limit            time.Duration // DRAIN_TIMEOUT
	log              *slog.Logger
}

func (d *drain) run() {
	d.held.AdmitNobody()
	counts := d.held.Counts()
	d.log.Info("draining: no more messages are fetched", "in_flight", counts.InFlight, "buffered", counts.Buffered, "timeout", d.limit.String())
	d.buffer.ReleaseAll()
	fetched := finished(d.readers)
	worked := make(chan struct{})
	go func() { // ends with the workers; those that never end are what the drain leaves behind
		<-fetched
		d.buffer.ReleaseAll()
		d.buffer.Close()
		d.workers.Wait()
		d.held.AwaitAckWork()
		close(worked)
	}()
	if within(worked, d.limit) {
		return
	}
	d.log.Warn("DRAIN_TIMEOUT is over: running handlers are cancelled", "in_flight", d.held.Counts().InFlight)
	d.stopHandling(handler.ErrDraining)
	if within(worked, handlerGrace) {
		return
	}
	within(fetched, fetch.Grace) // with no time to drain a read may still be under way
	d.buffer.ReleaseAll()
	for _, left := range d.held.AbandonAll() {
		message.Log(d.log, slog.LevelWarn, "handler ignores its cancellation and is left behind; its message is handed back", &left.Message)
		d.settler.Settle(left, ending.Unstarted{})
	}
}

func finished(group *sync.WaitGroup) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	return done
}

func within(done <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
