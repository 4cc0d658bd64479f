// Package chaos breaks a running Orderflow in every way it is promised to survive, under load, and then accounts for every order:
// by the load generator's audit through the api, and independently of it by SQL.
//
// It must never weaken what it tests: the services run with their real binaries and, but for the settings that a fault names,
// their defaults, on a Postgres with default durability.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"orderflow.example/dev/internal/session"
	"orderflow.example/dev/internal/stack"
)

// Plan says how hard and how long. The same plan with the same seed makes the same decisions.
type Plan struct {
	Rate     float64       // orders per second
	Duration time.Duration // of the cause, while load goes on before, during and after it
	Seed     uint64
	Short    bool // the same faults in a few seconds
	// Handler is what the consumers do with an order, one of Handlers; empty: simulate.
	Handler string
	// Rounds is how many failovers the fault of that name has; 0: each way once.
	Rounds int
	// Untimed judges no duration but a recovery that takes ten times as long as it may: for `make test`, which shares its machine
	// with whatever else is going on.
	Untimed bool
}

// FullPlan is what `dev chaos` does without settings.
func FullPlan() Plan { return Plan{Rate: 200, Duration: 15 * time.Second, Seed: 1} }

// ShortPlan is the version for the tests, and for a quick look.
func ShortPlan() Plan { return Plan{Rate: 60, Duration: 3 * time.Second, Seed: 1, Short: true} }

// pick is for what a fault needs in two sizes.
func pick[T any](p Plan, full, short T) T {
	if p.Short {
		return short
	}
	return full
}

// In says where a fault is run.
type In int

// Where faults are run.
const (
	Everywhere In = iota
	WholeRuns     // not in `make test`: it takes too long
	Tests         // in `make test` only: it is the small one of its kind
	Named         // only when it is asked for
)

// Fault is one thing that goes wrong.
type Fault struct {
	Name  string // as in FAULTS=
	Title string
	// OwnServer gives the fault a Postgres of its own, because it stops, crashes or pauses it.
	OwnServer bool
	// Handler is the one that the fault is about; empty: it is run with the plan's.
	Handler string
	// In says where the fault is run when nobody names it.
	In In
	// Loses says that orders have to be lost, and the audit has to find it.
	Loses bool
	// Measures says that figures are what it is about: the consumers then say no more than usual.
	Measures bool
	// Recovery is the bar for the time from the cause's end until the system is as before.
	Recovery func(Plan) time.Duration
	// Run brings the system up, breaks it under load, and accounts for all orders.
	Run func(ctx context.Context, r *Rig) error
}

// fiveSeconds is the recovery bar of everything but what waits for a visibility timeout.
func fiveSeconds(Plan) time.Duration { return 5 * time.Second }

// Faults are those of a whole run, in the order in which they are run.
func Faults() []Fault {
	return slices.DeleteFunc(all(), func(f Fault) bool { return f.In == Tests || f.In == Named })
}

// BriefFaults are those of `make test`.
func BriefFaults() []Fault {
	return slices.DeleteFunc(all(), func(f Fault) bool { return f.In == WholeRuns || f.In == Named })
}

func all() []Fault {
	return slices.Concat(consumerFaults(), crashFaults(), apiFaults(), postgresFaults(), failoverFaults(), patroniFaults(), networkFaults(), poolerFaults(), receiverFaults(), diskFaults(), loadFaults(), clockFaults(), measures())
}

// Select returns the named faults; all without a name.
func Select(names string) ([]Fault, error) {
	if strings.TrimSpace(names) == "" {
		return Faults(), nil
	}
	all := all()
	var chosen []Fault
	var known []string
	for _, f := range all {
		known = append(known, f.Name)
	}
	for _, name := range strings.FieldsFunc(names, func(c rune) bool { return c == ',' || c == ' ' }) {
		i := slices.Index(known, name)
		if i < 0 {
			return nil, fmt.Errorf("FAULTS: there is no %q; there are %s", name, strings.Join(known, ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// Check is one promise that a fault puts to the test.
type Check struct {
	What     string
	Got      string
	Want     string
	OK       bool
	Measured bool // a figure worth reading even when it is within its bar
}

// Result is what became of one fault.
type Result struct {
	Fault      Fault
	Orders     int64 // that somebody wanted
	Accepted   int64
	Completed  int64
	Dead       int64
	Lost       int64
	Duplicated int64
	Retried    int64 // attempts beyond an order's first
	Repeated   int64 // that came to the webhooks' receiver more than once
	Recovery   time.Duration
	Bar        time.Duration // for the recovery; 0 without one
	Took       time.Duration
	Skipped    string // why it was not run
	Checks     []Check
	Err        error // something went wrong with the run itself
	Log        []string
}

// Suite is what all faults share.
type Suite struct {
	Session  *session.Session
	Binaries stack.Binaries
	// ServerURL and Template are a running server and the name of a migrated database on it.
	ServerURL string
	Template  string
	Plan      Plan
	// PostgresFrom is where a fault's own server comes from, as in postgres.Options.
	PostgresFrom string
	// Log gets every line of the services of a fault, which then say more; may be nil.
	Log func(fault, line string)
	// Say tells the person how far a long fault has got; may be nil.
	Say func(format string, args ...any)
}

// logLevel is that of the services: without somebody who keeps all lines, only what may explain a failure.
func (s *Suite) logLevel() string {
	if s.Log == nil {
		return "warn"
	}
	return "info"
}

// skipError is returned by a fault that cannot be run on this machine.
type skipError struct{ why string }

func (e *skipError) Error() string { return e.why }

// Run runs one fault from the start of its stack to its end.
func (s *Suite) Run(ctx context.Context, f Fault) Result {
	started := time.Now()
	rig, err := newRig(ctx, s, f)
	if err == nil {
		err = errors.Join(f.Run(ctx, rig), rig.close(context.WithoutCancel(ctx)))
	}
	result := Result{Fault: f, Err: err}
	if rig != nil {
		result = rig.result
		result.Fault, result.Err = f, err
		result.Log = rig.troubles()
	}
	var skip *skipError
	if errors.As(err, &skip) {
		result.Err, result.Skipped = nil, skip.why
	}
	result.Took = time.Since(started)
	return result
}
