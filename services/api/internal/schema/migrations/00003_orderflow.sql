-- +goose Up

-- The schema orderflow has what belongs to no queue and no order, and the functions by which the services' roles do and see what
-- they have no rights to. Those run with their owner's rights: the search_path is pinned, so that nothing of the caller's can be
-- slipped under them, and only those may call them to whom it was granted.

-- +goose StatementBegin
do $do$
begin
    -- Looked for first: "create schema if not exists" asks for the right to create one even when it is there.
    if to_regnamespace('orderflow') is null then
        create schema orderflow;
        comment on schema orderflow is 'Orderflow: functions that act with their owner''s rights';
    end if;
end
$do$;
-- +goose StatementEnd

-- What tells this installation from every other, for ever: made once, and restored with the database. With an order's id and
-- created_at it names an order to the outside; two installations may well call the same receiver.
create table orderflow.installation (
    id       uuid    not null default gen_random_uuid(),
    only_one boolean not null primary key default true check (only_one)
);

comment on table orderflow.installation is
    'Orderflow: one row, made once. Do not change it: receivers would take orders that they know for new ones';

insert into orderflow.installation default values;

-- Fails, so that a statement which changed less than it was to change takes nothing of it for done: a row-level trigger that
-- returned null has kept rows from being written, and says so to nobody. The detail lists the messages that are concerned.
-- +goose StatementBegin
create function orderflow.not_written(what text, msg_ids bigint[])
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception '%', what
        using errcode = 'OF001',
              detail = msg_ids::text,
              hint = 'A row-level trigger has suppressed the write. `consumer doctor` names those that can.';
end
$$;
-- +goose StatementEnd

-- Who keeps vacuum from removing dead rows of this database, the oldest first: xmin_age is how many transactions back
-- they hold it, since when their transaction or its preparation began (a slot does not say). It shows no statements, so
-- that a role may see it which must not see what others run. An owner without pg_read_all_stats sees its own sessions only.
-- +goose StatementBegin
create function orderflow.vacuum_holders()
returns table (kind text, name text, xmin_age integer, since timestamptz, detail text)
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    select h.kind, h.name, h.xmin_age, h.since, h.detail
    from (
        -- A transaction holds what was alive when its snapshot was taken, and when it first wrote. Vacuum ignores its own kind.
        select 'session', a.pid::text, greatest(age(a.backend_xmin), age(a.backend_xid)), a.xact_start,
               concat_ws(', ', a.usename, nullif(a.application_name, ''), a.state)
        from pg_stat_activity a
        where a.datname = current_database()
          and a.pid <> pg_backend_pid()
          and a.backend_type not in ('autovacuum worker', 'walsender')

        union all
        select 'prepared transaction', p.gid, age(p.transaction), p.prepared, p.owner::text
        from pg_prepared_xacts p
        where p.database = current_database()

        union all
        select 'replication slot', s.slot_name::text, age(s.xmin), null,
               concat_ws(', ', s.slot_type, case when s.active then 'active' else 'inactive' end)
        from pg_replication_slots s

        union all
        select 'standby', r.pid::text, age(r.backend_xmin), r.backend_start,
               concat_ws(', ', r.usename, nullif(r.application_name, ''), r.state)
        from pg_stat_replication r
    ) h (kind, name, xmin_age, since, detail)
    where h.xmin_age is not null
    order by h.xmin_age desc;
$$;
-- +goose StatementEnd

revoke execute on function orderflow.vacuum_holders() from public;

-- What the consumers of a queue share: an operator's pause, the breaker that opens when what the handlers call is down, and the limit that
-- keeps the rate down afterwards. A queue without a row is open for business. services/consumer/internal/gate has the rules and says what the
-- columns mean; whoever changes a row changes its revision. The pause is changed by pause and resume alone. A row may be deleted at any time:
-- a pause ends with it, and the rest the consumers find out anew.
create table orderflow.gate (
    queue          text             not null primary key check (queue = lower(queue)),
    revision       bigint           not null,
    paused_at      timestamptz      check (isfinite(paused_at) and paused_at < '3000-01-01'),
    paused_by      text             not null default '',
    pause_reason   text             not null default '',
    breaker_open   boolean          not null default false,
    since          timestamptz      check (isfinite(since) and since < '3000-01-01'),
    reason         text             not null default '',
    failures       integer          not null default 0,
    probe_at       timestamptz      check (isfinite(probe_at) and probe_at < '3000-01-01'),
    prober         text             not null default '',
    probe_until    timestamptz      check (isfinite(probe_until) and probe_until < '3000-01-01'),
    normal_rate    double precision not null default 0 check (normal_rate >= 0 and normal_rate < 'Infinity'),
    rated_by       text[]           not null default '{}',
    arrivals       bigint           not null default 0,
    arrived_at     timestamptz      check (isfinite(arrived_at) and arrived_at < '3000-01-01'),
    limit_base     double precision not null default 0 check (limit_base >= 0 and limit_base < 'Infinity'),
    limit_growth   double precision not null default 0 check (limit_growth >= 0 and limit_growth < 'Infinity'),
    limit_at       timestamptz      check (isfinite(limit_at) and limit_at < '3000-01-01'),
    tokens         double precision not null default 0 check (tokens >= 0 and tokens < 'Infinity'),
    tokens_at      timestamptz      check (isfinite(tokens_at) and tokens_at < '3000-01-01'),
    patience_until timestamptz      check (isfinite(patience_until) and patience_until < '3000-01-01')
)
-- A few rows that are rewritten often: room for that on their page.
with (fillfactor = 10);

comment on table orderflow.gate is
    'Orderflow: whether the consumers of a queue may fetch: an operator''s pause, the breaker, a limit. One row a queue, or none';
comment on column orderflow.gate.paused_at is 'Since when an operator has stopped the queue; null: it is not stopped';
comment on column orderflow.gate.pause_reason is 'What the operator has given as the reason; empty: nothing';
comment on column orderflow.gate.breaker_open is 'What the handlers call is down: nothing is fetched but one order at a time, as a probe';
comment on column orderflow.gate.normal_rate is 'Orders a second before the outage, as far as is known';
comment on column orderflow.gate.limit_base is 'Orders a second that may be fetched, by all together, at limit_at; 0: there is no limit';

-- Stops the consumers of a queue until it is resumed, and tells them. A queue that is paused stays as it is: the first to pause it is the
-- one whom it names. Returns the gate as it is then.
-- +goose StatementBegin
create function orderflow.pause(queue text, by text, reason text)
returns orderflow.gate
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    now    timestamptz := clock_timestamp();
    result orderflow.gate;
begin
    -- Nobody works on a queue that is not there, and its row would stay for ever.
    if to_regclass(format('pgmq.%I', pgmq.format_table_name(pause.queue, 'q'))) is null then
        raise undefined_table using message = format('queue %L does not exist', pause.queue);
    end if;

    insert into orderflow.gate as g (queue, revision, paused_at, paused_by, pause_reason)
    values (lower(pause.queue), (extract(epoch from now) * 1000000)::bigint, now, pause.by, pause.reason)
    on conflict on constraint gate_pkey do update
    set revision     = greatest(g.revision + 1, excluded.revision),
        paused_at    = excluded.paused_at,
        paused_by    = excluded.paused_by,
        pause_reason = excluded.pause_reason
    where g.paused_at is null
    returning g.* into result;

    if found then
        perform pg_notify('orderflow_' || lower(pause.queue), 'gate');
        return result;
    end if;

    -- The row is paused already, and locked since the insert has met it.
    select g.* into result from orderflow.gate g where g.queue = lower(pause.queue);
    if result.paused_at is null then
        raise exception 'queue % cannot be paused: a trigger on orderflow.gate refuses it', pause.queue using errcode = 'OF001';
    end if;
    return result;
end
$$;
-- +goose StatementEnd

-- Ends a pause, and tells the consumers. A queue that is not paused stays as it is. Returns the gate as it is then; null: there is none.
-- +goose StatementBegin
create function orderflow.resume(queue text)
returns orderflow.gate
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    result orderflow.gate;
begin
    select g.* into result from orderflow.gate g where g.queue = lower(resume.queue) for update;
    if result.paused_at is null then
        return result;
    end if;

    update orderflow.gate g
    set revision     = greatest(g.revision + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint),
        paused_at    = null,
        paused_by    = '',
        pause_reason = ''
    where g.queue = result.queue
    returning g.* into result;
    if not found or result.paused_at is not null then
        raise exception 'queue % cannot be resumed: a trigger on orderflow.gate refuses it', resume.queue using errcode = 'OF001';
    end if;

    perform pg_notify('orderflow_' || result.queue, 'gate');
    return result;
end
$$;
-- +goose StatementEnd

revoke execute on function orderflow.pause(text, text, text) from public;
revoke execute on function orderflow.resume(text)            from public;
