package mutants

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"orderflow.example/dev/internal/proc"
)

// Runner runs mutants.
type Runner struct {
	Root  string // of the working copy
	Dir   string // for the changed files; empty, and its owner removes it
	Jobs  int    // mutants at the same time
	Limit time.Duration
	Say   func(format string, args ...any) // told of each outcome
}

// Verdict is how a mutant ended.
type Verdict string

// The verdicts. Only the first two are as they should be.
const (
	Caught       Verdict = "caught"
	CaughtByTime Verdict = "caught by time" // the test did not end: a machine that stands still looks the same
	Survived     Verdict = "SURVIVED"
	Stale        Verdict = "STALE"  // it does not apply, or does not compile
	Unproven     Verdict = "BROKEN" // something else than the named test failed, or the test fails without the mutant, too
)

func (v Verdict) caught() bool { return v == Caught || v == CaughtByTime }

// Outcome is what became of one mutant.
type Outcome struct {
	Mutant
	Verdict Verdict
	Detail  string // when it was not caught
	Took    time.Duration
}

// Run runs each mutant against its test. Before the first mutant of a package its named tests run without any, and after the last one those
// that have caught one do so again: what fails for another reason by then, a database that has died or a disk that is full, has caught
// nothing. The error is that of a context which ended.
func (r *Runner) Run(ctx context.Context, mutants []Mutant) ([]Outcome, error) {
	places := r.places(ctx, mutants)
	outcomes := make([]Outcome, len(mutants))
	slots := make(chan struct{}, max(1, r.Jobs))
	var work sync.WaitGroup
	for i, m := range mutants {
		work.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			o := Outcome{Mutant: m}
			p := places[m.By.place()]
			if why, ok := p.broken()[m.By]; ok {
				o.Verdict, o.Detail = Unproven, "without any mutant: "+why
			} else {
				begun := time.Now()
				o.Verdict, o.Detail = r.try(ctx, m, filepath.Join(r.Dir, fmt.Sprintf("mutant-%d", i)))
				o.Took = time.Since(begun)
			}
			outcomes[i] = o
			r.Say("%-8s %s  (%s, %.0f s)", o.Verdict, m.Breaks, m.By, o.Took.Seconds())
			if caught, last := p.ran(i, o.Verdict); last {
				r.confirm(ctx, m.By.place(), outcomes, caught)
			}
		})
	}
	work.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return outcomes, nil
}

// place is what is known of the tests of one package, or of one suite.
type place struct {
	// broken runs its tests without a mutant and tells why those do not pass that do not. It does so once, when it is first asked: what is
	// found in one package is known before the next is looked at.
	broken func() map[Test]string

	mu     sync.Mutex
	left   int   // mutants that have not been run
	caught []int // those that were caught
}

func (r *Runner) places(ctx context.Context, mutants []Mutant) map[Test]*place {
	tests := map[Test][]string{}
	for _, m := range mutants {
		tests[m.By.place()] = append(tests[m.By.place()], m.By.Name)
	}
	places := map[Test]*place{}
	for at, names := range tests {
		places[at] = &place{left: len(names), broken: sync.OnceValue(func() map[Test]string { return r.baseline(ctx, at, names) })}
	}
	return places
}

// ran notes that a mutant has been run. After the last one it returns those that were caught.
func (p *place) ran(mutant int, v Verdict) (caught []int, last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left--
	if v.caught() {
		p.caught = append(p.caught, mutant)
	}
	return p.caught, p.left == 0
}

// confirm runs the tests that have caught mutants once more without any. Those that fail now have caught nothing.
func (r *Runner) confirm(ctx context.Context, at Test, outcomes []Outcome, caught []int) {
	if len(caught) == 0 {
		return
	}
	var names []string
	for _, i := range caught {
		names = append(names, outcomes[i].By.Name)
	}
	broken := r.baseline(ctx, at, names)
	for _, i := range caught {
		if why, ok := broken[outcomes[i].By]; ok {
			outcomes[i].Verdict, outcomes[i].Detail = Unproven, "afterwards, without any mutant: "+why
			r.Say("%-8s %s  (%s, afterwards)", Unproven, outcomes[i].Breaks, outcomes[i].By)
		}
	}
}

// baseline returns why the tests of one place that do not pass without a mutant do not.
func (r *Runner) baseline(ctx context.Context, place Test, names []string) map[Test]string {
	broken := map[Test]string{}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if place.Suite != "" {
		if out, err := r.chartTest(ctx, filepath.Join(r.Root, chartDir), place.Suite); err != nil {
			broken[place] = fmt.Sprintf("%v\n%s", err, tail(out))
		}
		return broken
	}
	out, err := r.goTest(ctx, place, names, "", filepath.Join(r.Root, chartDir))
	for _, name := range names {
		if !regexp.MustCompile(`(?m)^--- PASS: ` + regexp.QuoteMeta(name) + ` `).MatchString(out) {
			broken[goTest(place.Module, place.Package, name)] = fmt.Sprintf("it does not pass, or there is no such test (%v)\n%s", err, tail(out))
		}
	}
	return broken
}

// try runs one mutant against its test.
func (r *Runner) try(ctx context.Context, m Mutant, dir string) (Verdict, string) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the compiler may run as somebody else
		return Unproven, err.Error()
	}
	if m.By.Suite != "" {
		if err := m.chart(r.Root, dir); err != nil {
			return Stale, err.Error()
		}
		out, err := r.chartTest(ctx, dir, m.By.Suite)
		return chartVerdict(out, err)
	}
	// With a mutant it is expected that something never comes.
	env := []string{"TEST_PATIENCE=30s"}
	if m.touches(chartDir) { // what a Go test looks at, but not what it is built from
		if err := m.chart(r.Root, dir); err != nil {
			return Stale, err.Error()
		}
		out, err := r.goTest(ctx, m.By, []string{m.By.Name}, "", dir, env...)
		return goVerdict(m.By.Name, out, err)
	}
	overlay, err := m.Overlay(r.Root, dir)
	if err != nil {
		return Stale, err.Error()
	}
	if m.touches(api+"/internal/schema/") && m.By.Module == api {
		env = append(env, "TEST_TEMPLATE=") // that database was migrated without the mutant: the tests make one themselves
	}
	out, err := r.goTest(ctx, m.By, []string{m.By.Name}, overlay, filepath.Join(r.Root, chartDir), env...)
	return goVerdict(m.By.Name, out, err)
}

// goVerdict reads what `go test -v` has printed.
func goVerdict(name, out string, err error) (Verdict, string) {
	switch {
	case strings.Contains(out, "[build failed]"), strings.Contains(out, "[setup failed]"), strings.Contains(out, "build services/"):
		return Stale, "it does not compile\n" + tail(out)
	case err == nil:
		return Survived, tail(out)
	case regexp.MustCompile(`(?m)^\s*--- FAIL: ` + regexp.QuoteMeta(name) + `\b`).MatchString(out):
		return Caught, ""
	case strings.Contains(out, "panic: test timed out"):
		return CaughtByTime, ""
	case strings.Contains(out, "panic: ") && strings.Contains(out, "=== RUN   "+name), strings.Contains(out, "WARNING: DATA RACE"):
		return Caught, ""
	}
	return Unproven, fmt.Sprintf("%v\n%s", err, tail(out))
}

// chartVerdict reads what helm-unittest has printed. A template that cannot be parsed fails every test: that shows nothing.
func chartVerdict(out string, err error) (Verdict, string) {
	switch {
	case err == nil:
		return Survived, tail(out)
	case strings.Contains(out, "parse error"), strings.Contains(out, "error converting YAML"), strings.Contains(out, "function \"") && strings.Contains(out, "not defined"):
		return Stale, tail(out)
	case regexp.MustCompile(`Tests:\s+[1-9]\d* failed`).MatchString(out):
		return Caught, ""
	}
	return Unproven, fmt.Sprintf("%v\n%s", err, tail(out))
}

// goTest runs tests of one package: the limit is for each few of them. The overlay goes into GOFLAGS, so that a test that builds the services builds them with it.
func (r *Runner) goTest(ctx context.Context, at Test, names []string, overlay, chart string, env ...string) (string, error) {
	// What a property test notes of a failure would be noted in the working copy.
	env = append(env, "GOWORK=off", "RAPID_NOFAILFILE=true", "CHART="+chart, "BINARIES="+filepath.Join(r.Root, "bin"))
	if overlay != "" {
		env = append(env, strings.TrimSpace("GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay))
	}
	return r.command(ctx, filepath.Join(r.Root, at.Module), proc.Environ(env...), "go", "test", "-vet=off", "-count=1", "-v", "-timeout", (r.Limit * time.Duration(1+len(names)/8)).String(), "-run", "^("+strings.Join(names, "|")+")$", at.Package)
}

// chartTest runs one suite of the chart's tests on a copy of it.
func (r *Runner) chartTest(ctx context.Context, chart, file string) (string, error) {
	return r.command(ctx, r.Root, os.Environ(), filepath.Join(r.Root, "bin", "helm-unittest"), "--strict", "--file", file, chart)
}

// command runs a program with all that it starts in a group of its own, so that nothing of it outlives the context.
func (r *Runner) command(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*r.Limit+5*time.Minute) // go test has its own limit, and the compiler's time is not the test's
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), errors.Join(err, context.Cause(ctx))
}

// tail is the end of an output, for a person.
func tail(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return "    " + strings.Join(lines[max(0, len(lines)-15):], "\n    ")
}
