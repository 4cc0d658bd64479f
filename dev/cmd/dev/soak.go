package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"orderflow.example/dev/internal/chaos"
	"orderflow.example/dev/internal/session"
	"orderflow.example/dev/internal/stack"
)

// runSoak runs the system for DURATION (1h) with RATE (50) orders a second, random faults by SEED and retention, in cycles of CYCLE (2m) that each end
// with an audit, and judges what grows. KEEP is how long orders are kept; with 0s that is for ever, and the verdict has to be that they grow. The
// samples go to OUT (dist/soak) as CSV, with a text. WRITE is a Markdown file for the text, too.
func runSoak(ctx context.Context, env *environment, _ []string) (code int, err error) {
	plan := chaos.SoakPlan{Say: env.say}
	var rate, seed int
	for _, read := range []func() error{
		func() (err error) { plan.Duration, err = duration("DURATION", time.Hour, time.Minute); return err },
		func() (err error) { plan.Cycle, err = duration("CYCLE", 2*time.Minute, 10*time.Second); return err },
		func() (err error) { rate, err = number("RATE", 50, 1, 10_000); return err },
		func() (err error) { seed, err = number("SEED", 1, 0, 1<<30); return err },
	} {
		if err := read(); err != nil {
			return exitUsage, err
		}
	}
	plan.Rate, plan.Seed = float64(rate), uint64(seed) //nolint:gosec // not below 0
	least := 2*plan.Cycle + 2*time.Minute              // orders have to outlive the audit of their cycle
	if plan.Keep, err = duration("KEEP", max(5*time.Minute, least), 0); err != nil {
		return exitUsage, err
	}
	if plan.Keep > 0 && plan.Keep < least {
		return exitUsage, fmt.Errorf("KEEP=%s: must be 0s or at least %s, so that orders outlive the audit of their cycle", plan.Keep, least)
	}
	plan.Every = min(10*time.Second, plan.Duration/60)
	root, err := stack.Root()
	if err != nil {
		return exitFault, err
	}
	out := os.Getenv("OUT")
	if out == "" {
		out = filepath.Join(root, "dist", "soak")
	}
	if err := os.MkdirAll(out, 0o755); err != nil { //nolint:gosec // figures for people to read
		return exitFault, err
	}
	binaries, err := build(ctx, env.session, root)
	if err != nil {
		return exitFault, err
	}
	suite := &chaos.Suite{Session: env.session, Binaries: binaries, PostgresFrom: os.Getenv("POSTGRES_FROM")}
	soak, err := suite.Soak(ctx, plan)
	if err != nil {
		return exitFault, err
	}
	var table bytes.Buffer
	if err := soak.WriteCSV(&table); err != nil {
		return exitFault, err
	}
	text, ok := soakText(plan, soak)
	for name, content := range map[string]string{"soak.csv": table.String(), "soak.txt": text} {
		if err := os.WriteFile(filepath.Join(out, name), []byte(content), 0o644); err != nil { //nolint:gosec // as above
			return exitFault, err
		}
	}
	fmt.Fprint(env.stdout, text)
	if file := os.Getenv("WRITE"); file != "" {
		if err := replaceSection(file, "soak", "```\n"+text+"```\n"); err != nil {
			return exitFault, err
		}
	}
	if !ok {
		return exitFault, nil
	}
	return 0, nil
}

func build(ctx context.Context, s *session.Session, root string) (stack.Binaries, error) {
	binaries, err := stack.Build(ctx, s, root, os.Getenv("BINARIES"), stack.Services...)
	if err != nil {
		return nil, fmt.Errorf("build the services: %w", err)
	}
	return binaries, nil
}

func soakText(plan chaos.SoakPlan, s chaos.Soak) (text string, ok bool) {
	var b strings.Builder
	kept := "for " + plan.Keep.String()
	if plan.Keep == 0 {
		kept = "for ever"
	}
	fmt.Fprintf(&b, "soak: %s at %v orders/s, kept %s, %d cycles, %d samples\n", plan.Duration, plan.Rate, kept, s.Cycles, len(s.Samples))
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(s.Faults)) {
		faults = append(faults, fmt.Sprintf("%s ×%d", name, s.Faults[name]))
	}
	fmt.Fprintf(&b, "faults: %s\naudit: %s\n", strings.Join(faults, ", "), s.Audit)
	ok = len(s.Wrong) == 0 && s.Audit.Accepted > 0
	for _, wrong := range s.Wrong {
		fmt.Fprintln(&b, "FAILED:", wrong)
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "measure\tfirst\tmost\tmean of 2nd half\trise over it\tmay rise\tverdict\t")
	for _, t := range s.Trends() {
		verdict := "flat"
		if !t.Flat {
			verdict, ok = "GROWS", false
		}
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.1f\t%+.1f\t%.1f\t%s\t\n", t.Name, t.FirstSample, t.Most, t.Mean, t.Rise, t.May, verdict)
	}
	_ = w.Flush() // it writes to memory
	return b.String(), ok
}

// duration reads a variable; least is the shortest that makes sense.
func duration(name string, or, least time.Duration) (time.Duration, error) {
	text := os.Getenv(name)
	if text == "" {
		return or, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < least {
		return 0, errors.New(name + "=" + text + ": must be a duration from " + least.String() + " on")
	}
	return d, nil
}
