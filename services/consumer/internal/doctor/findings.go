package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"orderflow.example/services/consumer/internal/queue"
)

// Finding is one thing that was looked at. Advice is empty when there is nothing to do.
type Finding struct {
	Check   string
	Finding string
	Advice  string
}

// Thresholds from which a figure is worth a person's attention.
const (
	longHeld    = time.Minute     // a transaction that works and holds vacuum back meanwhile
	longIdle    = 5 * time.Second // one that does nothing and holds vacuum back
	manyBack    = 1000            // transactions that it is held back by, when it is not known for how long
	longWaiting = time.Minute     // the message that is due first
	longUnseen  = 5 * time.Minute // since the last search for stranded orders
	manyDead    = 50_000          // dead rows of a queue's table
	bigEmpty    = 256 << 20       // bytes of a table that holds next to nothing
)

// Findings says what the figures mean.
func (f *Figures) Findings() []Finding {
	list := []Finding{f.schema()}
	if !f.Description.Tables {
		return list
	}
	return slices.Concat(list, []Finding{f.rights()}, f.effect(), f.consuming(),
		[]Finding{f.filters(), f.keepingUp(), f.stranded(), f.restore(), f.deadLetters(), f.vacuumHolder()}, f.deadRows(),
		[]Finding{f.durability(), f.settingsThatHurt(), f.notifications()})
}

func (f *Figures) schema() Finding {
	c := Finding{Check: "schema", Finding: fmt.Sprintf("version %d, this consumer needs %d", f.Description.SchemaVersion, queue.SchemaVersion)}
	switch {
	case !f.Description.Tables:
		c.Finding = "orders or the queue's tables are missing; " + c.Finding
		c.Advice = "Run `api migrate` (or start the api) with the same DATABASE_URL and QUEUE_NAME."
	case f.Description.SchemaVersion < queue.SchemaVersion:
		c.Advice = "Run `api migrate` of the same release; until then this consumer waits."
	}
	return c
}

func (f *Figures) rights() Finding {
	c := Finding{Check: "rights", Finding: f.Role + " may do what a consumer does"}
	if len(f.Missing) > 0 {
		c.Finding = f.Role + " lacks " + strings.Join(f.Missing, "; ")
		c.Advice = "Run `api migrate` with CONSUMER_DB_ROLE=" + f.Role + ", or grant it."
	}
	return c
}

// effect is about EFFECT_FUNCTION.
func (f *Figures) effect() []Finding {
	if f.Effect == nil {
		return nil
	}
	c := Finding{Check: "effect", Finding: f.Effect.Name + " is called with all orders of a transaction", Advice: f.Effect.Advice}
	switch {
	case f.Effect.Problem != "":
		c.Finding = f.Effect.Problem + ": orders wait"
	case f.Effect.Argument == "order":
		c.Finding = f.Effect.Name + " is called once for each order"
	}
	return []Finding{c}
}

// consuming is about what keeps consumers from fetching, whoever they are.
func (f *Figures) consuming() []Finding {
	if f.Gate == nil {
		return nil
	}
	c := Finding{Check: "consuming", Finding: cmp.Or(f.Gate.Describe(f.Gate.Now), "running")}
	switch {
	case f.Gate.Paused():
		c.Advice = "When it is to go on: consumer resume"
	case f.Gate.Open:
		c.Advice = "Mend what the handler calls. No attempt is counted meanwhile, and it goes on by itself."
	}
	return []Finding{c}
}

// filters are what makes a write match nothing. What has been suppressed is never taken for written, and so waits for ever.
func (f *Figures) filters() Finding {
	c := Finding{Check: "filters", Finding: "no row-level security, rule or trigger keeps rows from us"}
	var found, active, off []string
	for _, l := range f.Filters {
		text := strings.TrimSpace(l.Kind+" "+l.Name) + " on " + l.Table
		found = append(found, text)
		if l.Active {
			active = append(active, text)
			off = append(off, l.Off+";")
		}
	}
	if len(found) > 0 {
		c.Finding = strings.Join(found, ", ") + ": may keep rows from being read or written"
	}
	if len(active) > 0 {
		c.Advice = strings.Join(active, ", ") + " can keep orders from ever being completed. Let it pass what " + f.Role +
			" writes, or end it: " + strings.Join(off, " ")
	}
	return c
}

func (f *Figures) keepingUp() Finding {
	c := Finding{Check: "lag", Finding: "nothing is waiting"}
	if f.Waiting == nil {
		return c
	}
	c.Finding = "the message that is due first has waited for " + round(*f.Waiting)
	if *f.Waiting < longWaiting {
		return c
	}
	alike := f.alike()
	switch {
	case alike != "" && (f.Gate == nil || !f.Gate.Paused() && !f.Gate.Open):
		c.Advice = "Are there consumers? " + alike + ", so their sessions cannot be told apart: the dashboard shows them. " +
			"If there are, scale them out, raise CONCURRENCY, or leave BATCH_SIZE out when it is set and handlers are quick."
	case f.Consumers == 0 && alike == "":
		c.Advice = "No consumer is connected, as far as " + f.Role + " may see: start one."
	case f.Gate != nil && (f.Gate.Paused() || f.Gate.Open): // more of them would not help, and why is said under consuming
	default:
		c.Advice = fmt.Sprintf("%d consumers are connected: scale them out, raise CONCURRENCY, or leave BATCH_SIZE out when it is set and handlers are quick. "+
			"If they are idle, look for sessions that hold locks on the queue's rows (pg_locks).", f.Consumers)
	}
	return c
}

// alike says why consumers are not known by the names of their sessions; empty: they are.
func (f *Figures) alike() string {
	switch {
	case f.Pooled:
		return "A connection pooler in transaction mode is in between"
	case f.Renamed && f.Consumers == 0: // or this session alone is called so
		return "DATABASE_URL, or PGAPPNAME, gives sessions a name of its own"
	}
	return ""
}

// stranded is about orders that nobody will process: their message is gone, and nothing of the consumers' sees that it is.
func (f *Figures) stranded() Finding {
	c := Finding{Check: "stranded", Finding: "not known: the search of the api cannot be seen"}
	if f.Stranded == nil {
		return c
	}
	seen := "nobody has looked yet: the api does, while it runs"
	if f.Stranded.Looked != nil {
		seen = "looked at until " + round(time.Duration(*f.Stranded.Looked*float64(time.Second))) + " ago"
	}
	c.Finding = "every pending order has its message (" + seen + ")"
	if f.Stranded.Looked == nil {
		c.Finding = seen
	}
	switch {
	case f.Stranded.First != nil:
		c.Finding = fmt.Sprintf("%d orders are pending without a message, order %d the first (%s): nobody will process them", f.Stranded.Orders, *f.Stranded.First, seen)
		c.Advice = "List them, and give them new messages: api requeue, then api requeue -apply. Find out who took the messages: an unlogged queue, " +
			"another program's delete, pop, archive or purge, a backup that was restored in part."
	case f.Stranded.Looked != nil && *f.Stranded.Looked > longUnseen.Seconds():
		c.Advice = "The search goes on while an api runs. If one does: a transaction that has written orders and stays open holds it up, or its log says why."
	}
	return c
}

// restore is about what a restore of data alone leaves behind, and a failover by logical replication.
func (f *Figures) restore() Finding {
	c := Finding{Check: "restore", Finding: "sequences and the installation's id belong to the orders that are there"}
	var found, advice []string
	if len(f.Behind) > 0 {
		found = append(found, strings.Join(f.Behind, ", ")+": behind the table, so ids that are taken are given out again")
		advice = append(advice, "Bring them up: api migrate (an api does it at its start, too).")
	}
	if f.Restored != nil {
		found = append(found, fmt.Sprintf("orders are older than the schema (completed at %s), and orderflow.installation was not restored with them: "+
			"receivers will treat repeated webhooks as new", f.Restored.UTC().Format(time.RFC3339)))
		advice = append(advice, "Take that row from the dump: psql -c 'truncate orderflow.installation', then "+
			"pg_restore --data-only --schema=orderflow --table=installation. Such tables have to be emptied before data alone is restored; pg_restore has said "+
			"\"duplicate key\", and --exit-on-error ends it there.")
	}
	if f.Nameless {
		found = append(found, "orderflow.installation is empty: consumers that start wait for its row")
		advice = append(advice, "Take that row from the dump: pg_restore --data-only --schema=orderflow --table=installation. "+
			"Where there is none any more: insert into orderflow.installation default values; receivers will treat repeated webhooks as new.")
	}
	if len(found) > 0 {
		c.Finding, c.Advice = strings.Join(found, "; "), strings.Join(advice, " ")
	}
	return c
}

func (f *Figures) deadLetters() Finding {
	c := Finding{Check: "dead letters", Finding: fmt.Sprint(f.Letters)}
	if f.Letters > 0 {
		c.Advice = "Look at them with GET /dead-letters, and redrive or delete them."
	}
	return c
}

// vacuumHolder names the oldest: the others hold nothing back that it does not hold back already.
func (f *Figures) vacuumHolder() Finding {
	c := Finding{Check: "vacuum", Finding: "nothing holds it back for long"}
	for _, h := range f.Holders {
		if h.tolerable() {
			continue
		}
		held := "for an unknown time"
		if h.Seconds != nil {
			held = "for " + round(time.Duration(*h.Seconds*float64(time.Second)))
		}
		c.Finding = fmt.Sprintf("%s %s (%s) has held it back %s, %d transactions: no row that died since can be removed",
			h.Kind, h.Name, h.Detail, held, h.XminAge)
		switch h.Kind {
		case "session":
			c.Advice = fmt.Sprintf("End it: select pg_terminate_backend(%s); and give its role an idle_in_transaction_session_timeout.", h.Name)
		case "prepared transaction":
			c.Advice = fmt.Sprintf("Finish it: rollback prepared '%s'; or commit it.", strings.ReplaceAll(h.Name, "'", "''"))
		case "replication slot":
			c.Advice = "The standby that uses it runs long queries, or has hot_standby_feedback on and lags: look there."
			if !strings.Contains(h.Detail, "inactive") {
				break
			}
			c.Advice = fmt.Sprintf("If nobody uses it any more: select pg_drop_replication_slot('%s');", strings.ReplaceAll(h.Name, "'", "''"))
		default:
			c.Advice = "Look for long queries on that standby, or set its hot_standby_feedback to off."
		}
		return c
	}
	return c
}

// tolerable says whether it is too early for a word about it.
func (h *Holder) tolerable() bool {
	switch {
	case h.Kind == "standby", h.Seconds == nil: // since when a standby is connected says nothing about its queries
		return h.XminAge < manyBack
	case strings.Contains(h.Detail, "idle in transaction"):
		return *h.Seconds < longIdle.Seconds()
	default:
		return *h.Seconds < longHeld.Seconds()
	}
}

func (f *Figures) deadRows() []Finding {
	var list []Finding
	for _, t := range f.Tables {
		c := Finding{Check: "rows of " + strings.ReplaceAll(t.Name, `"`, "")}
		vacuumed := "not vacuumed since the statistics began"
		if t.Vacuumed != nil {
			vacuumed = "vacuumed " + round(time.Duration(*t.Vacuumed*float64(time.Second))) + " ago"
		}
		if t.Vacuuming {
			vacuumed += ", and at this moment"
		}
		c.Finding = fmt.Sprintf("%d live, %d dead, %d MiB; %s", t.Live, t.Dead, t.Bytes>>20, vacuumed)
		queue := strings.HasPrefix(t.Name, "pgmq.")
		switch {
		case t.Disabled:
			c.Advice = fmt.Sprintf("Autovacuum is switched off for it: alter table %s reset (autovacuum_enabled);", t.Name)
		case t.Dead > manyDead && t.Dead > t.Live && !t.Vacuuming:
			c.Advice = "Reads walk over dead rows. If nothing holds vacuum back (above), autovacuum does not keep up: " +
				"raise autovacuum_max_workers, lower autovacuum_naptime, or run: vacuum " + t.Name + ";"
		case queue && t.Bytes > bigEmpty && (t.Live+t.Dead)*4096 < t.Bytes/4:
			c.Advice = "It has grown far beyond what it holds, from an earlier backlog or a vacuum held back. The space is used again; to " +
				"give it back, in a quiet moment: vacuum full " + t.Name + ";"
		}
		list = append(list, c)
	}
	return list
}

// durability is about what a crash or a failover would lose.
func (f *Figures) durability() Finding {
	var found, advice []string
	say := func(when bool, what, why string) {
		if when {
			found, advice = append(found, what), append(advice, why)
		}
	}
	commit, synchronous := f.Settings["synchronous_commit"], f.Settings["synchronous_standby_names"]
	say(f.Settings["fsync"] == "off", "fsync = off", "A crash of the machine can destroy the database: set fsync = on.")
	say(f.Settings["full_page_writes"] == "off", "full_page_writes = off", "A crash can leave pages half written: set it to on.")
	say(commit == "off", "synchronous_commit = off", "A crash loses the latest results, and the orders are worked on again: set it to on for "+f.Role+". "+
		"(The api does not go by it: it waits for the disk always.)")
	say(commit == "local" && synchronous != "", "synchronous_commit = local", "A failover loses results that no standby has, and the orders are worked on again: "+
		"set it to on for "+f.Role+".")
	say(f.Standbys > 0 && synchronous == "", fmt.Sprintf("%d standbys replicate, and no commit waits for them", f.Standbys),
		"A failover loses the accepted orders that they do not have yet: set synchronous_standby_names, as 'ANY 1 (...)' of two at least.")
	for _, table := range f.Unlogged {
		say(true, table+" is unlogged", "A crash or a failover empties it: alter table "+table+" set logged;")
	}
	c := Finding{Check: "durability", Finding: "what was accepted outlives a crash"}
	if synchronous != "" {
		c.Finding = fmt.Sprintf("what was accepted outlives a crash, and a failover to the right one of %d standbys (%s)", f.Standbys, synchronous)
	}
	if len(found) > 0 {
		c.Finding, c.Advice = strings.Join(found, ", "), strings.Join(advice, " ")
	}
	return c
}

func (f *Figures) settingsThatHurt() Finding {
	var bad, advice []string
	say := func(name, value, why string) {
		if f.Settings[name] == value {
			bad = append(bad, name+" = "+value)
			advice = append(advice, why)
		}
	}
	say("autovacuum", "off", "Without autovacuum the queue's tables grow and get slow.")
	say("track_counts", "off", "Without track_counts autovacuum does not know where to go.")
	say("zero_damaged_pages", "on", "zero_damaged_pages destroys data that could be repaired.")
	c := Finding{Check: "settings", Finding: "none that hurt"}
	if len(bad) > 0 {
		c.Finding, c.Advice = strings.Join(bad, ", "), strings.Join(advice, " ")
	}
	return c
}

func (f *Figures) notifications() Finding {
	c := Finding{Check: "notifications", Finding: fmt.Sprintf("%.0f %% of the server's queue for them is in use", 100*f.NotifyUsage)}
	if f.NotifyUsage > 0.5 {
		c.Advice = "A session that listens sits in a transaction and keeps notifications from being cleared away; when the queue is full, " +
			"NOTIFY fails. Look for it: select * from pg_stat_activity where state like 'idle in transaction%';"
	}
	return c
}

func round(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	default:
		return d.Round(time.Minute).String()
	}
}
