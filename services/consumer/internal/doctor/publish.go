package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// Publisher puts what is found where the dashboard shows it: a row of the database, about once a minute, and one consumer of the queue for
// all. It has a connection while it looks.
type Publisher struct {
	link     *pg.Link
	queue    *queue.Queue
	function *effect.Function
	consumer string
	handler  string
	log      *slog.Logger
	every    time.Duration // queue.FindingsEvery, but for tests
}

// NewPublisher returns one that looks as the consumer that is named, which has the handler of a name (HANDLER). function does the work of
// orders; nil: none.
func NewPublisher(server *pg.Server, q *queue.Queue, function *effect.Function, consumer, handler string, log *slog.Logger) *Publisher {
	return &Publisher{
		link: server.NewSideLink("findings", longestLook), queue: q, function: function, consumer: consumer, handler: handler, log: log, every: queue.FindingsEvery,
	}
}

// soonest is how long after its start a consumer looks for the first time.
const soonest = 2 * time.Second

// longestLook is how long a look may take. Where tables are large and cold it takes seconds.
const longestLook = 20 * time.Second

// Run looks until ctx ends. What goes wrong is no news: an outage has metrics of its own, and the dashboard says how old the findings are.
func (p *Publisher) Run(ctx context.Context) {
	timer := time.NewTimer(soonest)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := p.Publish(ctx); err != nil && ctx.Err() == nil {
			p.log.DebugContext(ctx, "what the doctor finds cannot be published", "error", err)
		}
		timer.Reset(p.every + rand.N(p.every/10))
	}
}

// Publish looks, unless another consumer has done so lately, and writes what it found: what needs advice first.
func (p *Publisher) Publish(ctx context.Context) error {
	defer p.link.Close()
	return p.link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		mine, err := p.queue.ClaimFindings(ctx, conn)
		if err != nil || !mine {
			return err
		}
		figures, err := Examine(ctx, conn, p.queue, p.function)
		if err != nil {
			return err
		}
		findings, err := json.Marshal(published(append(figures.Findings(), p.about()...)))
		if err != nil {
			return err
		}
		return p.queue.StoreFindings(ctx, conn, p.consumer, findings)
	})
}

// publishedFinding is a finding as the dashboard reads it.
type publishedFinding struct {
	Check   string `json:"check"`
	Finding string `json:"finding"`
	Advice  string `json:"advice"`
}

// about is what there is to say of the consumer itself. The command does not know it: it runs with settings of its own.
func (p *Publisher) about() []Finding {
	if p.handler != "simulate" {
		return nil
	}
	return []Finding{{
		Check:   "handler",
		Finding: "The consumers only simulate work: orders are completed, and nothing is done with them.",
		Advice:  "For real orders set HANDLER=webhook or HANDLER=sql, or bring a handler in Go.",
	}}
}

// mostPublished bounds a text, in which names of other people's making are.
const mostPublished = 4000

func published(findings []Finding) []publishedFinding {
	list := make([]publishedFinding, len(findings))
	for i, f := range findings {
		list[i] = publishedFinding{brief(f.Check), brief(f.Finding), brief(f.Advice)}
	}
	slices.SortStableFunc(list, func(a, b publishedFinding) int {
		return cmp.Compare(rank(a), rank(b))
	})
	return list
}

// rank is 0 for what needs advice.
func rank(f publishedFinding) int {
	if f.Advice == "" {
		return 1
	}
	return 0
}

func brief(text string) string {
	n := 0
	for i := range text {
		if n == mostPublished {
			return text[:i] + "…"
		}
		n++
	}
	return text
}
