package chaos

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// clockShim shifts the clock of a program that is linked against the C library. The services cannot be given another clock that way,
// but Postgres can: that its clock differs from theirs is the same from both sides.
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
	shim, err := r.buildClockShim(ctx)
	if err != nil {
		return err
	}
	if err := r.ownServer(ctx, "LD_PRELOAD="+shim, "CLOCK_SHIFT_SECONDS="+strconv.Itoa(int(skew.Seconds()))); err != nil {
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

// buildClockShim compiles the shim, where there is a C compiler.
func (r *Rig) buildClockShim(ctx context.Context) (string, error) {
	if runtime.GOOS != "linux" {
		return "", &skipError{"needs Linux (LD_PRELOAD)"}
	}
	cc, err := exec.LookPath("cc")
	if err != nil {
		return "", &skipError{"needs a C compiler"}
	}
	dir, err := r.suite.Session.Mkdir("clock")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // the server's user has to read it
		return "", err
	}
	source, shim := filepath.Join(dir, "clock_shim.c"), filepath.Join(dir, "clock_shim.so")
	if err := os.WriteFile(source, clockShim, 0o600); err != nil {
		return "", err
	}
	if out, err := exec.CommandContext(ctx, cc, "-O2", "-shared", "-fPIC", "-o", shim, source, "-ldl").CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile the clock shim: %w: %s", err, out)
	}
	return shim, os.Chmod(shim, 0o755) //nolint:gosec // the same
}
