// Package durability owns the question what a crash or a failover would lose of the orders that are accepted, with the settings that the
// database has: not those that somebody believes it to have. It asks on the session that writes, whenever that is a new one, and every now
// and then on another, since settings change while servers run.
//
// It must never change a setting, and never ask the database while a request waits for it.
package durability

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The risks, as metrics name them.
const (
	Fsync        = "fsync"
	PageWrites   = "full_page_writes"
	Commit       = "synchronous_commit"
	Asynchronous = "asynchronous_standbys"
	Unlogged     = "unlogged_tables"
)

// Risks are all that there are.
var Risks = []string{Fsync, PageWrites, Commit, Asynchronous, Unlogged}

// Finding is one risk that there is, in words.
type Finding struct{ Risk, Text string }

// Facts are what the database says.
type Facts struct {
	Server            time.Time // when it started, which tells it from others
	Fsync, PageWrites bool
	Commit            string // synchronous_commit of the session that writes; empty: not asked
	Synchronous       string // synchronous_standby_names
	Standbys          int    // that stream, whether commits wait for them or not
	Unlogged          []string
}

// Findings says what facts mean. It is empty when what was accepted outlives a crash and, where there are standbys, a failover to one that
// has all that was acknowledged.
func (f Facts) Findings() (found []Finding) {
	say := func(when bool, risk, text string) {
		if when {
			found = append(found, Finding{risk, text})
		}
	}
	say(!f.Fsync, Fsync, "fsync is off: a crash of the server's machine can destroy the database, and lose every order")
	say(!f.PageWrites, PageWrites, "full_page_writes is off: a crash can leave pages half written, and orders unreadable")
	say(f.Commit == "off", Commit, "synchronous_commit is off where orders are written: a crash loses the latest of those that were accepted")
	say(f.Commit == "local" && f.Synchronous != "", Commit,
		"synchronous_commit is local where orders are written: a failover loses those that no standby has yet")
	say(f.Standbys > 0 && f.Synchronous == "", Asynchronous, fmt.Sprintf(
		"%d standbys replicate and no commit waits for them (synchronous_standby_names is empty): "+
			"a failover loses the orders that were accepted and that they do not have yet",
		f.Standbys))
	say(len(f.Unlogged) > 0, Unlogged, strings.Join(f.Unlogged, ", ")+" is unlogged: a crash or a failover empties it")
	return found
}

// Querier is a connection, or a pool of them.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// settingsSQL takes the tables that orders are written to, and looks at their partitions, too.
const settingsSQL = `
with ours as (select pg_catalog.to_regclass(t) as oid from pg_catalog.unnest($1::text[]) as t)
select pg_catalog.pg_postmaster_start_time(), current_setting('fsync')::boolean, current_setting('full_page_writes')::boolean,
       current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),
       array(select c.oid::regclass::text
               from pg_catalog.pg_class as c
              where c.relpersistence = 'u'
                and (c.oid in (select oid from ours) or c.oid in (select inhrelid from pg_catalog.pg_inherits where inhparent in (select oid from ours)))
              order by 1)`

// Look asks the database. The tables are given as regclass takes them.
func Look(ctx context.Context, db Querier, tables []string) (f Facts, err error) {
	if err := db.QueryRow(ctx, settingsSQL, tables).Scan(&f.Server, &f.Fsync, &f.PageWrites, &f.Commit, &f.Synchronous, &f.Unlogged); err != nil {
		return f, fmt.Errorf("look at what makes orders durable: %w", err)
	}
	// By the schema's function, because only few roles may see what a standby does.
	err = db.QueryRow(ctx, `select count(*) from orderflow.standbys()`).Scan(&f.Standbys)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && slices.Contains([]string{pgerrcode.UndefinedFunction, pgerrcode.InsufficientPrivilege, pgerrcode.InvalidSchemaName}, refused.Code) {
		err = nil // a schema or a role from before it
	}
	if err != nil {
		return f, fmt.Errorf("look for standbys: %w", err)
	}
	return f, nil
}

// Options say how a [Checker] works.
type Options struct {
	Tables []string
	Strict bool // orders are refused while there is a risk, or none is known of
	Log    *slog.Logger
}

// Checker knows the risks of now. Its methods may be called by several goroutines. A nil one asks nothing and refuses nothing.
type Checker struct {
	opts Options

	mu        sync.Mutex
	known     bool
	findings  []Finding
	sessions  int       // that were going to write, so far; the rest is about the latest of them
	commit    string    // its setting
	server    time.Time // its server's start
	elsewhere int       // times in a row that another server has answered since
}

// New makes a checker that knows nothing yet.
func New(o Options) *Checker { return &Checker{opts: o} }

// Session asks on a session that is going to write, before it does. An error is one of the connection.
func (c *Checker) Session(ctx context.Context, db Querier) error {
	if c == nil {
		return nil
	}
	facts, err := Look(ctx, db, c.opts.Tables)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.sessions++
	c.commit, c.server, c.elsewhere = facts.Commit, facts.Server, 0
	before := c.note(facts)
	c.mu.Unlock()
	c.tell(before, facts.Findings())
	return nil
}

// Why what was found does not count. It is to be looked at again.
var (
	errOvertaken = errors.New("there is another session that writes, and what it has found counts")
	errElsewhere = errors.New("another server answers than the one that orders are written to")
)

// patience is how often in a row another server may answer until it is taken for the right one. After a failover connections lead to the
// server before for a moment. For longer than that it is the writer's session that does: who has nothing to write does not notice.
const patience = 5

// Again asks on another session of the same database. The error is one of the connection, or says that what was found does not count.
func (c *Checker) Again(ctx context.Context, db Querier) error {
	c.mu.Lock()
	session := c.sessions
	c.mu.Unlock()
	facts, err := Look(ctx, db, c.opts.Tables)
	if err != nil {
		return err
	}
	c.mu.Lock()
	if err = c.counts(session, facts); err != nil {
		c.mu.Unlock()
		return err
	}
	facts.Commit = c.commit // what another session has says nothing
	before := c.note(facts)
	c.mu.Unlock()
	c.tell(before, facts.Findings())
	return nil
}

// counts is nil when what was found, since there were so many sessions that write, is about the server of the latest of them. The caller
// holds c.mu.
func (c *Checker) counts(sessions int, f Facts) error {
	switch {
	case sessions != c.sessions:
		return errOvertaken
	case sessions == 0, f.Server.Equal(c.server):
		c.elsewhere = 0
	case c.elsewhere < patience:
		c.elsewhere++
		return errElsewhere
	}
	return nil
}

// note remembers what was found, and returns what was known before. The caller holds c.mu.
func (c *Checker) note(f Facts) (before []Finding) {
	before = c.findings
	c.known, c.findings = true, f.Findings()
	return before
}

// tell logs what is news.
func (c *Checker) tell(before, found []Finding) {
	for _, finding := range found {
		if !slices.Contains(before, finding) {
			c.opts.Log.Warn("orders may be lost: "+finding.Text, "risk", finding.Risk, "refused", c.opts.Strict)
		}
	}
	if len(found) == 0 && len(before) > 0 {
		c.opts.Log.Info("orders are durable again")
	}
}

// Findings are the risks of now.
func (c *Checker) Findings() []Finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.findings)
}

// Refusal says why no order may be accepted; empty when they may be.
func (c *Checker) Refusal() string {
	if c == nil || !c.opts.Strict {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.known:
		return "it is not known yet what a crash would lose (DURABILITY=strict)"
	case len(c.findings) > 0:
		return c.findings[0].Text + " (DURABILITY=strict)"
	}
	return ""
}

// How often settings are looked at again; sooner when somebody waits for them to be mended, or what was found did not count.
const (
	every      = time.Minute
	everyUnfit = 2 * time.Second
	timeout    = 5 * time.Second
)

// Run looks again and again until ctx ends. up tells whether there is a database to ask.
func (c *Checker) Run(ctx context.Context, db Querier, up func() bool) {
	ticker := time.NewTicker(everyUnfit)
	defer ticker.Stop()
	var looked time.Time
	for {
		if up() && (time.Since(looked) >= every || c.Refusal() != "" || looked.IsZero()) {
			limited, cancel := context.WithTimeout(ctx, timeout)
			err := c.Again(limited, db)
			cancel()
			if err == nil {
				looked = time.Now()
			} else {
				c.opts.Log.DebugContext(ctx, "cannot check the durability settings", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
