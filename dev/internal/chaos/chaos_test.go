package chaos_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"orderflow.example/dev/internal/chaos"
	"orderflow.example/dev/internal/mutants"
	"orderflow.example/dev/internal/session"
	"orderflow.example/dev/internal/stack"
	"orderflow.example/kit/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// atOnce is how many faults run at the same time. Each mostly waits.
const atOnce = 4

// open builds the programs and returns the short version of the suite on the tests' Postgres.
func open(t *testing.T) *chaos.Suite {
	t.Helper()
	s, err := session.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	root, err := stack.Root()
	if err != nil {
		t.Fatal(err)
	}
	binaries, err := stack.Build(t.Context(), s, root, "", stack.Services...)
	if err != nil {
		t.Fatal(err)
	}
	plan := chaos.ShortPlan()
	plan.Untimed = true
	return &chaos.Suite{Session: s, Binaries: binaries, ServerURL: testdb.Server(t), Template: testdb.Template(t), Plan: plan}
}

// The short version of `dev chaos`: every fault, against the real binaries under load, each ended by both audits.
func TestNothingIsLostAndNothingHappensTwice(t *testing.T) {
	t.Parallel()
	suite := open(t)
	slots := make(chan struct{}, atOnce)
	faults := chaos.BriefFaults()
	results := make([]chan chaos.Result, len(faults))
	for i, f := range faults {
		results[i] = make(chan chaos.Result, 1)
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
			defer cancel()
			results[i] <- suite.Run(ctx, f)
		}()
	}
	for i, f := range faults {
		r := <-results[i] // before the subtest, whose end must not leave a fault running
		t.Run(f.Name, func(t *testing.T) {
			if r.Failed() {
				t.Error(details(r))
			}
			if r.Skipped == "" {
				holds(t, r)
			}
			t.Logf("%d accepted, recovery %v, %v in all\n%s", r.Accepted, r.Recovery, r.Took.Round(time.Millisecond), details(r))
		})
	}
}

// holds wants a result to have been held against histories and against starts: a fault whose orders nobody asks about passes as well.
func holds(t *testing.T, r chaos.Result) {
	t.Helper()
	var want []string
	if r.Fault.Name != "idle" { // its orders are posted one at a time, and watched
		want = append(want, "orders that were not completed at once, and are explained by their history", "what history and logs tell differently")
	}
	if !r.Fault.Measures && r.Fault.Name != "failover-once" { // where starts are not told of, see countsStarts
		want = append(want, "orders whose attempts are starts of their handler")
	}
	for _, what := range want {
		if !slices.ContainsFunc(r.Checks, func(c chaos.Check) bool { return strings.HasPrefix(c.What, what) }) {
			t.Errorf("nobody has looked at %s:\n%s", what, details(r))
		}
	}
}

// A build whose acks do not ask whether the lease still holds ends red, and so does one whose api writes twice what has no key, each for that
// reason; the same fault with the real one ends green.
func TestTheVerdictIsRedForABrokenBuild(t *testing.T) {
	t.Parallel()
	sound := open(t)
	faults, err := chaos.Select("outlive")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("sound", func(t *testing.T) {
		t.Parallel()
		r := sound.Run(bounded(t), faults[0])
		if r.Failed() {
			t.Error(details(r))
		}
		holds(t, r)
	})
	for twin, test := range map[string]struct {
		service stack.Service
		want    string
	}{
		mutants.AcksWithoutLease: {stack.Consumer, "FAILED: orders completed under a lease that another consumer had taken over"},
		mutants.WritesTwice:      {stack.API, "FAILED: orders made or processed twice"},
	} {
		t.Run(twin, func(t *testing.T) {
			t.Parallel()
			broken := *sound
			broken.Binaries = maps.Clone(sound.Binaries)
			maps.Copy(broken.Binaries, build(t, sound, twin, test.service))
			r := broken.Run(bounded(t), faults[0])
			if !r.Failed() || !chaos.Failed([]chaos.Result{r}) || !strings.Contains(details(r), test.want) {
				t.Errorf("%q is not in:\n%s", test.want, details(r))
			}
		})
	}
}

// build builds a service's broken twin.
func build(t *testing.T, suite *chaos.Suite, twin string, service stack.Service) stack.Binaries {
	t.Helper()
	root, err := stack.Root()
	if err != nil {
		t.Fatal(err)
	}
	m, err := mutants.Twin(twin)
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := m.Overlay(root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	binaries, err := stack.BuildOverlaid(t.Context(), suite.Session, root, overlay, service)
	if err != nil {
		t.Fatal(err)
	}
	return binaries
}

// That the api is slow does not excuse it: what this machine is late is measured without the system under test.
func TestASlowAPIIsNotThisMachinesLag(t *testing.T) {
	t.Parallel()
	suite := open(t)
	suite.Plan.Untimed = false
	r := suite.Run(bounded(t), chaos.FrozenAPI)
	if want := "FAILED: slowest answer"; !r.Failed() || !strings.Contains(details(r), want) {
		t.Errorf("%q is not in:\n%s", want, details(r))
	}
}

func details(r chaos.Result) string {
	var text strings.Builder
	chaos.Details(&text, r)
	return text.String()
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestSelect(t *testing.T) {
	t.Parallel()
	all, err := chaos.Select("")
	if err != nil || len(all) < 15 {
		t.Errorf("without a name: %d faults, %v", len(all), err)
	}
	two, err := chaos.Select("zombie, kill-api")
	if err != nil || len(two) != 2 || two[0].Name != "zombie" || two[1].Name != "kill-api" {
		t.Errorf("two names: %v, %v", two, err)
	}
	if _, err := chaos.Select("nosuch"); err == nil || !strings.Contains(err.Error(), "kill-consumer") {
		t.Errorf("an unknown name: %v; want an error with the known ones", err)
	}
	seen := map[string]bool{}
	for _, f := range all {
		if seen[f.Name] || f.Title == "" || f.Run == nil {
			t.Errorf("fault %+v", f)
		}
		seen[f.Name] = true
	}
}
