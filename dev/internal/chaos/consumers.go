package chaos

import (
	"context"
	"errors"
	"time"

	"orderflow.example/dev/internal/stack"
)

// What is promised for a killed consumer: nobody hands its messages back, so they are seen again when their visibility timeout
// is over, and a second is for finding and processing them.
func visibilityAndASecond(p Plan) time.Duration {
	r := Rig{plan: p}
	return time.Duration(r.vt()+1) * time.Second
}

func consumerFaults() []Fault {
	return []Fault{
		{Name: "kill-consumer", Title: "SIGKILL a consumer every 2 s", Recovery: visibilityAndASecond, Run: killConsumer},
		{Name: "rolling-restart", Title: "SIGTERM each of 3 consumers in turn", Recovery: fiveSeconds, Run: rollingRestart},
		{Name: "zombie", Title: "SIGSTOP a consumer past its visibility timeout", Recovery: visibilityAndASecond, Run: zombie},
		{Name: "outlive", Title: "handlers outlive their leases", Recovery: fiveSeconds, Run: outlive},
		{Name: "scale", Title: "scale 1 → 4 → 1 consumers", Recovery: fiveSeconds, Run: scale},
	}
}

func killConsumer(ctx context.Context, r *Rig) error {
	if err := r.up(ctx, settings{consumers: 3, consumer: r.work()}); err != nil {
		return err
	}
	if err := errors.Join(r.recordReads(ctx), r.load(ctx)); err != nil {
		return err
	}
	err := r.every(ctx, pick(r.plan, 2*time.Second, 800*time.Millisecond), func(int) error {
		victim := r.consumers[r.rand.IntN(len(r.consumers))]
		if err := r.until(ctx, victim.Name+" has work", func() (bool, error) { return holdsLeases(ctx, victim), nil }); err != nil {
			return err
		}
		victim.Kill()
		err := victim.Start()
		r.expect(victim)
		return err
	})
	if err != nil {
		return err
	}
	r.ended()
	if err := r.account(ctx); err != nil {
		return err
	}
	return r.checkDeliveries(ctx, "messages of killed consumers that were delivered again")
}

// holdsLeases says whether a consumer has messages right now: a fault that hits an idle one proves nothing.
func holdsLeases(ctx context.Context, n *stack.Node) bool {
	m, err := n.Metrics(ctx)
	return err == nil && m["orderflow_consumer_leases_held"] > 0
}

// rollingRestart is what a deployment does. No simulated work: the bar is for the hand-over.
func rollingRestart(ctx context.Context, r *Rig) error {
	if err := r.up(ctx, settings{consumers: 3, consumer: []string{"SIMULATE_WORK=0", "SIMULATE_FAILURES=none"}}); err != nil {
		return err
	}
	if err := r.load(ctx); err != nil {
		return err
	}
	restarts := 0
	err := r.every(ctx, pick(r.plan, 700*time.Millisecond, 300*time.Millisecond), func(n int) error {
		restarts++
		return r.restart(ctx, r.consumers[n%len(r.consumers)])
	})
	for ; err == nil && restarts < len(r.consumers); restarts++ { // each of them once, however short the time
		err = r.restart(ctx, r.consumers[restarts])
	}
	if err != nil {
		return err
	}
	l, err := r.endQuick(ctx, "slowest order from POST to completed")
	if err != nil {
		return err
	}
	r.check(l.mostAttempts <= 1, "most attempts of an order", l.mostAttempts, "1: handing back counts none")
	return nil
}

// restart ends a consumer as Kubernetes does, with an exit code of 0, and starts it again.
func (r *Rig) restart(ctx context.Context, n *stack.Node) error {
	if err := n.Stop(ctx); err != nil {
		return err
	}
	if err := n.Start(); err != nil {
		return err
	}
	r.expect(n)
	return n.WaitReady(ctx)
}

// zombie lets a consumer sleep through its leases while it works on messages. When it wakes up, others own them.
func zombie(ctx context.Context, r *Rig) error {
	work := pick(r.plan, "500ms", "300ms")
	if err := r.up(ctx, settings{consumers: 2, consumer: r.work("SIMULATE_WORK="+work, r.concurrency(200))}); err != nil {
		return err
	}
	if err := errors.Join(r.recordReads(ctx), r.load(ctx)); err != nil {
		return err
	}
	victim := r.consumers[0]
	asleep := time.Duration(r.vt())*time.Second + 1200*time.Millisecond
	for range pick(r.plan, 2, 1) {
		if err := r.catch(ctx, victim); err != nil {
			return err
		}
		if err := r.wait(ctx, asleep); err != nil {
			return err
		}
		if err := victim.Resume(); err != nil {
			return err
		}
	}
	r.ended()
	if err := r.account(ctx); err != nil {
		return err
	}
	return r.checkDeliveries(ctx, "messages that others took over from the sleeper")
}

// outlive takes the lease away from under running handlers: each message once, by making it visible although its handler is alive
// and its consumer extends it. Two handlers then work on the same order, and only the second may complete it.
func outlive(ctx context.Context, r *Rig) error {
	if r.handler() == HandlerSQL {
		return &skipError{"the message of an order whose function runs is locked: nobody can take it over"}
	}
	work := pick(r.plan, "1500ms", "700ms")
	if err := r.up(ctx, settings{consumers: 2, consumer: r.work("SIMULATE_WORK="+work, r.concurrency(500), "MAX_ATTEMPTS=20")}); err != nil {
		return err
	}
	if err := errors.Join(r.recordReads(ctx), r.load(ctx)); err != nil {
		return err
	}
	take := func() error {
		return r.sql(ctx, `update pgmq.q_order_queue set vt = clock_timestamp() where read_ct = 1 and vt > clock_timestamp()`)
	}
	if err := r.every(ctx, 300*time.Millisecond, func(int) error { return take() }); err != nil {
		return err
	}
	err := r.until(ctx, "a message is delivered again", func() (bool, error) {
		again, err := r.scalar(ctx, deliveredAgainSQL)
		if err == nil && again == 0 {
			err = take()
		}
		return again > 0, err
	})
	if err != nil {
		return err
	}
	r.ended()
	if err := r.account(ctx); err != nil {
		return err
	}
	return r.checkDeliveries(ctx, "messages delivered again under a running handler")
}

func scale(ctx context.Context, r *Rig) error {
	env := r.work()
	if err := r.up(ctx, settings{consumers: 1, consumer: env}); err != nil {
		return err
	}
	if err := r.load(ctx); err != nil {
		return err
	}
	for range 3 {
		if err := r.wait(ctx, r.plan.Duration/8); err != nil {
			return err
		}
		if err := r.addConsumer(ctx, env...); err != nil {
			return err
		}
	}
	if err := r.wait(ctx, r.plan.Duration/4); err != nil {
		return err
	}
	for _, n := range r.consumers[1:] {
		delete(r.expected, n)
		if err := n.Stop(ctx); err != nil {
			return err
		}
		if err := r.wait(ctx, r.plan.Duration/8); err != nil {
			return err
		}
	}
	r.ended()
	if err := r.account(ctx); err != nil {
		return err
	}
	r.check(r.result.Retried == 0, "attempts counted because of the scaling", r.result.Retried, 0)
	return nil
}
