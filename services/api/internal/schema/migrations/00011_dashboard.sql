-- +goose Up

-- What the dashboard is made of. Nothing here is needed for an order to be accepted or processed, and all of it may be deleted at any time:
-- what still matters comes back by itself.

-- What each process says of itself, and has counted since it was started: about once a second while it works, less often when it idles. What
-- is left of a crash of the server's is out of date anyway, and a second later it is here again: so the table is unlogged, and a report waits
-- for no disk. It has no index but the key, and room on its pages: a report is a HOT update, whose dead version the next one cleans up.
create unlogged table orderflow.processes (
    key        text             not null primary key check (length(key) <= 300),
    queue      text             not null check (queue = lower(queue)),
    kind       text             not null check (kind in ('api', 'consumer')),
    name       text             not null check (length(name) <= 200),
    started_at timestamptz      not null check (started_at between '1970-01-01' and '3000-01-01'),
    seen_at    timestamptz      not null check (seen_at between '1970-01-01' and '3000-01-01'),
    every      double precision not null check (every >= 0 and every < 'Infinity'),
    state      text             not null check (state in ('working', 'idle', 'draining', 'gone')),
    busy       integer          not null default 0,
    capacity   integer          not null default 0,
    accepted   bigint           not null default 0,
    completed  bigint           not null default 0,
    failed     bigint           not null default 0,
    retried    bigint           not null default 0,
    dead       bigint           not null default 0,
    latency    bigint[]         not null default '{}' check (cardinality(latency) <= 100)
)
with (fillfactor = 20);

comment on table orderflow.processes is
    'Orderflow: what the processes of the api and the consumer last said of themselves. One row each; removed when they end, or are silent for a minute';
comment on column orderflow.processes.every is
    'It reports at least so often, in seconds';
comment on column orderflow.processes.latency is
    'Orders by the time from publication to completion: element i counts those of up to 2^(i/3) ms that are not in an element before';

-- Writes what a process says of itself, in the statement by which it looks at the queue anyway. So it must never fail that one, nor make
-- it wait: it gives up after a moment, and returns why nothing was written, or null. Its row is made anew when it is not there.
-- +goose StatementBegin
create function orderflow.report(
    key text, queue text, kind text, name text, age double precision, every double precision, state text, busy integer, capacity integer,
    accepted bigint, completed bigint, failed bigint, retried bigint, dead bigint, latency bigint[]
)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
as $$
begin
    insert into orderflow.processes as p
        (key, queue, kind, name, started_at, seen_at, every, state, busy, capacity, accepted, completed, failed, retried, dead, latency)
    values (
        report.key, lower(report.queue), report.kind, left(report.name, 200), clock_timestamp() - make_interval(secs => report.age),
        clock_timestamp(), report.every, report.state, report.busy, report.capacity, report.accepted, report.completed, report.failed,
        report.retried, report.dead, report.latency
    )
    on conflict on constraint processes_pkey do update
    set seen_at   = excluded.seen_at,
        every     = excluded.every,
        state     = excluded.state,
        busy      = excluded.busy,
        capacity  = excluded.capacity,
        accepted  = excluded.accepted,
        completed = excluded.completed,
        failed    = excluded.failed,
        retried   = excluded.retried,
        dead      = excluded.dead,
        latency   = excluded.latency;
    return null;
exception
    when query_canceled then
        raise;
    when others then
        return sqlerrm;
end
$$;
-- +goose StatementEnd

revoke execute on function orderflow.report(
    text, text, text, text, double precision, double precision, text, integer, integer, bigint, bigint, bigint, bigint, bigint, bigint[]
) from public;

-- The last hour, a row for each five seconds that an api was there to take it. A row's place is its step modulo 720, so that there are never
-- more; who takes a sample overwrites that of an hour before.
create table orderflow.samples (
    queue      text             not null check (queue = lower(queue)),
    slot       smallint         not null check (slot between 0 and 719),
    step       bigint           not null,
    seconds    double precision not null check (seconds > 0 and seconds < 'Infinity'),
    accepted   bigint           not null,
    completed  bigint           not null,
    failed     bigint           not null,
    retried    bigint           not null,
    dead       bigint           not null,
    waiting    bigint           not null,
    in_flight  bigint           not null,
    delayed    bigint           not null,
    oldest_age double precision not null check (oldest_age >= 0 and oldest_age < 'Infinity'),
    consumers  integer          not null,
    latency    bigint[]         not null check (cardinality(latency) <= 100),
    primary key (queue, slot)
)
with (fillfactor = 50);

comment on table orderflow.samples is
    'Orderflow: what happened in each five seconds of the last hour, for the dashboard''s charts';
comment on column orderflow.samples.step is
    'The sample''s end, in steps of five seconds since 1970';
comment on column orderflow.samples.seconds is
    'How long it spans: five, or more when nobody was there to take the one before';

-- Who takes the next sample, and what the processes had counted at the last one.
create table orderflow.sampling (
    queue        text   not null primary key check (queue = lower(queue)),
    claimed_step bigint not null default 0,
    sampled_at   timestamptz check (sampled_at between '1970-01-01' and '3000-01-01'),
    seen         jsonb  not null default '{}'
)
with (fillfactor = 50);

comment on table orderflow.sampling is
    'Orderflow: the state of taking samples, which the replicas of the api do in turn. One row a queue';

-- Of each 10,000 ids that orders can have, how many orders there are and what has become of them, as last looked at.
create table orderflow.order_counts (
    queue      text        not null check (queue = lower(queue)),
    first_id   bigint      not null,
    completed  integer     not null,
    dead       integer     not null,
    under_way  integer     not null,
    lost       integer     not null,
    example    bigint,
    begun_at   timestamptz not null default clock_timestamp(),
    checked_at timestamptz not null default clock_timestamp(),
    primary key (queue, first_id)
)
with (fillfactor = 50);

comment on table orderflow.order_counts is
    'Orderflow: the dashboard''s balance, a row for each 10,000 ids of orders';
comment on column orderflow.order_counts.lost is
    'Pending orders that name a message which is not in the queue';
comment on column orderflow.order_counts.example is
    'One of those that are lost';

-- What the doctor found. The consumers look about once a minute, one of them for all.
create table orderflow.findings (
    queue      text        not null primary key check (queue = lower(queue)),
    claimed_at timestamptz not null,
    at         timestamptz check (at between '1970-01-01' and '3000-01-01'),
    by         text        not null default '',
    findings   jsonb       not null default '[]'
)
with (fillfactor = 50);

comment on table orderflow.findings is
    'Orderflow: what `consumer doctor` says, for the dashboard. One row a queue';
comment on column orderflow.findings.claimed_at is
    'When a consumer last went to look; at is when it had the findings';
