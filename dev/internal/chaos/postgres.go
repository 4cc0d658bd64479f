package chaos

import (
	"context"
	"time"
)

func postgresFaults() []Fault {
	return []Fault{
		{
			Name: "terminate", Title: "pg_terminate_backend on all connections every second",
			Recovery: fiveSeconds, Run: terminate,
		},
		{
			Name: "postgres-restart", Title: "Postgres fast restart under load", OwnServer: true,
			Recovery: fiveSeconds, Run: postgresRestart,
		},
		{
			Name: "postgres-crash", Title: "Postgres SIGKILL and crash recovery under load", OwnServer: true,
			Recovery: visibilityAndASecond, Run: postgresCrash,
		},
		{
			Name: "postgres-freeze", Title: "Postgres SIGSTOP 15 s, then SIGCONT", OwnServer: true,
			Recovery: visibilityAndASecond, Run: postgresFreeze,
		},
	}
}

func terminate(ctx context.Context, r *Rig) error {
	if err := r.up(ctx, settings{consumers: 2, consumer: r.work()}); err != nil {
		return err
	}
	if err := r.load(ctx); err != nil {
		return err
	}
	err := r.every(ctx, pick(r.plan, time.Second, 700*time.Millisecond), func(int) error {
		return r.sql(ctx, `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`)
	})
	if err != nil {
		return err
	}
	r.ended()
	if err := r.account(ctx); err != nil {
		return err
	}
	r.checkAnswers()
	return nil
}

// underLoad brings the system up, lets it run for a moment and does something to its Postgres, once or a few times, each of which
// takes some time.
func (r *Rig) underLoad(ctx context.Context, times int, takes time.Duration, do func() error) error {
	if err := r.up(ctx, settings{consumers: 2, consumer: r.work()}); err != nil {
		return err
	}
	if err := r.loadFor(ctx, r.plan.Duration+time.Duration(times)*takes+r.tail()); err != nil {
		return err
	}
	for range times {
		if err := r.wait(ctx, r.plan.Duration/time.Duration(times+1)); err != nil {
			return err
		}
		if err := do(); err != nil {
			return err
		}
		r.ended()
	}
	if err := r.account(ctx); err != nil {
		return err
	}
	r.checkAnswers()
	r.checkAccepts(2 * time.Second)
	return nil
}

func postgresRestart(ctx context.Context, r *Rig) error {
	// A restart of a server with real work takes its time; everybody has to notice that it is away.
	away := pick(r.plan, 2*time.Second, 500*time.Millisecond)
	return r.underLoad(ctx, pick(r.plan, 2, 1), away, func() error {
		if err := r.server.Halt(ctx); err != nil {
			return err
		}
		if err := r.wait(ctx, away); err != nil {
			return err
		}
		return r.server.Start(ctx)
	})
}

func postgresCrash(ctx context.Context, r *Rig) error {
	return r.underLoad(ctx, pick(r.plan, 2, 1), 0, func() error {
		if err := r.server.Crash(ctx); err != nil {
			return err
		}
		return r.server.Start(ctx)
	})
}

// postgresFreeze is the outage that looks like none: connections stand and nothing answers.
func postgresFreeze(ctx context.Context, r *Rig) error {
	frozen := pick(r.plan, 15*time.Second, 3*time.Second)
	return r.underLoad(ctx, 1, frozen, func() error {
		if err := r.server.Pause(ctx); err != nil {
			return err
		}
		if err := r.wait(ctx, frozen); err != nil {
			return err
		}
		return r.server.Resume(ctx)
	})
}
