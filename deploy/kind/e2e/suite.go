package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// suite is what the scenarios share: a cluster, one release with its settings, and the sum of all audits.
type suite struct {
	cluster                                          cluster
	chart, tag, postgresImage, loadgen, adapterImage string
	settings                                         map[string]string // --set of the release, as it is now
	total                                            audit
}

const release = "orderflow"

// base are the settings of the first install: what a load test wants, with the strictest policies.
func (s *suite) base() map[string]string {
	settings := map[string]string{
		"image.tag":                  s.tag,
		"log.level":                  "debug",
		"networkPolicy.api.access":   "listed",
		"consumer.visibilityTimeout": "5",
		// The releases of scenarios j and m use this one's Postgres.
		"networkPolicy.postgres.from[0].podSelector.matchLabels.app\\.kubernetes\\.io/instance": "neighbour",
		"networkPolicy.postgres.from[1].podSelector.matchLabels.app\\.kubernetes\\.io/instance": "gitops",
	}
	maps.Copy(settings, s.postgres())
	return settings
}

// postgres names the run's Postgres where it is not the chart's. No install may go without: on what one major version has initialised,
// another does not start.
func (s *suite) postgres() map[string]string {
	if s.postgresImage == "" {
		return nil
	}
	return map[string]string{"postgres.image": s.postgresImage}
}

// flags are settings as helm takes them, in a fixed order.
func flags(settings map[string]string) []string {
	var args []string
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		// What looks like a number or a switch has to be one for the schema.
		kind := "--set"
		if key == "image.tag" {
			kind = "--set-string"
		}
		args = append(args, kind, key+"="+strings.ReplaceAll(settings[key], ",", `\,`))
	}
	return args
}

// install or upgrade the release with its settings changed by these; helm waits until all is ready.
func (s *suite) upgrade(ctx context.Context, change map[string]string, more ...string) error {
	if s.settings == nil {
		s.settings = s.base()
	}
	settings := maps.Clone(s.settings)
	maps.Copy(settings, change)
	args := append([]string{"upgrade", "--install", release, s.chart, "--wait", "--timeout", "3m"}, flags(settings)...)
	if _, err := s.cluster.helmRun(ctx, append(args, more...)...); err != nil {
		return err
	}
	s.settings = settings
	return s.settled(ctx, release)
}

// settled waits until every pod is ready and none is on its way out: only then is a later restart somebody's doing.
func (s *suite) settled(ctx context.Context, release string) error {
	return eventually(ctx, 2*time.Minute, "all pods of "+release+" ready, none ending", func(ctx context.Context) (bool, error) {
		pods, err := s.cluster.pods(ctx, release)
		if err != nil || len(pods) == 0 {
			return false, err
		}
		for _, p := range pods {
			if !p.ready() {
				return false, fmt.Errorf("%s is %s, not ready, or ending", p.Metadata.Name, p.Status.Phase)
			}
		}
		return true, nil
	})
}

// identities are the pods as they are: name, UID and restarts. Equal ones mean that nothing restarted.
func (s *suite) identities(ctx context.Context, components ...string) (map[string]string, error) {
	pods, err := s.cluster.pods(ctx, release, components...)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, p := range pods {
		if p.Metadata.Deletion == nil {
			found[p.Metadata.Name] = fmt.Sprintf("%s, %d restarts", p.Metadata.UID, p.restarts())
		}
	}
	return found, nil
}

// say reports a step that held.
func say(format string, args ...any) { fmt.Printf("    ok  "+format+"\n", args...) }

// number asks for a count and compares it.
func number(what string, want int) func(int, error) error {
	return func(got int, err error) error {
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return expect(what, got, want)
	}
}

// expect is for what must be equal, with both sides in the error.
func expect[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}
