package worker

import (
	"slices"
	"time"

	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/fetch"
	"orderflow.example/services/consumer/internal/health"
	"orderflow.example/services/consumer/internal/lease"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/presence"
	"orderflow.example/services/consumer/internal/queue"
	"orderflow.example/services/consumer/internal/settle"
)

// pipeline is the parts that a delivery goes through, and those that look after it meanwhile.
type pipeline struct {
	poller     *fetch.Poller
	fetcher    *fetch.Fetcher
	buffer     *fetch.Buffer
	workers    *workers
	settler    *settle.Settler
	heartbeats *lease.Heartbeats
	deadlines  *lease.Deadlines
	reporter   *presence.Reporter
	closers    []func() // of the links
}

// assemble makes the parts and gives each what it needs. Reads go over fetchLink; all other links are the pipeline's own.
func (c *Consumer) assemble(q *queue.Queue, fetchLink *pg.Link) *pipeline {
	s := c.settings
	settleLink, beatLink := c.link("settle", c.steps.settle), c.server.NewLink("heartbeat", nil)
	beatLink.WatchCalls(c.steps.heartbeat.Begin, c.steps.heartbeat.End)
	rules, term := ending.NewRules(s.MaxAttempts, s.MaxCrashes, s.Backoff), lease.NewTerm(s.Visible, c.log)

	poller := fetch.NewPoller(fetch.PollerNeeds{
		Server: c.server, Queue: q, Interval: s.Poll, Visible: s.Visible, LookPause: c.lookPause, Deaf: &c.deaf, Gate: c.gate, Presence: c.presence,
		Progress: c.steps.poll, Writing: c.writeHealth, Log: c.log, Metrics: c.metrics,
	})
	heartbeats := &lease.Heartbeats{
		Link: beatLink, Queue: q, Held: c.held, Term: term, Consumer: s.ID, Log: c.log, Metrics: c.metrics,
	}
	settler := settle.New(settle.Needs{
		Queue: q, Held: c.held, Rules: rules, Gate: c.gate, Consumer: s.ID, Poll: s.Poll, SettlePause: c.settlePause, RetryIn: poller.RetryIn,
		Draining: c.draining.Load, NotifyLimit: c.notifyLimit, Room: c.room, Unwritten: &c.unwritten, Tally: &c.presence.Tally,
		Spans: c.spans, Log: c.log, Metrics: c.metrics,
	}, settle.LaneNeeds{
		Link: settleLink, Progress: c.steps.settle, Note: func(op ending.Op, err error) { c.endHealth[op].Note(err) },
	}, c.demand.MostHeld())
	closeAckWork := settler.AddAckWork(c.server, settle.AckWork{
		Runner: c.runner, Limit: s.HandlerTimeout, Heartbeats: heartbeats, Took: c.ackWorkTook, Note: c.workHealth.Note, Lanes: c.steps.ackWork,
	})
	buffer := fetch.NewBuffer(c.demand.MostHeld(), c.held, c.gate, settler)
	return &pipeline{
		poller: poller,
		fetcher: &fetch.Fetcher{
			Link: fetchLink, Queue: q, Demand: c.demand, Room: c.room, Poller: poller, Gate: c.gate, Term: term, Held: c.held,
			Rules: rules, Buffer: buffer, Settler: settler, Progress: c.steps.fetch, Reads: c.readHealth, Spans: c.spans, Log: c.log, Metrics: c.metrics,
		},
		buffer: buffer,
		workers: &workers{
			timeout: s.HandlerTimeout, call: newCall(c.handler, c.log), buffer: buffer, room: c.room, demand: c.demand, held: c.held, gate: c.gate,
			heartbeats: heartbeats, settler: settler, spans: c.spans, log: c.log, metrics: c.metrics,
		},
		settler:    settler,
		heartbeats: heartbeats,
		deadlines: &lease.Deadlines{
			Held: c.held, Visible: s.Visible, Grace: lease.GraceOf(s.Visible, s.HandlerTimeout), Room: c.room, Log: c.log, Metrics: c.metrics,
			GiveUp: func(d *lease.Delivery) { settler.GiveUp(d, s.HandlerTimeout) },
		},
		reporter: &presence.Reporter{Presence: c.presence, Link: poller.Link(), Queue: q, Progress: c.steps.poll, GoneLimit: c.goneLimit},
		closers:  []func(){settleLink.Close, beatLink.Close, poller.Link().Close, closeAckWork},
	}
}

// closeLinks closes the links, when all parts have ended.
func (p *pipeline) closeLinks() {
	for _, closeLink := range slices.Backward(p.closers) {
		closeLink()
	}
}

// link returns a link whose steps are watched.
func (c *Consumer) link(name string, steps *health.Progress) *pg.Link {
	l := c.server.NewLink(name, nil)
	l.Watch(steps.Begin)
	return l
}

// ackWorkTook counts how long a transaction with so many orders took, as the workers would: there are so many more of them than lanes.
func (c *Consumer) ackWorkTook(orders int, took time.Duration) {
	c.demand.Occupied(orders, took*time.Duration(c.settings.Concurrency)/time.Duration(len(c.steps.ackWork)))
}
