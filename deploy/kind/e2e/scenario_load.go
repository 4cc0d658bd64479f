package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"
)

// scale: one consumer, then three under load. The first goes on, and each of the three completes orders.
func scale(ctx context.Context, s *suite) error {
	if err := s.upgrade(ctx, map[string]string{"consumer.replicas": "1"}); err != nil {
		return err
	}
	first, err := s.identities(ctx)
	if err != nil {
		return err
	}
	run, err := s.start(ctx, "b", map[string]string{"rate": "60", "duration": "20s"})
	if err != nil {
		return err
	}
	if err := run.flowing(ctx); err != nil {
		return err
	}
	if err := s.upgrade(ctx, map[string]string{"consumer.replicas": "3"}); err != nil {
		return err
	}
	now, err := s.identities(ctx)
	if err != nil {
		return err
	}
	for name, identity := range first {
		if now[name] != identity {
			return fmt.Errorf("scaling consumers touched %s: %s, then %s", name, identity, now[name])
		}
	}
	say("1 → 3 consumers while orders come in; no other pod was touched")
	if _, err := run.wait(ctx); err != nil {
		return err
	}
	consumers, err := s.identities(ctx, "consumer")
	if err != nil {
		return err
	}
	// On a busy machine the load may have been over before the new ones were ready: then there is more of it.
	counts := map[string]int{}
	for try := 1; ; try++ {
		more, err := s.completedBy(ctx, run)
		if err != nil {
			return err
		}
		for name, n := range more {
			counts[name] += n
		}
		idle := ""
		for name := range consumers {
			if counts[name] == 0 {
				idle = name
			}
		}
		if idle == "" {
			break
		}
		if try == 5 {
			return fmt.Errorf("%s completed nothing: %v", idle, counts)
		}
		if run, err = s.start(ctx, fmt.Sprintf("b%d", try), map[string]string{"rate": "60", "duration": "10s"}); err != nil {
			return err
		}
		if _, err := run.wait(ctx); err != nil {
			return err
		}
	}
	say("completed by %v", counts)
	return nil
}

// vanish: no grace, as when a node loses power. The load generator repeats what was not answered, under the same keys.
func vanish(ctx context.Context, s *suite) error {
	_, _, err := s.underLoad(ctx, "c", "the loss of two pods", map[string]string{"rate": "40", "duration": "20s"}, func() error {
		for _, component := range []string{"consumer", "api"} {
			pods, err := s.cluster.pods(ctx, release, component)
			if err != nil {
				return err
			}
			name := pods[0].Metadata.Name
			if _, err := s.cluster.kubectl(ctx, "delete", "pod", name, "--grace-period=0", "--force"); err != nil {
				return err
			}
			say("%s is gone", name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.settled(ctx, release)
}

// restart: what an operator does every day must cost nothing: no error, no retry by the client, no order that sat out its visibility
// timeout (its history says so; how fast it is beyond that is the machine's affair, and the benchmarks'), and no attempt counted for what a
// consumer handed back.
func restart(ctx context.Context, s *suite) error {
	settings := map[string]string{"rate": "40", "duration": "40s", "thresholds": "errors==0,retries==0,dropped==0"}
	run, _, err := s.underLoad(ctx, "d", "the restart", settings, func() error {
		for _, deployment := range []string{"api", "consumer"} {
			if _, err := s.cluster.kubectl(ctx, "rollout", "restart", "deployment/"+release+"-"+deployment); err != nil {
				return err
			}
		}
		for _, deployment := range []string{"api", "consumer"} {
			if _, err := s.cluster.kubectl(ctx, "rollout", "status", "deployment/"+release+"-"+deployment, "--timeout=2m"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	say("api and consumers replaced while orders come in")
	say("no failed request, no retry")
	late := ` and exists (select from orderflow.history h where h.order_id = orders.id and h.created_at = orders.created_at
		and h.outcome in ('unanswered', 'crashed', 'lease_lost'))`
	if err := number("orders that sat out a visibility timeout", 0)(s.count(ctx, run.orders()+late)); err != nil {
		return err
	}
	say("no order that sat out a visibility timeout")
	if err := number("orders that took more than one attempt", 0)(s.count(ctx, run.orders()+" and attempts <> 1")); err != nil {
		return err
	}
	say("no attempt counted for what was handed back")
	return s.settled(ctx, release)
}

// losePostgres: everything but Postgres stays up and waits; afterwards nothing is missing.
func losePostgres(ctx context.Context, s *suite) error {
	before, err := s.identities(ctx, "api", "consumer")
	if err != nil {
		return err
	}
	run, _, err := s.underLoad(ctx, "e", "the loss of Postgres", map[string]string{"rate": "40", "duration": "20s"}, func() error {
		gone := time.Now()
		if _, err := s.cluster.kubectl(ctx, "delete", "pod", release+"-postgres-0"); err != nil {
			return err
		}
		err := eventually(ctx, 2*time.Minute, "Postgres answers again", func(ctx context.Context) (bool, error) {
			_, err := s.count(ctx, "false")
			return err == nil, err
		})
		say("Postgres deleted; it answers again after %s", seconds(time.Since(gone)))
		return err
	})
	if err != nil {
		return err
	}
	since, err := s.count(ctx, "status = 'completed' and created_at > pg_postmaster_start_time() and "+run.orders())
	if err != nil {
		return err
	}
	if since == 0 {
		return errors.New("no order was completed that has come in after the loss of Postgres")
	}
	say("%d orders have come in and were completed since, none is missing", since)
	if err := s.settled(ctx, release); err != nil {
		return err
	}
	after, err := s.identities(ctx, "api", "consumer")
	if err != nil {
		return err
	}
	if !maps.Equal(before, after) {
		return fmt.Errorf("not only Postgres restarted: before %v, after %v", before, after)
	}
	say("nothing restarted but Postgres")
	return nil
}
