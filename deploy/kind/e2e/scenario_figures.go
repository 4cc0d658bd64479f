package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// mostMemory is what the pods of api and consumer may hold together in steady state.
const mostMemory = 250 << 20

var (
	resident   = regexp.MustCompile(`(?m)^process_resident_memory_bytes (\S+)$`)
	metricName = regexp.MustCompile(`\borderflow_[a-z0-9_]+\b`)
	suffix     = regexp.MustCompile(`_(bucket|sum|count)$`)

	// rare are those that have no series before the first time that they count.
	rare = []string{"orderflow_api_commit_failures_total", "orderflow_consumer_reconnects_total"}
)

// figures: what the pods hold, that none ever restarted, and that dashboard and alerts ask for metrics that there are.
func figures(ctx context.Context, s *suite) error {
	pods, err := s.cluster.pods(ctx, release, "api", "consumer")
	if err != nil {
		return err
	}
	total := 0.0
	var seen strings.Builder
	for _, p := range pods {
		if p.restarts() > 0 {
			return fmt.Errorf("%s has restarted %d times", p.Metadata.Name, p.restarts())
		}
		port := map[string]int{"api": 9100, "consumer": 9101}[p.component()]
		err := s.forward(ctx, "pod/"+p.Metadata.Name, port, func(url string) error {
			text, err := call(ctx, "GET", url+"/metrics", "", "")
			if err != nil {
				return err
			}
			seen.Write(text)
			match := resident.FindSubmatch(text)
			if match == nil {
				return errors.New("no process_resident_memory_bytes")
			}
			bytes, err := strconv.ParseFloat(string(match[1]), 64)
			total += bytes
			return err
		})
		if err != nil {
			return fmt.Errorf("metrics of %s: %w", p.Metadata.Name, err)
		}
	}
	if total > mostMemory {
		return fmt.Errorf("the %d pods of api and consumer hold %.0f MiB, more than %d", len(pods), total/(1<<20), mostMemory>>20)
	}
	say("%d pods of api and consumer hold %.0f MiB together, and none has restarted", len(pods), total/(1<<20))

	asked := 0
	for _, file := range []string{"files/dashboard.json", "templates/prometheusrule.yaml"} {
		text, err := os.ReadFile(filepath.Join(s.chart, file))
		if err != nil {
			return err
		}
		for _, name := range metricName.FindAllString(string(text), -1) {
			asked++
			if slices.Contains(rare, name) {
				continue
			}
			if plain := suffix.ReplaceAllString(name, ""); !strings.Contains(seen.String(), "# TYPE "+plain+" ") && !strings.Contains(seen.String(), "# TYPE "+name+" ") {
				return fmt.Errorf("%s asks for %s, which no pod has", file, name)
			}
		}
	}
	say("dashboard and alerts ask %d times for metrics, all of which there are", asked)
	return nil
}
