package chaos

import (
	"context"
	"fmt"
	"time"
)

// receiverFaults are about what the webhook handler calls. They are run with this handler, whichever the plan names.
func receiverFaults() []Fault {
	one := func(name, title string, run func(ctx context.Context, r *Rig) error) Fault {
		return Fault{Name: name, Title: title, Handler: HandlerWebhook, Recovery: caughtUp, Run: run}
	}
	return []Fault{
		one("receiver-killed", "SIGKILL the webhooks' receiver every 2 s", receiverKilled),
		one("receiver-away", "nobody listens where the webhooks go", ordered("away")),
		one("receiver-slow", "the receiver answers after 5 s", receiverSlow),
		one("receiver-401", "the receiver answers 401", ordered("401")),
		one("receiver-429", "the receiver answers 429, and asks for 2 s", ordered("429:100%:2s")),
		one("receiver-flapping", "the receiver comes and goes every second", receiverFlapping),
		one("receiver-answers-lost", "a third of the receiver's answers is lost, others come twice", answersLost),
	}
}

// caughtUp is the bar for what has piled up while the receiver was not fit: it is noticed within 5 s that it is, the load has 10 s to go up
// step by step, and at twice the rate, the most that a receiver is sent, what was posted in a time takes as long again.
func caughtUp(p Plan) time.Duration { return 15*time.Second + p.Duration }

// most is how many requests the receiver's busiest second may have: twice what is posted, and a quarter more for chance.
func (r *Rig) most() int64 {
	return int64(2.5 * (r.plan.Rate + float64(time.Second/probeInterval)))
}

// calling are the consumers' settings: an order takes 50 ms at the receiver, and a call may take longer than the receiver's 5 s.
func (r *Rig) calling() settings {
	return settings{consumers: 2, consumer: []string{"SIMULATE_WORK=50ms", "SIMULATE_FAILURES=none", "VT=10", "BACKOFF_MAX=5s", r.concurrency(100)}}
}

// well is how long a receiver is called before something is wrong with it: consumers take for normal what they have done for five seconds.
// The short version has no time for that.
func (r *Rig) well() time.Duration { return pick(r.plan, 7*time.Second, 0) }

// called brings the system up under load, does something to the receiver, lets it be as before, and accounts for everything.
func called(ctx context.Context, r *Rig, cause func() error) error {
	if err := r.up(ctx, r.calling()); err != nil {
		return err
	}
	if err := r.loadFor(ctx, r.well()+r.plan.Duration+r.tail()); err != nil {
		return err
	}
	if err := r.wait(ctx, r.well()); err != nil {
		return err
	}
	if err := cause(); err != nil {
		return err
	}
	if err := r.receiver.Order(ctx, r.usually, 0); err != nil {
		return err
	}
	r.ended()
	return r.account(ctx)
}

// lasting lets something be wrong with the receiver for as long as the cause lasts.
func lasting(ctx context.Context, r *Rig, fault string) error {
	err := called(ctx, r, func() error {
		if err := r.receiver.Order(ctx, fault, 0); err != nil {
			return err
		}
		return r.wait(ctx, r.plan.Duration)
	})
	if err != nil {
		return err
	}
	r.check(r.result.Dead == 0, "orders given up because the receiver was not fit", r.result.Dead, 0)
	return nil
}

// receiverSlow is one that is late, and in time: it is there, and sets the pace itself. CONCURRENCY is how many calls it has at once. What
// has piled up does not come all at once when it is quick again.
func receiverSlow(ctx context.Context, r *Rig) error {
	if err := ordered("slow:100%:5s")(ctx, r); err != nil {
		return err
	}
	r.check(r.result.Retried == 0 || r.plan.Untimed, "attempts beyond the orders' first", r.result.Retried, 0)
	openings := 0.0
	for _, n := range r.consumers {
		m, err := n.Metrics(ctx)
		if err != nil {
			return err
		}
		openings += m["orderflow_consumer_breaker_openings_total"]
	}
	r.check(openings == 0 || r.plan.Untimed, "openings of the breaker", openings, 0)
	return nil
}

// ordered is a fault after which the receiver must not be overrun.
func ordered(fault string) func(ctx context.Context, r *Rig) error {
	return func(ctx context.Context, r *Rig) error {
		if err := lasting(ctx, r, fault); err != nil {
			return err
		}
		account, err := r.receiver.Received(ctx)
		if err != nil {
			return err
		}
		// How many come in a second is a matter of time, too: a machine that is late sends what is due all at once.
		quiet := account.Busiest <= r.most() || r.plan.Untimed || r.plan.Short
		r.measured(quiet, "requests in the receiver's busiest second", account.Busiest, fmt.Sprintf("at most %d", r.most()))
		return nil
	}
}

func receiverKilled(ctx context.Context, r *Rig) error {
	return called(ctx, r, func() error {
		return r.every(ctx, 2*time.Second, func(int) error {
			r.receiver.Kill()
			if err := r.receiver.Start(); err != nil {
				return err
			}
			r.expect(r.receiver)
			return r.receiver.WaitReady(ctx)
		})
	})
}

func receiverFlapping(ctx context.Context, r *Rig) error {
	return called(ctx, r, func() error {
		return r.every(ctx, time.Second, func(n int) error {
			if n%2 == 0 {
				return r.receiver.Order(ctx, "away", 0)
			}
			return r.receiver.Order(ctx, r.usually, 0)
		})
	})
}

func answersLost(ctx context.Context, r *Rig) error {
	err := called(ctx, r, func() error {
		if err := r.receiver.Order(ctx, r.usually+",drop:33%,twice:10%:20ms", 0); err != nil {
			return err
		}
		if err := r.wait(ctx, r.plan.Duration); err != nil {
			return err
		}
		return r.until(ctx, "an order has come again", func() (bool, error) {
			a, err := r.receiver.Received(ctx)
			return err == nil && a.Orders != nil && a.Orders.Repeated > 0, err
		})
	})
	if err != nil {
		return err
	}
	r.check(r.result.Repeated > 0, "orders that came to the receiver again because the answer was lost", r.result.Repeated, "some")
	return nil
}
