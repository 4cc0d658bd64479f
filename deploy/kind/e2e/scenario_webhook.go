package main

import (
	"context"
	"fmt"
	"time"
)

// webhook: orders are delivered to the chart's receiver, which loses answers, asks for patience, takes nobody in and goes away. Each has
// to arrive all the same, and what arrives more than once has to be known by its id. The audits of helm test and of the Job ask the
// receiver, too: their exit codes are its verdict.
func webhook(ctx context.Context, s *suite) error {
	with := map[string]string{"receiver.enabled": "true", "consumer.handler": "webhook", "consumer.backoff.max": "2s"}
	if err := s.upgrade(ctx, with); err != nil {
		return err
	}
	tested, err := s.helmTest(ctx, release)
	if err != nil {
		return err
	}
	reports, err := s.cluster.reports(ctx, "app.kubernetes.io/component=test,app.kubernetes.io/instance="+release)
	if err != nil {
		return err
	}
	if r := reports[0].Receiver; r == nil || r.Orders.Once+r.Orders.Repeated != tested.Completed {
		return fmt.Errorf("the receiver did not account for helm test's %d orders: %+v", tested.Completed, r)
	}
	say("helm test: %s, and each has arrived at the receiver", tested)

	run, got, err := s.underLoad(ctx, "i", "what the receiver did", map[string]string{"rate": "40", "duration": "30s"}, func() error {
		for _, faults := range []string{"drop:30%", "503:100%:1s", "401", "away"} {
			if err := s.atReceiver(ctx, func(url string) error { return faultsPass(ctx, url, faults) }); err != nil {
				return fmt.Errorf("faults %s at the receiver: %w", faults, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := expect("dead orders of a receiver that came back", got.Dead, 0); err != nil {
		return err
	}
	err = s.atReceiver(ctx, func(url string) error {
		text, err := call(ctx, "GET", url+"/account?run="+run.run, "", "")
		if err != nil {
			return err
		}
		account, err := decode[received](text)
		if err != nil {
			return err
		}
		if o := account.Orders; o.Accepted != got.Accepted || o.Once+o.Repeated != got.Completed || o.Never != 0 || o.Repeated == 0 {
			return fmt.Errorf("the receiver's account: %s", text)
		}
		say("%d orders arrived once and %d more often, none missing, altered or forged", account.Orders.Once, account.Orders.Repeated)
		return nil
	})
	if err != nil {
		return err
	}
	return s.upgrade(ctx, map[string]string{"receiver.enabled": "false", "consumer.handler": "simulate", "consumer.backoff.max": "2h"})
}

// received is the part of the receiver's account that is about a run's orders.
type received struct {
	Orders struct {
		Accepted, Once, Repeated, Never int
	}
}

// atReceiver calls use with the address of the receiver's second port. To the receiver such a call comes from its own machine.
func (s *suite) atReceiver(ctx context.Context, use func(url string) error) error {
	return s.forward(ctx, "deployment/"+release+"-receiver", 9102, use)
}

// faultsPass orders faults for a few seconds, and waits until they are over.
func faultsPass(ctx context.Context, url, faults string) error {
	if _, err := call(ctx, "PUT", url+"/faults?for=3s", "", faults); err != nil {
		return err
	}
	say("the receiver for 3 s: %s", faults)
	return eventually(ctx, time.Minute, "the faults are over", func(ctx context.Context) (bool, error) {
		text, err := call(ctx, "GET", url+"/faults", "", "")
		if err != nil {
			return false, err
		}
		now, err := decode[struct{ Faults string }](text)
		return now.Faults == "", err
	})
}
