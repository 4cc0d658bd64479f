package main

import (
	"context"
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
	run, err := s.start(ctx, "c", map[string]string{"rate": "40", "duration": "20s"})
	if err != nil {
		return err
	}
	if err := run.flowing(ctx); err != nil {
		return err
	}
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
	if err := run.outlasts(ctx, "the loss of two pods"); err != nil {
		return err
	}
	if _, err := run.wait(ctx); err != nil {
		return err
	}
	return s.settled(ctx, release)
}

// restart: what an operator does every day must cost nothing: no error, no retry by the client, no order that sat out its visibility
// timeout (5 s here, see suite.go; how fast it is beyond that is the machine's affair, and the benchmarks'), and no attempt counted for
// what a consumer handed back.
func restart(ctx context.Context, s *suite) error {
	run, err := s.start(ctx, "d", map[string]string{
		"rate": "40", "duration": "40s", "thresholds": "errors==0,retries==0,dropped==0,e2e_max<5s",
	})
	if err != nil {
		return err
	}
	if err := run.flowing(ctx); err != nil {
		return err
	}
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
	if err := run.outlasts(ctx, "the restart"); err != nil {
		return err
	}
	say("api and consumers replaced while orders come in")
	if _, err := run.wait(ctx); err != nil {
		return err
	}
	say("no failed request, no retry, no order that sat out a visibility timeout")
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
	run, err := s.start(ctx, "e", map[string]string{"rate": "40", "duration": "20s"})
	if err != nil {
		return err
	}
	if err := run.flowing(ctx); err != nil {
		return err
	}
	gone := time.Now()
	if _, err := s.cluster.kubectl(ctx, "delete", "pod", release+"-postgres-0"); err != nil {
		return err
	}
	// Orders that have come in since, of this run: the load has outlasted it, too.
	err = eventually(ctx, 2*time.Minute, "orders come in and are completed again", func(ctx context.Context) (bool, error) {
		n, err := s.count(ctx, "status = 'completed' and created_at > pg_postmaster_start_time() and "+run.orders())
		return n > 0, err
	})
	if err != nil {
		return err
	}
	say("Postgres deleted; orders completed again after %s, none missing", seconds(time.Since(gone)))
	if _, err := run.wait(ctx); err != nil {
		return err
	}
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
