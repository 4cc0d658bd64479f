-- +goose Up

-- What the schema orderflow has since the first release. Databases of the builds between that one and the next have parts of it,
-- under the numbers 3 to 8, which came to stand for other things: so what is there stays or is replaced, and what is missing is made.

-- +goose StatementBegin
do $do$
begin
    if exists (
        select from pg_constraint c
        where c.conrelid = 'public.orders'::regclass and c.conname = 'orders_price_is_a_number' and c.convalidated
    ) then
        return;
    end if;

    -- numeric(12,2) has no infinity, but it has NaN, which is larger than every number and so not negative.
    if exists (select from public.orders o where o.price = 'NaN') then
        raise exception 'the table orders has rows whose price is NaN: correct or remove them, then migrate again (ids: %)',
            (select string_agg(n.id::text, ', ') from (select o.id from public.orders o where o.price = 'NaN' order by o.id limit 20) n);
    end if;
    alter table public.orders
        drop constraint if exists orders_price_is_a_number,
        add constraint orders_price_is_a_number check (price <> 'NaN');
end
$do$;
-- +goose StatementEnd

-- What tells this installation from every other, for ever: made once, and restored with the database. With an order's id and
-- created_at it names an order to the outside; two installations may well call the same receiver.
create table if not exists orderflow.installation (
    id       uuid    not null default gen_random_uuid(),
    only_one boolean not null primary key default true check (only_one)
);

comment on table orderflow.installation is
    'Orderflow: one row, made once. Do not change it: receivers would take orders that they know for new ones';

insert into orderflow.installation default values on conflict do nothing;

-- Fails, so that a statement which changed less than it was to change takes nothing of it for done: a row-level trigger that
-- returned null has kept rows from being written, and says so to nobody. The detail lists the messages that are concerned.
-- +goose StatementBegin
create or replace function orderflow.not_written(what text, msg_ids bigint[])
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

-- Dead letters go back to the queue or away for good, and what could not be written is never taken for written. A trigger that
-- returns null, or a row-level security policy, makes a statement match nothing, without an error. So row_security is off, which
-- makes an error of a policy that would filter rows, and what was written is counted, which shows a trigger's doing.

-- The order that a message is about; null when it is about none (not an object, no id, not a whole number, too large).
-- +goose StatementBegin
create or replace function orderflow.order_id(message jsonb)
returns bigint
language sql
immutable
parallel safe
as $$
    select case
        when jsonb_typeof(message -> 'order_id') = 'number'
         and message ->> 'order_id' ~ '^[0-9]{1,18}$'
        then (message ->> 'order_id')::bigint
    end;
$$;
-- +goose StatementEnd

-- Headers as the sender wrote them, without what consumers added about retries, releases and death.
-- +goose StatementBegin
create or replace function orderflow.original_headers(headers jsonb)
returns jsonb
language sql
immutable
parallel safe
as $$
    select case jsonb_typeof(headers)
        when 'object' then (
            select jsonb_object_agg(h.key, h.value)
            from jsonb_each(headers) h
            where h.key not like 'orderflow-%'
        )
        else headers
    end;
$$;
-- +goose StatementEnd

-- A moment that a program has written as text; without a zone it is UTC. What is none is null.
-- +goose StatementBegin
create or replace function orderflow.moment(written text)
returns timestamptz
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
begin
    return written::timestamptz;
exception when others then
    return null;
end
$$;
-- +goose StatementEnd

-- Whether a message that was sent with the msg_id sent_as is about this order, which has its order_id now. Ids come again when a
-- database goes back to an earlier state or after "truncate ... restart identity", and msg_ids when a queue is dropped and made
-- again, beside the dead letters of before. So created_at decides where both have one, by whole quarters of an hour where a zone
-- was lost (see created_at_in_utc). Where nothing but the id is known, the id has to do. The consumer's identify.sql decides alike.
-- +goose StatementBegin
create or replace function orderflow.is_about(message jsonb, sent_as bigint, order_created_at timestamptz, order_message_id bigint)
returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when order_created_at = m.created_at then true
        when order_message_id <> sent_as then false
        when m.created_at is null then order_message_id is null or sent_as is null or order_message_id = sent_as
        when order_created_at is null or not isfinite(order_created_at) then coalesce(order_message_id = sent_as, false)
        when order_message_id is not null and sent_as is null then false
        else order_created_at between m.created_at - interval '15 hours' and m.created_at + interval '15 hours'
             and mod(extract(epoch from order_created_at)::numeric - extract(epoch from m.created_at)::numeric, 900) = 0
    end
    from (select orderflow.moment(message ->> 'created_at') as created_at) m;
$$;
-- +goose StatementEnd

-- Moves dead letters from <queue>_dlq back to the queue, as new messages without a history, and their orders back to
-- pending with fresh attempts, in the caller's transaction.
--
-- Not moved, and so not returned, are ids that are not there and messages whose order is completed or has its message in
-- the queue: a second one would process the order twice.
-- +goose StatementBegin
create or replace function orderflow.redrive(queue text, msg_ids bigint[])
returns table (dead_msg_id bigint, new_msg_id bigint, order_id bigint)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    queue_table text    := pgmq.format_table_name(queue, 'q');
    dlq_table   text    := pgmq.format_table_name(queue || '_dlq', 'q');
    moved       boolean := false;
    dead        record;
    known       record;
    has_order   boolean;
    under_way   boolean;
    sent_as     bigint;
    written     bigint;
begin
    -- Ascending, so that two redrives of the same letters wait for each other instead of deadlocking.
    for dead in execute format(
        'select d.msg_id, d.message, d.headers from pgmq.%I d where d.msg_id = any ($1) order by d.msg_id for update',
        dlq_table
    )
    using msg_ids
    loop
        order_id := orderflow.order_id(dead.message);

        sent_as := case when dead.headers #>> '{orderflow-dead,msg_id}' ~ '^[0-9]{1,18}$' then (dead.headers #>> '{orderflow-dead,msg_id}')::bigint end;

        -- Another order that has the id by now is not to be touched, and least of all bound to this message.
        select o.status, o.message_id into known
        from public.orders o
        where o.id = order_id
          and dead.headers #>> '{orderflow-dead,reason}' is distinct from 'other_order'
          and orderflow.is_about(dead.message, sent_as, o.created_at, o.message_id)
        for update;
        has_order := found;
        continue when known.status = 'completed';

        -- A dead order can have it there, too, when it was a copy of the message that died.
        execute format('select exists (select from pgmq.%I q where q.msg_id = $1 and orderflow.order_id(q.message) = $2)', queue_table)
        into under_way
        using known.message_id, order_id;
        continue when under_way;

        execute format('delete from pgmq.%I d where d.msg_id = $1', dlq_table) using dead.msg_id;
        get diagnostics written = row_count;
        if written <> 1 then
            raise insufficient_privilege using message = format('dead letter %s cannot be taken from %I: a trigger on the table keeps it', dead.msg_id, dlq_table);
        end if;

        dead_msg_id := dead.msg_id;
        select s into new_msg_id
        from pgmq.send(queue, dead.message, orderflow.original_headers(dead.headers)) s;
        if new_msg_id is null then
            raise insufficient_privilege using message = format('dead letter %s cannot be put into %I: a trigger on the table refuses it', dead.msg_id, queue_table);
        end if;

        if has_order then
            update public.orders o
            set status     = 'pending',
                message_id = new_msg_id,
                attempts   = 0,
                last_error = null,
                dead_at    = null
            where o.id = order_id;
            get diagnostics written = row_count;
            if written <> 1 then
                raise insufficient_privilege using message = format('order %s cannot be made pending: a trigger on orders refuses it', order_id);
            end if;
        end if;

        moved := true;
        return next;
    end loop;

    -- Delivered when the transaction commits. A notification within a transaction makes commits wait for each other;
    -- redrives are too rare for that to matter.
    if moved then
        perform pg_notify('orderflow_' || lower(queue), '');
    end if;
end
$$;
-- +goose StatementEnd

-- Deletes dead letters from <queue>_dlq for good and returns the ids that were there. Their orders stay dead.
-- +goose StatementBegin
create or replace function orderflow.delete_dead_letters(queue text, msg_ids bigint[])
returns setof bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    kept bigint;
begin
    return query select pgmq.delete(queue || '_dlq', msg_ids);

    execute format('select min(d.msg_id) from pgmq.%I d where d.msg_id = any ($1)', pgmq.format_table_name(queue || '_dlq', 'q'))
    into kept
    using msg_ids;
    if kept is not null then
        raise insufficient_privilege using message = format('dead letter %s cannot be deleted: a trigger on the table keeps it', kept);
    end if;
end
$$;
-- +goose StatementEnd

revoke execute on function orderflow.redrive(text, bigint[])             from public;
revoke execute on function orderflow.delete_dead_letters(text, bigint[]) from public;

-- What the consumers of a queue share: an operator's pause, the breaker that opens when what the handlers call is down, and the limit that
-- keeps the rate down afterwards. A queue without a row is open for business. services/consumer/internal/gate has the rules and says what the
-- columns mean; whoever changes a row changes its revision. The pause is changed by pause and resume alone. A row may be deleted at any time:
-- a pause ends with it, and the rest the consumers find out anew.
create table if not exists orderflow.gate (
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
create or replace function orderflow.pause(queue text, by text, reason text)
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
create or replace function orderflow.resume(queue text)
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
