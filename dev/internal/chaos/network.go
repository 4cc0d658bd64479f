package chaos

import (
	"context"
	"errors"
	"strings"
	"time"

	"orderflow.example/kit/pgproxy"
)

func apiFaults() []Fault {
	return []Fault{
		{Name: "kill-api", Title: "SIGKILL the api every 2 s under load", Recovery: fiveSeconds, Run: killAPI},
	}
}

func networkFaults() []Fault {
	return []Fault{
		{
			Name: "cut", Title: "TCP cut between consumer and Postgres in mid-transaction",
			Recovery: visibilityAndASecond, Run: cut,
		},
		{
			Name: "reply-lost", Title: "the consumer never learns that its COMMIT worked",
			Recovery: visibilityAndASecond, Run: replyLost,
		},
		{
			Name: "api-reply-lost", Title: "the api never learns that its COMMIT worked",
			Recovery: fiveSeconds, Run: apiReplyLost,
		},
		{
			Name: "silence", Title: "packets between a consumer and Postgres are dropped past its leases",
			Recovery: visibilityAndASecond, Run: silence,
		},
	}
}

func killAPI(ctx context.Context, r *Rig) error {
	if err := r.up(ctx, settings{consumers: 1, consumer: r.work()}); err != nil {
		return err
	}
	if err := r.load(ctx); err != nil {
		return err
	}
	err := r.every(ctx, pick(r.plan, 2*time.Second, 800*time.Millisecond), func(int) error {
		r.api.Kill()
		err := r.api.Start()
		r.expect(r.api)
		return err
	})
	if err != nil {
		return err
	}
	r.ended()
	return r.account(ctx)
}

// settles matches the statements by which a consumer completes orders: they alone touch the ledger.
func settles(sql string) bool { return strings.Contains(sql, "effects") }

// publishes matches the statement by which the api takes orders.
func publishes(sql string) bool {
	lower := strings.ToLower(sql)
	return strings.Contains(lower, "insert") && strings.Contains(lower, "orders")
}

// trapAgain arms a trap again and again on all proxies, until one has cut a connection at least, and counts how often they have.
func (r *Rig) trapAgain(ctx context.Context, interval time.Duration, match func(sql string) bool, fault func(n int) pgproxy.Fault) error {
	err := r.every(ctx, interval, func(n int) error {
		for _, p := range r.proxies {
			p.TrapFunc(match, fault(n))
		}
		return nil
	})
	sprung := func() (n int) {
		for _, p := range r.proxies {
			n += p.Sprung()
		}
		return n
	}
	if err == nil {
		err = r.until(ctx, "a connection is cut", func() (bool, error) { return sprung() > 0, nil })
	}
	for _, p := range r.proxies {
		p.Disarm()
	}
	r.ended()
	r.check(sprung() > 0, "connections cut at the chosen moment", sprung(), "some")
	return err
}

func cut(ctx context.Context, r *Rig) error {
	if err := r.up(ctx, settings{consumers: 2, consumer: r.work(), proxied: "consumers"}); err != nil {
		return err
	}
	if err := r.load(ctx); err != nil {
		return err
	}
	err := r.trapAgain(ctx, pick(r.plan, 500*time.Millisecond, 300*time.Millisecond), settles, func(n int) pgproxy.Fault {
		if n%4 == 3 { // and now and then every connection at once, wherever it is
			r.proxies[r.rand.IntN(len(r.proxies))].Cut()
		}
		return pgproxy.Uncommitted
	})
	if err != nil {
		return err
	}
	return r.account(ctx)
}

func replyLost(ctx context.Context, r *Rig) error {
	if err := r.up(ctx, settings{consumers: 2, consumer: r.work(), proxied: "consumers"}); err != nil {
		return err
	}
	if err := r.load(ctx); err != nil {
		return err
	}
	err := r.trapAgain(ctx, pick(r.plan, 500*time.Millisecond, 300*time.Millisecond), settles, func(int) pgproxy.Fault { return pgproxy.Unanswered })
	if err != nil {
		return err
	}
	return r.account(ctx)
}

func apiReplyLost(ctx context.Context, r *Rig) error {
	if err := r.up(ctx, settings{consumers: 1, consumer: r.work(), proxied: "api"}); err != nil {
		return err
	}
	if err := r.load(ctx); err != nil {
		return err
	}
	err := r.trapAgain(ctx, pick(r.plan, 500*time.Millisecond, 300*time.Millisecond), publishes, func(n int) pgproxy.Fault {
		if n%2 == 1 {
			return pgproxy.Uncommitted
		}
		return pgproxy.Unanswered
	})
	if err != nil {
		return err
	}
	if err := r.account(ctx); err != nil {
		return err
	}
	r.checkAnswers()
	return nil
}

// silence lets one of two consumers hear nothing more from Postgres, longer than its leases last, while its handlers go on: it can
// neither extend nor complete. The other one takes over.
func silence(ctx context.Context, r *Rig) error {
	if err := r.up(ctx, settings{consumers: 2, consumer: r.work("SIMULATE_WORK=200ms", r.concurrency(100)), proxied: "consumers"}); err != nil {
		return err
	}
	silent := time.Duration(r.vt())*time.Second + 2*time.Second
	if err := errors.Join(r.recordReads(ctx), r.loadFor(ctx, max(silent, r.plan.Duration)+r.tail())); err != nil {
		return err
	}
	victim := r.consumers[0]
	if err := r.catch(ctx, victim); err != nil {
		return err
	}
	r.proxies[0].Freeze()
	if err := errors.Join(victim.Resume(), r.wait(ctx, silent)); err != nil {
		return err
	}
	r.proxies[0].Thaw()
	r.ended()
	if err := r.account(ctx); err != nil {
		return err
	}
	return r.checkDeliveries(ctx, "messages that the other one took over")
}
