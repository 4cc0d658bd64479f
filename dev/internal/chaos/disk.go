package chaos

import (
	"context"
	_ "embed"
	"encoding/binary"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"orderflow.example/dev/internal/postgres"
)

// diskShim makes Postgres's disk slow or full.
//
//go:embed shim/disk.c
var diskShim []byte

func diskFaults() []Fault {
	return []Fault{
		{Name: "slow-disk", Title: "each flush of Postgres's disk takes 300 ms", OwnServer: true, Recovery: fiveSeconds, Run: slowDisk},
		{Name: "full-disk", Title: "Postgres's tables cannot grow", OwnServer: true, Recovery: visibilityAndASecond, Run: fullDisk},
	}
}

// disk is the disk below a fault's own Postgres.
type disk struct{ control *os.File }

// onDisk starts the fault's own Postgres on a disk that can be spoiled.
func (r *Rig) onDisk(ctx context.Context) (*disk, error) {
	shim, err := r.buildShim(ctx, "disk", diskShim)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(filepath.Dir(shim), "control")
	control, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // the server's user has to read it
	if err != nil {
		return nil, err
	}
	d := &disk{control: control}
	if err := d.set(0, false); err != nil {
		return nil, err
	}
	return d, r.ownServer(ctx, postgres.Options{Env: []string{"LD_PRELOAD=" + shim, "DISK_CONTROL=" + path}})
}

// set says what the disk is like from now on. See disk.c for the form.
func (d *disk) set(flush time.Duration, full bool) error {
	var words [8]byte
	binary.NativeEndian.PutUint32(words[:], uint32(flush.Milliseconds())) //nolint:gosec // far below 2^31
	if full {
		binary.NativeEndian.PutUint32(words[4:], 1)
	}
	_, err := d.control.WriteAt(words[:], 0)
	return err
}

// slowDisk makes every commit wait. What is accepted gathers in larger transactions instead; an answer that would come too late is a 503.
func slowDisk(ctx context.Context, r *Rig) error {
	return r.spoilDisk(ctx, 300*time.Millisecond, false, "orders written to the slow disk", func(before, after int64) int64 { return after - before })
}

// fullDisk lets nothing be added to the tables, which updates do as well.
func fullDisk(ctx context.Context, r *Rig) error {
	return r.spoilDisk(ctx, 0, true, "orders refused for want of space", func(int64, int64) (refused int64) {
		for _, one := range r.prober.all() {
			if one.status == http.StatusServiceUnavailable {
				refused++
			}
		}
		return refused
	})
}

// spoilDisk spoils the disk for as long as the cause lasts, and until it shows in what is counted: that gets the number of orders before it, and
// by now.
func (r *Rig) spoilDisk(ctx context.Context, flush time.Duration, full bool, what string, count func(before, now int64) int64) error {
	const orders = "select count(*) from public.orders"
	d, err := r.onDisk(ctx)
	if err != nil {
		return err
	}
	defer d.control.Close()
	if err := r.up(ctx, settings{consumers: 2, consumer: r.work()}); err != nil {
		return err
	}
	if err := r.loadFor(ctx, time.Second+r.plan.Duration+r.tail()); err != nil {
		return err
	}
	if err := r.wait(ctx, time.Second); err != nil {
		return err
	}
	before, err := r.scalar(ctx, orders)
	if err != nil {
		return err
	}
	if err := d.set(flush, full); err != nil {
		return err
	}
	if err := r.wait(ctx, r.plan.Duration); err != nil {
		return err
	}
	var shown int64
	err = r.until(ctx, what, func() (bool, error) {
		now, err := r.scalar(ctx, orders)
		if err == nil {
			shown = count(before, now)
		}
		return shown > 0, err
	})
	if err != nil {
		return err
	}
	if err := d.set(0, false); err != nil {
		return err
	}
	r.ended()
	if err := r.account(ctx); err != nil {
		return err
	}
	r.check(shown > 0, what, shown, "some")
	r.checkAnswers()
	r.checkAccepts(2 * time.Second)
	return nil
}
