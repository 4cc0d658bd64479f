package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// What a manager of a group does (Patroni, CloudNativePG, a person with a runbook), done right: a standby is promoted only when it is known to
// have everything that was acknowledged.
//
// With ANY 1 of two standbys an acknowledged commit is on one of the two, and nobody knows on which. So both are asked, after both have
// stopped receiving, and the one that has received more is promoted: the log is one sequence, so it has what the other has. With only one of
// the two there, promoting would be a guess, and is refused.

// Copy makes the member a standby of another one: a fresh pg_basebackup.
func (m *Member) Copy(ctx context.Context, from *Member) error {
	if err := os.RemoveAll(m.cluster.data()); err != nil {
		return err
	}
	if err := m.program(ctx, "pg_basebackup", "--pgdata="+m.cluster.data(), "--host=127.0.0.1", "--port="+strconv.Itoa(from.cluster.port),
		"--username=postgres", "--checkpoint=fast", "--wal-method=stream", "--no-sync"); err != nil {
		return fmt.Errorf("copy %s from %s: %w", m.Name, from.Name, err)
	}
	return m.standby(from)
}

// Rewind makes a former primary, which has ended, a standby of another member: what it had written and nobody replicated is undone.
func (m *Member) Rewind(ctx context.Context, from *Member) error {
	// pg_rewind goes by the control file, which knows of the new timeline after the first checkpoint on it.
	if err := from.Exec(ctx, "checkpoint"); err != nil {
		return err
	}
	if err := m.program(ctx, "pg_rewind", "--target-pgdata="+m.cluster.data(), "--no-sync",
		"--source-server=host=127.0.0.1 port="+strconv.Itoa(from.cluster.port)+" user=postgres dbname=postgres"); err != nil {
		return fmt.Errorf("rewind %s to %s: %w", m.Name, from.Name, err)
	}
	return m.standby(from)
}

// standby makes the member, which does not run, one that follows another.
func (m *Member) standby(of *Member) error {
	signal := filepath.Join(m.cluster.data(), "standby.signal")
	if err := os.WriteFile(signal, nil, 0o600); err != nil {
		return err
	}
	m.behind = of
	return errors.Join(m.group.own(signal), m.configure())
}

// Follow makes a standby, running or not, replicate another member; nil: nobody.
func (m *Member) Follow(ctx context.Context, other *Member) error {
	m.behind = other
	if err := m.Configure(ctx, m.conf); err != nil || other != nil || !m.Running() {
		return err
	}
	return m.until(ctx, "it has stopped receiving, and replayed what it has", `
		select not exists (select from pg_stat_wal_receiver)
		   and exists (select from pg_stat_activity where backend_type = 'startup' and wait_event in ('RecoveryRetrieveRetryInterval', 'RecoveryWalStream'))`)
}

// received is how far a standby has got in the log.
func (m *Member) received(ctx context.Context) (position int64, err error) {
	conn, err := m.Connect(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, `
		select (greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0')::bigint`).Scan(&position)
	return position, err
}

// ErrUnsafe is returned when promoting any standby might lose what was acknowledged.
var ErrUnsafe = errors.New("not all standbys are there: what was acknowledged may be on the one that is not")

// Best is the standby that has everything that was acknowledged. Afterwards none receives anything from the primary any more, so that it can
// acknowledge nothing: that is what keeps a primary that is only cut off, or frozen, from being written to.
func (g *Group) Best(ctx context.Context) (*Member, error) {
	var best *Member
	most := int64(-1)
	for _, m := range g.Standbys() {
		if !m.Running() {
			return nil, ErrUnsafe
		}
		if err := m.Follow(ctx, nil); err != nil {
			return nil, err
		}
	}
	for _, m := range g.Standbys() {
		position, err := m.received(ctx)
		if err != nil {
			return nil, err
		}
		if position > most {
			best, most = m, position
		}
	}
	return best, nil
}

// StartAsStandby starts a member that was killed, perhaps while it was promoted, as a standby, which a manager may then promote.
//
// A promotion first takes away what makes a server a standby, and a moment later begins its timeline. Killed in between, the server would come back as a
// primary on the timeline of the one that it was to replace. pg_rewind finds nothing to undo on that one then, and the two have different logs under one
// name. So whatever it was becoming, it is a standby again, as it is with Patroni, and the next promotion begins a timeline.
func (m *Member) StartAsStandby(ctx context.Context) error {
	if err := m.standby(m.behind); err != nil {
		return err
	}
	return m.Start(ctx)
}

// Timeline is the one that a primary writes.
func (m *Member) Timeline(ctx context.Context) (timeline int, err error) {
	conn, err := m.Connect(ctx)
	if err != nil {
		return 0, err
	}
	err = conn.QueryRow(ctx, `select ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer`).Scan(&timeline)
	return timeline, errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}

// Began tells whether a standby has begun a timeline after the one that is given: it was a primary before it was killed.
func (m *Member) Began(ctx context.Context, after int) (began bool, err error) {
	conn, err := m.Connect(ctx)
	if err != nil {
		return false, err
	}
	err = conn.QueryRow(ctx, `select greatest(r.min_recovery_end_timeline, c.timeline_id) > $1 from pg_control_recovery() r, pg_control_checkpoint() c`, after).Scan(&began)
	return began, errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}

// Promote makes a standby the primary, and has the other standbys that run follow it. The former primary is left as it is.
func (g *Group) Promote(ctx context.Context, m *Member) error {
	former := g.Primary
	m.behind = nil
	if err := m.Exec(ctx, "select pg_is_in_recovery() and pg_promote(true, 60)"); err != nil {
		return fmt.Errorf("promote %s: %w", m.Name, err)
	}
	if err := m.until(ctx, "it is promoted", "select not pg_is_in_recovery()"); err != nil {
		return err
	}
	g.Primary = m
	for _, other := range g.Members {
		if other == m || other == former {
			continue
		}
		if err := other.Follow(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// Streaming waits until standbys replicate the primary, and are counted for its quorum.
func (g *Group) Streaming(ctx context.Context, standbys ...*Member) error {
	for _, m := range standbys {
		err := g.Primary.until(ctx, m.Name+" streams", `
			select exists (select from pg_stat_replication where application_name = $1 and state = 'streaming'
			                  and (sync_state in ('quorum', 'sync') or current_setting('synchronous_standby_names') = ''))`, m.Name)
		if err != nil {
			return err
		}
	}
	return nil
}
