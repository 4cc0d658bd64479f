package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/stack"
)

// Failovers: a primary and two standbys, real streaming replication, DATABASE_URL with all three and nothing that says which is the primary.
// The rig is the manager, and a right one: see package postgres. What the services have to do is to find who takes writes, to take nothing
// for written that is not replicated, and to do nothing twice.

func failoverFaults() []Fault {
	return []Fault{
		{
			Name: "failover", Title: "failovers, the primary killed, frozen or cut off, or replaced as planned", OwnServer: true, In: WholeRuns,
			Run: func(ctx context.Context, r *Rig) error { return failovers(ctx, r, 3) },
		},
		{
			Name: "failover-standbys", Title: "a standby dies, then all: commits have nobody to wait for", OwnServer: true, In: Named,
			Run: standbysDie,
		},
		{
			Name: "failover-all-killed", Title: "SIGKILL to all servers and services in the middle of a failover", OwnServer: true, In: Named,
			Run: allKilled,
		},
		{
			Name: "failover-asynchronous", Title: "an asynchronous standby that was behind is promoted: the audit has to find what is lost",
			OwnServer: true, In: WholeRuns, Loses: true, Run: behind,
		},
		{
			Name: "failover-once", Title: "one failover: the primary is killed", OwnServer: true, In: Tests,
			Run: func(ctx context.Context, r *Rig) error { return failovers(ctx, r, 1) },
		},
	}
}

// way is one way in which a primary is replaced.
type way struct {
	name string
	// strike does it to the primary, so that the manager has a reason to act.
	strike func(ctx context.Context, r *Rig, primary *postgres.Member) error
	// after is what happens to the former primary when another one has been promoted, before it is made a standby.
	after func(ctx context.Context, r *Rig, former *postgres.Member) error
}

var ways = []way{
	{
		name:   "killed",
		strike: func(ctx context.Context, _ *Rig, p *postgres.Member) error { return p.Crash(ctx) },
	},
	{
		name:   "stopped at once",
		strike: func(ctx context.Context, _ *Rig, p *postgres.Member) error { return p.Halt(ctx, true) },
	},
	{
		name:   "frozen",
		strike: func(ctx context.Context, _ *Rig, p *postgres.Member) error { return p.Freeze(ctx) },
		after: func(ctx context.Context, r *Rig, p *postgres.Member) error {
			return errors.Join(p.Thaw(ctx), r.comesBack(ctx, p))
		},
	},
	{
		name: "cut off from clients and standbys",
		strike: func(_ context.Context, _ *Rig, p *postgres.Member) error {
			p.Clients.Freeze()
			p.Standbys.Refuse()
			return nil
		},
		after: func(ctx context.Context, r *Rig, p *postgres.Member) error {
			p.Clients.Thaw()
			p.Standbys.Accept()
			return r.comesBack(ctx, p)
		},
	},
	{
		name: "cut off from clients",
		strike: func(_ context.Context, _ *Rig, p *postgres.Member) error {
			p.Clients.Refuse()
			return nil
		},
		after: func(ctx context.Context, r *Rig, p *postgres.Member) error {
			p.Clients.Accept()
			return r.comesBack(ctx, p)
		},
	},
	{
		name: "cut off from standbys", // the clients reach it all the time, and what they ask it to commit waits
		strike: func(_ context.Context, _ *Rig, p *postgres.Member) error {
			p.Standbys.Refuse()
			return nil
		},
		after: func(ctx context.Context, r *Rig, p *postgres.Member) error {
			p.Standbys.Accept()
			return r.comesBack(ctx, p)
		},
	},
	{
		name:   "replaced as planned",
		strike: func(ctx context.Context, _ *Rig, p *postgres.Member) error { return p.Halt(ctx, false) },
	},
}

// upGroup brings a group and the services up.
func (r *Rig) upGroup(ctx context.Context, commit string) (*postgres.Group, error) {
	group, err := postgres.StartGroup(ctx, postgres.Options{Session: r.suite.Session, MaxConnections: 100}, 3, commit)
	if err != nil {
		return nil, err
	}
	r.group, r.databaseURL = group, group.URL()
	return group, r.up(ctx, settings{consumers: 2, consumer: r.work("SIMULATE_WORK=50ms")})
}

// failovers replaces the primary again and again, each time in another way, and each time with load and an audit of its own. Every other time
// the standbys of the new primary acknowledge what they have flushed and not only written.
func failovers(ctx context.Context, r *Rig, rounds int) error {
	if r.plan.Rounds > 0 && r.fault.In != Tests {
		rounds = r.plan.Rounds
	}
	commits := []string{"remote_write", "on"}
	group, err := r.upGroup(ctx, commits[0])
	if err != nil {
		return err
	}
	outages := map[string][]outage{}
	order := r.rand.Perm(len(ways))
	var sum Result
	for n := range rounds {
		if n > 0 && n%len(ways) == 0 {
			order = r.rand.Perm(len(ways))
		}
		w := ways[order[n%len(ways)]]
		if r.fault.In == Tests {
			w = ways[0]
		}
		for _, m := range group.Members {
			if err := m.Configure(ctx, group.Quorum(commits[n%2])); err != nil {
				return err
			}
		}
		r.result = Result{}
		o, err := r.round(ctx, n, w)
		if err != nil {
			return fmt.Errorf("round %d, %s: %w", n+1, w.name, err)
		}
		r.log("round %d of %d, %s, %s: accepted %d, lost %d, duplicated %d; %.2f s without an accepted order, %.2f s without a completed one", n+1, rounds, w.name, commits[n%2],
			r.result.Accepted, r.result.Lost, r.result.Duplicated, o.accepting.Seconds(), o.completing.Seconds())
		outages[w.name] = append(outages[w.name], o)
		sum.add(r.result, fmt.Sprintf("round %d (%s)", n+1, w.name))
		if r.result.Failed() {
			break // what comes after would only say it again
		}
	}
	r.result = sum
	var names []string
	for _, w := range ways {
		names = append(names, w.name)
	}
	r.reportOutages(names, outages)
	return nil
}

// outage is what a failover was to the clients: the longest time in which no order was accepted, and in which none was completed, since the
// primary was struck. found is the part of the first one after the promotion.
type outage struct{ accepting, completing, found time.Duration }

// round is one failover under load, and its audit.
func (r *Rig) round(ctx context.Context, n int, w way) (outage, error) {
	var o outage
	if err := r.loadFor(ctx, pick(r.plan, 3*time.Second, 2*time.Second), r.runID(n), "AUDIT_PATIENCE=60s"); err != nil {
		return o, err
	}
	if err := r.wait(ctx, 300*time.Millisecond+time.Duration(r.rand.Int64N(int64(700*time.Millisecond)))); err != nil {
		return o, err
	}
	former := r.group.Primary
	struck := time.Now()
	if err := w.strike(ctx, r, former); err != nil {
		return o, err
	}
	best, err := r.group.Best(ctx)
	if err != nil {
		return o, err
	}
	if err := r.group.Promote(ctx, best); err != nil {
		return o, err
	}
	r.ended()
	if w.after != nil {
		if err := w.after(ctx, r, former); err != nil {
			return o, err
		}
	}
	if err := r.rejoin(ctx, n, former); err != nil {
		return o, err
	}
	if err := r.account(ctx); err != nil {
		return o, err
	}
	r.checkAnswers()
	return r.outageSince(ctx, struck)
}

func (r *Rig) runID(n int) string { return fmt.Sprintf("RUN_ID=round%d", n+1) }

// rejoin makes a former primary a standby: by pg_rewind, or by a fresh copy.
func (r *Rig) rejoin(ctx context.Context, n int, m *postgres.Member) error {
	if m.Running() {
		if err := m.Halt(ctx, true); err != nil {
			return err
		}
	}
	join := m.Rewind
	if n%3 == 2 {
		join = m.Copy
	}
	if err := join(ctx, r.group.Primary); err != nil {
		return err
	}
	if err := m.Start(ctx); err != nil {
		return err
	}
	return r.group.Streaming(ctx, r.group.Standbys()...)
}

// comesBack is about a primary that was replaced and does not know. Its standbys are gone, so that nothing can be committed there in a way that
// anybody would take for an answer; and services that have seen its successor do not even try.
func (r *Rig) comesBack(ctx context.Context, former *postgres.Member) error {
	const orders = "select count(*) from public.orders where xmin::text::bigint >= $1"
	conn, err := former.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var standby bool
	var next int64
	if err := conn.QueryRow(ctx, "select pg_is_in_recovery(), txid_snapshot_xmax(txid_current_snapshot())").Scan(&standby, &next); err != nil {
		return err
	}
	r.check(!standby, "the former primary takes itself for the primary", !standby, true)
	// A few seconds of load pass by while it is there.
	if err := r.wait(ctx, pick(r.plan, time.Second, 500*time.Millisecond)); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err = conn.Exec(bounded, "create table if not exists public.zombie (id integer)")
	r.check(err != nil, "a commit at the former primary has no answer", err == nil, false)
	again, err := former.Connect(ctx)
	if err != nil {
		return err
	}
	defer again.Close(context.WithoutCancel(ctx))
	var written int64
	if err := again.QueryRow(ctx, orders, next).Scan(&written); err != nil {
		return err
	}
	r.result.note("orders that became visible at a former primary", written) // none was answered: the audit would miss them
	return nil
}

// outageSince measures the outage that began after a moment.
func (r *Rig) outageSince(ctx context.Context, moment time.Time) (o outage, err error) {
	var accepted []time.Time
	for _, one := range r.prober.all() {
		if at := one.sent.Add(one.took); one.status == 201 && at.After(moment) {
			accepted = append(accepted, at)
			if o.found == 0 && at.After(r.causeAt) {
				o.found = at.Sub(r.causeAt)
			}
		}
	}
	conn, err := r.connect(ctx)
	if err != nil {
		return o, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, `select completed_at from public.orders where completed_at >= $1`, moment)
	if err != nil {
		return o, err
	}
	completed, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err == nil && (len(accepted) == 0 || len(completed) == 0) {
		err = errors.New("no order was accepted, or completed, after the failover")
	}
	o.accepting, o.completing = longestGap(moment, accepted), longestGap(moment, completed)
	return o, err
}

// longestGap is the longest time without any of the moments, the first since it began.
func longestGap(began time.Time, moments []time.Time) (longest time.Duration) {
	slices.SortFunc(moments, time.Time.Compare)
	for _, at := range moments {
		longest = max(longest, at.Sub(began))
		began = at
	}
	return longest
}

// reportOutages says how long they were, by way and in all.
func (r *Rig) reportOutages(names []string, outages map[string][]outage) {
	var all []outage
	for _, name := range names {
		of := outages[name]
		if len(of) == 0 {
			continue
		}
		all = append(all, of...)
		r.result.note(fmt.Sprintf("%d times %s", len(of), name), percentiles(of))
	}
	r.result.note(fmt.Sprintf("%d failovers", len(all)), percentiles(all))
}

func percentiles(of []outage) string {
	figure := func(what string, value func(outage) time.Duration) string {
		var all []time.Duration
		for _, o := range of {
			all = append(all, value(o))
		}
		slices.Sort(all)
		return fmt.Sprintf("%s p50 %s p99 %s", what, seconds(percentile(all, 50)), seconds(percentile(all, 99)))
	}
	return strings.Join([]string{
		figure("accepting", func(o outage) time.Duration { return o.accepting }),
		figure("completing", func(o outage) time.Duration { return o.completing }),
		figure("accepting after the promotion", func(o outage) time.Duration { return o.found }),
	}, ", ")
}

// standbysDie takes one standby away, which nobody may notice, and then the other: nothing can be acknowledged, and the api has to say so.
func standbysDie(ctx context.Context, r *Rig) error {
	group, err := r.upGroup(ctx, "on")
	if err != nil {
		return err
	}
	if err := r.loadFor(ctx, pick(r.plan, 8*time.Second, 4*time.Second)); err != nil {
		return err
	}
	standbys := group.Standbys()
	alone := pick(r.plan, 2*time.Second, time.Second)
	if err := errors.Join(r.wait(ctx, alone/2), standbys[0].Crash(ctx), r.wait(ctx, alone)); err != nil {
		return err
	}
	before := len(r.prober.all())
	refusedBefore := slices.ContainsFunc(r.prober.all()[:before], func(one probe) bool { return one.status != 201 })
	r.check(!refusedBefore, "orders are accepted while one standby is there", !refusedBefore, true)
	if err := standbys[1].Crash(ctx); err != nil {
		return err
	}
	const why = "waits for a synchronous standby"
	var said string
	err = r.until(ctx, "the api says why it accepts nothing", func() (bool, error) {
		for _, one := range r.prober.all()[before:] {
			if one.err != nil && strings.Contains(one.err.Error(), why) {
				said = one.err.Error()
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	r.measured(true, "answer while no standby is there", said, why)
	err = r.until(ctx, "readiness says it", func() (bool, error) {
		err := r.api.Ready(ctx)
		return err != nil && strings.Contains(err.Error(), why), err
	})
	if err != nil {
		return err
	}
	for _, m := range standbys {
		if err := m.Start(ctx); err != nil {
			return err
		}
	}
	if err := group.Streaming(ctx, standbys...); err != nil {
		return err
	}
	r.ended()
	if err := r.account(ctx); err != nil {
		return err
	}
	r.checkAnswers()
	return nil
}

// allKilled is the worst moment, again and again: the primary is gone, the standbys do not receive any more, one of them is being promoted,
// and the power fails.
func allKilled(ctx context.Context, r *Rig) error {
	if _, err := r.upGroup(ctx, "on"); err != nil {
		return err
	}
	var sum Result
	brokenOff, rounds := 0, max(r.plan.Rounds, 1)
	for n := range rounds {
		r.result = Result{}
		promoted, err := r.allKilled(ctx, n)
		if err != nil {
			return fmt.Errorf("round %d: %w", n+1, err)
		}
		if !promoted {
			brokenOff++
		}
		r.log("round %d of %d, promoted %v: accepted %d, lost %d, duplicated %d", n+1, rounds, promoted, r.result.Accepted, r.result.Lost, r.result.Duplicated)
		sum.add(r.result, fmt.Sprintf("round %d", n+1))
		if r.result.Failed() {
			break // what comes after would only say it again
		}
	}
	r.result = sum
	r.result.note("rounds in which the promotion was broken off", fmt.Sprintf("%d of %d", brokenOff, rounds))
	return nil
}

// allKilled is one round, and its audit. It says whether the power failed after the promotion, and not before or in the middle of it.
func (r *Rig) allKilled(ctx context.Context, n int) (promoted bool, err error) {
	if err := r.loadFor(ctx, pick(r.plan, 3*time.Second, 2*time.Second), r.runID(n), "AUDIT_PATIENCE=90s"); err != nil {
		return false, err
	}
	if err := r.wait(ctx, 500*time.Millisecond+time.Duration(r.rand.Int64N(int64(time.Second)))); err != nil {
		return false, err
	}
	former := r.group.Primary
	timeline, err := former.Timeline(ctx)
	if err != nil {
		return false, err
	}
	if err := former.Crash(ctx); err != nil {
		return false, err
	}
	best, err := r.group.Best(ctx)
	if err != nil {
		return false, err
	}
	promoting := make(chan error, 1)
	go func() { promoting <- best.Exec(ctx, "select pg_promote(false)") }()
	if err := r.wait(ctx, time.Duration(r.rand.Int64N(int64(200*time.Millisecond)))); err != nil {
		return false, err
	}
	var killed sync.WaitGroup
	for _, n := range append([]*stack.Node{r.api}, r.consumers...) {
		killed.Go(n.Kill)
	}
	for _, m := range r.group.Standbys() {
		killed.Go(func() { _ = m.Crash(ctx) }) // it is running, or the next step says so
	}
	killed.Wait()
	if err := <-promoting; err != nil {
		r.log("asked for the promotion, no answer: %v", err)
	}

	for _, m := range r.group.Standbys() {
		if err := m.StartAsStandby(ctx); err != nil {
			return false, err
		}
	}
	if best, err = r.group.Best(ctx); err != nil {
		return false, err
	}
	if promoted, err = best.Began(ctx, timeline); err != nil {
		return false, err
	}
	if err := r.group.Promote(ctx, best); err != nil {
		return promoted, err
	}
	for _, n := range append([]*stack.Node{r.api}, r.consumers...) {
		if err := n.Start(); err != nil {
			return promoted, err
		}
		r.expect(n)
	}
	r.ended()
	return promoted, errors.Join(r.rejoin(ctx, n, former), r.account(ctx))
}

// behind is what a synchronous standby is there against: the primary commits alone, its standbys have fallen behind, it dies, and one of them
// is promoted. What was accepted meanwhile is lost. A run in which the audit finds nothing has failed: the audit has.
func behind(ctx context.Context, r *Rig) error {
	group, err := r.upGroup(ctx, "on")
	if err != nil {
		return err
	}
	if err := group.Primary.Configure(ctx, postgres.Replication{Commit: "on"}); err != nil {
		return err
	}
	if err := r.loadFor(ctx, 3*time.Second, "AUDIT_PATIENCE=10s"); err != nil {
		return err
	}
	if err := r.wait(ctx, time.Second); err != nil {
		return err
	}
	former := group.Primary
	former.Standbys.Refuse()
	if err := r.wait(ctx, time.Second); err != nil {
		return err
	}
	if err := former.Crash(ctx); err != nil {
		return err
	}
	best, err := group.Best(ctx)
	if err != nil {
		return err
	}
	for _, m := range group.Members {
		if err := m.Configure(ctx, postgres.Replication{Commit: "on"}); err != nil {
			return err
		}
	}
	if err := group.Promote(ctx, best); err != nil {
		return err
	}
	r.ended()
	return r.account(ctx)
}
