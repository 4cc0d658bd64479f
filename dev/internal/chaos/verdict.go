package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"orderflow.example/dev/internal/stack"
)

// What is judged and how stands here, apart from how it comes to be known, so that a table can show that each broken promise fails.

// evidence is what is known of a fault's orders when everything has come to rest.
type evidence struct {
	account   stack.Report
	exitCode  int    // of the load generator's process
	ledger    ledger // the database's own
	unsettled error  // why not every order was settled and the queue empty; nil when they were

	probes          int64 // orders that the prober wanted
	probed          int64 // that were answered 201
	probedCompleted int64 // of these

	received *stack.Received // the receiver's account; nil without one
	effects  *stack.Effects  // of the function that is called in the ack's transaction; nil without one

	causeAt time.Time     // the cause's end, by the database's clock
	lag     time.Duration // of this machine
	lives   []life
	stories []story // of the orders that were not simply completed at once
}

// life is a process that nobody was meant to end.
type life struct {
	name    string
	running bool
}

// judge holds the evidence against what was promised to the customers.
func (r *Result) judge(f Fault, p Plan, e evidence) {
	a := e.account.Audit
	r.Orders = a.Accepted + e.probes
	r.Accepted = a.Accepted + e.probed
	r.Completed = a.Completed + e.probedCompleted
	r.Dead = a.Dead
	r.Lost = a.Lost + e.probed - e.probedCompleted
	r.Duplicated = max(a.Duplicated, e.ledger.twice) + e.ledger.doubled
	r.Retried = e.ledger.retried

	if f.Loses {
		r.judgeLosses(e)
		return
	}
	r.check(e.exitCode == 0 && e.account.ExitCode == 0, "loadgen's exit code", strings.Join(append([]string{fmt.Sprint(e.exitCode)}, e.account.Faults...), "; "), 0)
	r.checkSettled(e)
	r.check(r.Accepted > 0, "orders accepted", r.Accepted, "some")
	r.check(r.Lost == 0, "orders lost", r.Lost, 0)
	r.check(r.Accepted == r.Completed+r.Dead, "accepted = completed + dead", r.Completed+r.Dead, r.Accepted)
	if e.received != nil {
		r.judgeReceived(e.received)
	}
	if e.effects != nil {
		r.judgeEffects(e.effects, e.ledger.completed)
	}
	for _, l := range e.lives {
		r.check(l.running, l.name+" lives on", alive(l.running), alive(true))
	}
	if f.Recovery == nil {
		return
	}
	r.Recovery, r.Bar = e.ledger.recovery(e.causeAt), f.Recovery(p)
	bar := r.Bar + e.lag
	if p.Untimed {
		bar *= 10
	}
	r.check(e.ledger.firstAfter != nil, "orders posted after the cause's end that were completed", e.ledger.firstAfter != nil, true)
	r.check(r.Recovery <= bar, "recovery", r.Recovery, bar)
}

// checkSettled wants whatever orders there are to have come to rest, each with one effect or none.
func (r *Result) checkSettled(e evidence) {
	r.check(e.unsettled == nil, "every order is settled and the queue is empty",
		fmt.Sprintf("%d pending, %d queued (%v)", e.ledger.pending, e.ledger.queued, e.unsettled), "0 pending, 0 queued (<nil>)")
	r.checkOnce(e.ledger)
}

// checkOnce wants no order to be there twice, or to have had its effect twice or in another way than it says.
func (r *Result) checkOnce(l ledger) {
	r.check(r.Duplicated == 0, "orders made or processed twice", r.Duplicated, 0)
	r.check(l.mismatched == 0, "orders whose status and ledger disagree", l.mismatched, 0)
}

// judgeLosses is for what has to be lost: the run is good when the load generator has found that its orders are, and failed for it. What is
// not lost has to end as ever.
func (r *Result) judgeLosses(e evidence) {
	a := e.account.Audit
	r.measured(a.Lost > 0, "orders lost, which the load generator's audit has to find", a.Lost, "some")
	r.check(e.exitCode != 0 && e.account.ExitCode != 0, "loadgen's exit code", e.exitCode, "not 0")
	r.checkSettled(e)
	r.check(r.Accepted == r.Completed+r.Dead+r.Lost, "accepted = completed + dead + lost", r.Completed+r.Dead+r.Lost, r.Accepted)
}

// judgeAlone is for orders that were posted one at a time, each of them accepted and seen completed, with nobody else about: the ledger knows
// them, and no others.
func (r *Result) judgeAlone(l ledger) {
	r.Duplicated = l.twice + l.doubled
	r.checkOnce(l)
	r.check(r.Accepted == l.completed+l.dead, "accepted = completed + dead", l.completed+l.dead, r.Accepted)
}

// add sums the results of rounds up. What is worth reading stays once, what has failed says in which round.
func (r *Result) add(round Result, name string) {
	r.Orders += round.Orders
	r.Accepted += round.Accepted
	r.Completed += round.Completed
	r.Dead += round.Dead
	r.Lost += round.Lost
	r.Duplicated += round.Duplicated
	r.Retried = max(r.Retried, round.Retried) // the ledger's, of all rounds so far
	for _, c := range round.Checks {
		if !c.OK {
			c.What = name + ": " + c.What
		}
		c.Measured = false
		r.Checks = append(r.Checks, c)
	}
}

// note is a figure that nothing is promised of.
func (r *Result) note(what string, got any) {
	r.Checks = append(r.Checks, Check{What: what, Got: fmt.Sprint(got), OK: true, Measured: true})
}

// judgeEffects holds what the function wrote against the orders: one row for each that is completed, and none besides.
func (r *Result) judgeEffects(e *stack.Effects, completed int64) {
	r.check(e.Twice == 0, "orders with more than one row of the function's", e.Twice, 0)
	r.check(e.Missing == 0, "completed orders without a row of the function's", e.Missing, 0)
	r.check(e.Foreign == 0, "rows of the function's without a completed order", e.Foreign, 0)
	r.measured(e.Rows == completed, "rows of the function's", e.Rows, fmt.Sprintf("%d completed orders", completed))
}

// judgeReceived holds what arrived at the receiver against what the api accepted. Repetitions are counted and allowed.
func (r *Result) judgeReceived(a *stack.Received) {
	o, altered, forged := a.Orders, a.Received.Altered+a.Received.Mistaken, a.Requests["forged"]
	if o == nil {
		r.check(false, "orders that the receiver accounted for", 0, r.Accepted)
		return
	}
	altered += o.Altered
	r.Repeated = o.Repeated
	r.check(o.Accepted >= r.Accepted, "orders that the receiver accounted for", o.Accepted, r.Accepted)
	r.check(o.Never == 0, "orders completed that never arrived", o.Never, 0)
	r.check(altered == 0, "orders that arrived altered, or under another's id", altered, 0)
	r.check(a.Received.Renamed == 0, "orders that arrived under two ids", a.Received.Renamed, 0)
	r.check(forged == 0, "webhooks without a valid signature", forged, 0)
	r.measured(len(a.Faults) == 0, "receiver", fmt.Sprintf("%d once, %d repeated (%d repetitions), %d missing, %d altered, %d forged",
		o.Once, o.Repeated, a.Received.Repetitions, o.Never, altered, forged), "none missing, altered or forged")
}

func alive(yes bool) string {
	if yes {
		return "running"
	}
	return "ended"
}

// check records a promise and whether it was kept.
func (r *Result) check(ok bool, what string, got, want any) {
	r.Checks = append(r.Checks, Check{What: what, Got: fmt.Sprint(got), Want: fmt.Sprint(want), OK: ok})
}

// measured records a promise whose figure is worth reading.
func (r *Result) measured(ok bool, what string, got, want any) {
	r.check(ok, what, got, want)
	r.Checks[len(r.Checks)-1].Measured = true
}

// quick is measured for durations, with an allowance for what the machine itself was late. Where durations are not judged
// (Plan.Untimed) it is a figure only.
func (r *Result) quick(p Plan, lag time.Duration, what string, got, bar time.Duration) {
	late := 2 * lag // what is measured goes through two processes at least, and each can be late
	want := "at most " + bar.String()
	if got > bar {
		want += fmt.Sprintf(", and twice this machine's lag is %v", late.Round(time.Millisecond))
	}
	r.measured(got <= bar+late || p.Untimed, what, got.Round(10*time.Microsecond), want)
}

// Failed says whether any promise was broken. A fault that put none to the test, and was not left out for a reason, shows nothing.
func (r Result) Failed() bool {
	if r.Skipped != "" {
		return false
	}
	return r.Err != nil || len(r.Checks) == 0 || slices.ContainsFunc(r.Checks, func(c Check) bool { return !c.OK })
}

// Failed says whether a run of the suite has failed: one of its faults did, or none of them was run at all.
func Failed(results []Result) bool {
	run := 0
	for _, r := range results {
		if r.Failed() {
			return true
		}
		if r.Skipped == "" {
			run++
		}
	}
	return run == 0
}
