package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"orderflow.example/dev/internal/patroni"
)

// The same failovers with a real manager, which nobody tells what to do: Patroni with etcd, as Debian has them.

func patroniFaults() []Fault {
	return []Fault{{
		Name: "patroni", Title: "failovers by Patroni: the primary killed, its machine gone, or switched over as planned", OwnServer: true, In: Named,
		Run: patroniFailovers,
	}}
}

// patroniWays are how Patroni comes to replace its primary, and for how long orders are posted then: a machine that is gone is missed when its
// lease in etcd has run out.
var patroniWays = []struct {
	name   string
	load   time.Duration
	strike func(ctx context.Context, c *patroni.Cluster, leader *patroni.Member) error
	gone   bool // its Patroni, too
}{
	{"server killed", 8 * time.Second, func(_ context.Context, _ *patroni.Cluster, m *patroni.Member) error { return m.KillServer() }, false},
	{"switched over", 6 * time.Second, func(ctx context.Context, c *patroni.Cluster, m *patroni.Member) error { return c.Switchover(ctx, m) }, false},
	{"server and Patroni killed", 16 * time.Second, func(_ context.Context, _ *patroni.Cluster, m *patroni.Member) error { return m.Kill() }, true},
}

func patroniFailovers(ctx context.Context, r *Rig) error {
	rounds := max(r.plan.Rounds, len(patroniWays))
	cluster, err := patroni.Start(ctx, patroni.Options{Session: r.suite.Session, Say: r.log})
	if err != nil {
		return err
	}
	r.managed, r.databaseURL = cluster, cluster.URL()
	if err := r.up(ctx, settings{consumers: 2, consumer: r.work("SIMULATE_WORK=50ms")}); err != nil {
		return err
	}
	outages := map[string][]outage{}
	var names []string
	var sum Result
	for n := range rounds {
		w := patroniWays[n%len(patroniWays)]
		if n < len(patroniWays) {
			names = append(names, w.name)
		}
		r.result = Result{}
		if err := cluster.Settled(ctx); err != nil {
			return err
		}
		leader := cluster.Leader(ctx)
		if leader == nil {
			return errors.New("Patroni has no leader") //nolint:staticcheck // a name
		}
		if err := errors.Join(r.loadFor(ctx, w.load, r.runID(n), "AUDIT_PATIENCE=60s"), r.wait(ctx, time.Second)); err != nil {
			return err
		}
		struck := time.Now()
		if err := w.strike(ctx, cluster, leader); err != nil {
			return fmt.Errorf("round %d, %s: %w", n+1, w.name, err)
		}
		if err := cluster.Replaced(ctx, leader); err != nil {
			return err
		}
		r.ended()
		if w.gone {
			if err := leader.Start(); err != nil {
				return err
			}
		}
		if err := r.account(ctx); err != nil {
			return err
		}
		r.checkAnswers()
		o, err := r.outageSince(ctx, struck)
		if err != nil {
			return err
		}
		r.log("round %d of %d, %s: accepted %d, lost %d, duplicated %d; %.2f s without an accepted order, %.2f s without a completed one", n+1, rounds, w.name,
			r.result.Accepted, r.result.Lost, r.result.Duplicated, o.accepting.Seconds(), o.completing.Seconds())
		outages[w.name] = append(outages[w.name], o)
		sum.add(r.result, fmt.Sprintf("round %d (%s)", n+1, w.name))
		if r.result.Failed() {
			break
		}
	}
	r.result = sum
	r.reportOutages(names, outages)
	return nil
}
