package chaos

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"strconv"
	"time"

	"orderflow.example/dev/internal/postgres"
)

// clockShim shifts Postgres's clock. That it differs from the services' is the same from both sides.
//
//go:embed shim/clock.c
var clockShim []byte

func clockFaults() []Fault {
	return []Fault{
		{
			Name: "clock-behind", Title: "the services' clock is 3 hours behind the database's", OwnServer: true,
			Recovery: leaseAndBackoffs, Run: func(ctx context.Context, r *Rig) error { return skewed(ctx, r, 3*time.Hour) },
		},
		{
			Name: "clock-ahead", Title: "the services' clock is 3 hours ahead of the database's", OwnServer: true,
			Recovery: leaseAndBackoffs, Run: func(ctx context.Context, r *Rig) error { return skewed(ctx, r, -3*time.Hour) },
		},
	}
}

// leaseAndBackoffs is for an order whose consumer is killed and that fails twice besides.
func leaseAndBackoffs(p Plan) time.Duration { return visibilityAndASecond(p) + 2*time.Second }

// skewed runs under load with retries, delays and a consumer that is killed: everything that has to do with time.
func skewed(ctx context.Context, r *Rig, skew time.Duration) error {
	shim, err := r.buildShim(ctx, "clock", clockShim)
	if err != nil {
		return err
	}
	if err := r.ownServer(ctx, postgres.Options{Env: []string{"LD_PRELOAD=" + shim, "CLOCK_SHIFT_SECONDS=" + strconv.Itoa(int(skew.Seconds()))}}); err != nil {
		return err
	}
	conn, err := r.connect(ctx)
	if err != nil {
		return err
	}
	var there time.Time
	err = conn.QueryRow(ctx, "select clock_timestamp()").Scan(&there)
	_ = conn.Close(ctx)
	if err != nil {
		return err
	}
	if off := time.Until(there) - skew; math.Abs(off.Seconds()) > 5 {
		return &skipError{fmt.Sprintf("this Postgres does not take another clock (it is %v off)", off)}
	}
	r.skew = skew

	env := r.work("SIMULATE_FAILURES=example", "BACKOFF_BASE=200ms", "BACKOFF_MAX=500ms")
	if err := r.up(ctx, settings{consumers: 2, consumer: env}); err != nil {
		return err
	}
	if err := r.load(ctx); err != nil {
		return err
	}
	if err := r.wait(ctx, r.plan.Duration/3); err != nil {
		return err
	}
	victim := r.consumers[0]
	if err := r.until(ctx, "the victim has work", func() (bool, error) { return holdsLeases(ctx, victim), nil }); err != nil {
		return err
	}
	victim.Kill()
	r.ended()
	if err := victim.Start(); err != nil {
		return err
	}
	r.expect(victim)
	if err := r.account(ctx); err != nil {
		return err
	}
	l, err := r.readLedger(ctx)
	if err != nil {
		return err
	}
	r.quick("slowest order from POST to completed", l.slowest, leaseAndBackoffs(r.plan))
	return nil
}
