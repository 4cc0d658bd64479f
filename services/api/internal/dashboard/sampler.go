package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/api/internal/queue"
)

// sampler takes a sample every five seconds, whether anybody looks or not: one replica of the api for all. Who is first claims the step;
// what the processes had counted at the last sample is in the database, so any replica can take the next one.
type sampler struct {
	*store
	reporter *reporter
	tried    int64 // the step of the last try, by this host's clock
}

// tally is what a process had counted at a sample.
type tally struct {
	Accepted  int64   `json:"a,omitempty"`
	Completed int64   `json:"c,omitempty"`
	Failed    int64   `json:"f,omitempty"`
	Retried   int64   `json:"r,omitempty"`
	Dead      int64   `json:"d,omitempty"`
	Latency   []int64 `json:"l,omitempty"`
	Seen      int64   `json:"t"` // in seconds since 1970
}

// remembered is how long it is known of a process that is gone what it had counted, in seconds, should it come back; and of how many.
const (
	rememberedFor  = 3600
	rememberedMost = 500
)

// longestSample is how long a time a sample may speak for. When nobody was there for longer, what happened meanwhile is not shown.
const longestSample = time.Minute

// run takes the sample of this step, if nobody has.
func (s *sampler) run(ctx context.Context) error {
	now := stepOf(time.Now())
	if now == s.tried {
		return nil
	}
	s.tried = now
	var step int64
	var before *time.Time
	var raw []byte
	err := s.db.QueryRow(ctx, `
		/* orderflow dashboard: claim */
		insert into orderflow.sampling as s (queue, claimed_step)
		values (lower($1), floor(extract(epoch from clock_timestamp()) / $2)::bigint)
		on conflict (queue) do update
		set claimed_step = excluded.claimed_step
		where s.claimed_step < excluded.claimed_step or s.claimed_step > excluded.claimed_step + 2
		returning s.claimed_step, s.sampled_at, s.seen`, s.queue.Name(), sampleStep).Scan(&step, &before, &raw)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	} else if err != nil {
		return fmt.Errorf("claim a sample: %w", err)
	}
	known := map[string]tally{}
	if json.Unmarshal(raw, &known) != nil || known == nil { // null is JSON, too
		known = map[string]tally{}
	}
	if err := s.sample(ctx, step, before, known); err != nil {
		return err
	}
	return s.recount(ctx)
}

func (s *sampler) sample(ctx context.Context, step int64, before *time.Time, known map[string]tally) error {
	now, processes, figures, err := s.read(ctx)
	if err != nil {
		return err
	}
	taken := makeSample(step, before, now, known, processes, figures)
	raw, err := json.Marshal(known)
	if err != nil {
		return fmt.Errorf("write what was counted: %w", err)
	}
	var gone []string
	for _, p := range processes {
		if p.State == stateGone || p.vanished() {
			gone = append(gone, p.Key)
		}
	}
	// Nothing of it is written when another replica has taken a sample meanwhile: what was counted would be counted twice.
	_, err = s.db.Exec(ctx, `
		/* orderflow dashboard: sample */
		with mine as (
			update orderflow.sampling s
			set sampled_at = $3, seen = $5
			where s.queue = lower($1) and s.sampled_at is not distinct from $4
			returning s.queue
		),
		gone as (
			delete from orderflow.processes p
			using mine
			where p.queue = mine.queue and p.key = any ($6)
			  and (p.state = 'gone' or abs(extract(epoch from clock_timestamp() - p.seen_at)) > 5)
		)
		insert into orderflow.samples as s
			(queue, slot, step, seconds, accepted, completed, failed, retried, dead, waiting, in_flight, delayed, oldest_age, consumers, latency)
		select mine.queue, $2::bigint % 720, $2, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18
		from mine
		where $7::float8 > 0
		on conflict (queue, slot) do update
		set step       = excluded.step,
			seconds    = excluded.seconds,
			accepted   = excluded.accepted,
			completed  = excluded.completed,
			failed     = excluded.failed,
			retried    = excluded.retried,
			dead       = excluded.dead,
			waiting    = excluded.waiting,
			in_flight  = excluded.in_flight,
			delayed    = excluded.delayed,
			oldest_age = excluded.oldest_age,
			consumers  = excluded.consumers,
			latency    = excluded.latency`,
		s.queue.Name(), step, now, before, raw, gone, taken.Seconds, taken.Accepted, taken.Completed, taken.Failed, taken.Retried, taken.Dead,
		taken.Waiting, taken.InFlight, taken.Delayed, taken.OldestAge, taken.Consumers, taken.Latency)
	if err != nil {
		return fmt.Errorf("write a sample: %w", err)
	}
	return nil
}

// read is a look at what samples are made of.
func (s *sampler) read(ctx context.Context) (now time.Time, processes []process, figures queue.Snapshot, err error) {
	b := &pgx.Batch{}
	// What this process has counted until now, and not until its last report: that may be a second old, or be on its way, so that one sample
	// would be of four seconds and the next one of six.
	accepted := s.reporter.accepted()
	s.reporter.due(time.Now()).add(b, s.queue.Name())
	done := s.watcher.Join(b)
	b.Queue(`
		/* orderflow dashboard: processes */
		select clock_timestamp(), p.key, p.kind, p.state, p.started_at, p.seen_at, abs(extract(epoch from clock_timestamp() - p.seen_at))::float8,
			p.every, p.accepted, p.completed, p.failed, p.retried, p.dead, p.latency
		from (select 1) one
		left join orderflow.processes p on p.queue = lower($1)
		order by p.seen_at desc
		limit 1000`, s.queue.Name()).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var p process
			var key, kind, state *string
			var started, seen *time.Time
			var ago, every *float64
			var counters [5]*int64
			if err := rows.Scan(&now, &key, &kind, &state, &started, &seen, &ago, &every,
				&counters[0], &counters[1], &counters[2], &counters[3], &counters[4], &p.Latency); err != nil {
				return err
			}
			if key == nil {
				continue
			}
			p.Key, p.Kind, p.State, p.StartedAt, p.SeenAt, p.Ago, p.Every = *key, *kind, *state, *started, *seen, *ago, *every
			p.Accepted, p.Completed, p.Failed, p.Retried, p.Dead = *counters[0], *counters[1], *counters[2], *counters[3], *counters[4]
			if p.Key == s.reporter.key {
				p.Accepted = max(p.Accepted, accepted)
			}
			processes = append(processes, p)
		}
		return rows.Err()
	})
	err = s.db.SendBatch(ctx, b).Close()
	done(err)
	if err != nil {
		return now, nil, figures, fmt.Errorf("look at the processes: %w", err)
	}
	figures, ok := s.watcher.Last()
	if !ok {
		if figures, err = s.watcher.Get(ctx); err != nil {
			return now, nil, figures, fmt.Errorf("look at the queue: %w", err)
		}
	}
	return now, processes, figures, nil
}

// makeSample says what has happened since the sample before, and brings known up to date. Without a sample before, or with one that is too
// long ago, its Seconds are 0: there is nothing to say.
func makeSample(step int64, before *time.Time, now time.Time, known map[string]tally, processes []process, figures queue.Snapshot) sample {
	s := sample{
		Step: step, Waiting: figures.Visible, InFlight: figures.InFlight, Delayed: figures.Delayed, OldestAge: figures.OldestAgeSeconds, Latency: []int64{},
	}
	if before != nil && now.After(*before) && now.Sub(*before) <= longestSample {
		s.Seconds = now.Sub(*before).Seconds()
	}
	for _, p := range processes {
		if p.Kind == kindConsumer && p.State != stateGone && !p.silent() {
			s.Consumers++
		}
		counted := tally{p.Accepted, p.Completed, p.Failed, p.Retried, p.Dead, p.Latency, now.Unix()}
		then, ok := known[p.Key]
		known[p.Key] = counted
		// One that is not known is new, unless what was known is lost: then only what it counts from now on can be told.
		if !ok && (before == nil || p.StartedAt.Before(*before)) {
			continue
		}
		s.Accepted += max(0, counted.Accepted-then.Accepted)
		s.Completed += max(0, counted.Completed-then.Completed)
		s.Failed += max(0, counted.Failed-then.Failed)
		s.Retried += max(0, counted.Retried-then.Retried)
		s.Dead += max(0, counted.Dead-then.Dead)
		since := slices.Clone(counted.Latency)
		for i := range min(len(since), len(then.Latency)) {
			since[i] = max(0, since[i]-then.Latency[i])
		}
		s.Latency = addTo(s.Latency, since)
	}
	forget(known, now)
	return s
}

// forget drops what was counted by processes that have been gone for long, and of the others all but the latest.
func forget(known map[string]tally, now time.Time) {
	var seen []int64
	for key, t := range known {
		if t.Seen < now.Unix()-rememberedFor {
			delete(known, key)
			continue
		}
		seen = append(seen, t.Seen)
	}
	if len(known) <= rememberedMost {
		return
	}
	slices.Sort(seen)
	oldest := seen[len(seen)-rememberedMost]
	for key, t := range known {
		if t.Seen < oldest {
			delete(known, key)
		}
	}
}
