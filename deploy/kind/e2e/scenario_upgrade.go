package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// upgrade: what did not change is not touched; what changed, and only that, is replaced; what fails is rolled back.
func upgrade(ctx context.Context, s *suite) error {
	secrets, err := s.secrets(ctx)
	if err != nil {
		return err
	}
	steps := []struct {
		what   string
		change map[string]string
		rolled []string
		flags  []string
	}{
		{"no change", nil, nil, nil},
		{"the same again, --atomic", nil, nil, []string{"--atomic"}},
		{"simulated work", map[string]string{"consumer.simulate.work": "10ms"}, []string{"consumer"}, nil},
		{"request timeout", map[string]string{"api.requestTimeout": "4s"}, []string{"api"}, []string{"--atomic"}},
		{"a setting of Postgres", map[string]string{"postgres.settings.work_mem": "2MB"}, []string{"postgres"}, nil},
	}
	for _, step := range steps {
		before, err := s.identities(ctx)
		if err != nil {
			return err
		}
		if err := s.upgrade(ctx, step.change, step.flags...); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		if err := s.rolledOnly(ctx, before, step.rolled); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		say("%s: replaced %v", step.what, step.rolled)
	}
	if err := s.rollBack(ctx); err != nil {
		return err
	}
	now, err := s.secrets(ctx)
	if err != nil {
		return err
	}
	if !maps.Equal(secrets, now) {
		return errors.New("an upgrade changed a generated Secret")
	}
	say("all %d generated Secrets are what they were", len(secrets))
	run, err := s.start(ctx, "g", map[string]string{"orders": "200"})
	if err != nil {
		return err
	}
	_, err = run.wait(ctx)
	return err
}

// rolledOnly compares the pods with those before: of the components that rolled none is left, of the others all are.
func (s *suite) rolledOnly(ctx context.Context, before map[string]string, rolled []string) error {
	pods, err := s.cluster.pods(ctx, release)
	if err != nil {
		return err
	}
	now, err := s.identities(ctx)
	if err != nil {
		return err
	}
	for _, p := range pods {
		name := p.Metadata.Name
		same := before[name] == now[name]
		if should := slices.Contains(rolled, p.component()); should == same {
			return fmt.Errorf("%s: replaced: %t, should be: %t", name, !same, should)
		}
	}
	return expect("number of pods", len(now), len(before))
}

// rollBack: --atomic undoes an upgrade that cannot come up, and meanwhile the old pods serve. The time-out is the upgrade's, which takes all of
// it, and then the rollback's own, which has to come in time.
func (s *suite) rollBack(ctx context.Context) error {
	before, err := s.identities(ctx)
	if err != nil {
		return err
	}
	kept := s.settings
	err = s.upgrade(ctx, map[string]string{"consumer.image": "orderflow.example/no-such-image:1"}, "--atomic", "--timeout", "60s")
	if err == nil || !strings.Contains(err.Error(), "rolled back") {
		return fmt.Errorf("an upgrade to an image that is not there should have been rolled back: got %v", err) //nolint:errorlint // may be nil
	}
	s.settings = kept
	err = eventually(ctx, time.Minute, "the failed upgrade's pods are gone", func(ctx context.Context) (bool, error) {
		now, err := s.identities(ctx)
		return maps.Equal(before, now), err
	})
	if err == nil {
		say("an upgrade that cannot come up is rolled back, and no serving pod was touched")
	}
	return err
}

// secrets are the release's generated ones, with their content.
func (s *suite) secrets(ctx context.Context) (map[string]string, error) {
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Data     map[string]string
		}
	}
	if err := s.cluster.get(ctx, &list, "secrets", "--selector", "app.kubernetes.io/instance="+release); err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, item := range list.Items {
		found[item.Metadata.Name] = fmt.Sprint(item.Data)
	}
	if len(found) != 7 {
		return nil, fmt.Errorf("generated Secrets: got %d, want 7: %v", len(found), slices.Sorted(maps.Keys(found)))
	}
	return found, nil
}

// reinstall: the volume and the Secrets outlive the release, and the next one of the same name finds its orders.
func reinstall(ctx context.Context, s *suite) error {
	run, err := s.start(ctx, "h-before", map[string]string{"orders": "100"})
	if err != nil {
		return err
	}
	got, err := run.wait(ctx)
	if err != nil {
		return err
	}
	before, err := s.count(ctx, "true")
	if err != nil {
		return err
	}
	if _, err := s.cluster.helmRun(ctx, "uninstall", release, "--wait", "--timeout", "3m"); err != nil {
		return err
	}
	err = eventually(ctx, time.Minute, "all pods are gone", func(ctx context.Context) (bool, error) {
		pods, err := s.cluster.pods(ctx, release)
		return err == nil && len(pods) == 0, err
	})
	if err != nil {
		return err
	}
	say("uninstalled; the volume and the Secrets stay")
	if err := s.upgrade(ctx, nil); err != nil {
		return err
	}
	after, err := s.count(ctx, "true")
	if err != nil {
		return err
	}
	if err := expect("orders after the install", after, before); err != nil {
		return err
	}
	again, err := run.auditAgain(ctx)
	if err != nil {
		return err
	}
	if err := expect("the earlier run's audit", again.Completed, got.Completed); err != nil {
		return err
	}
	say("installed again: all %d orders are there, and the earlier run's audit holds: %s", after, again)
	if run, err = s.start(ctx, "h-after", map[string]string{"orders": "100"}); err != nil {
		return err
	}
	_, err = run.wait(ctx)
	return err
}
