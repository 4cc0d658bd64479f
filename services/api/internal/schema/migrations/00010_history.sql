-- +goose Up

-- What became of an order, for whoever asks later: docs/decisions/0013. An order that is completed at its first attempt has no row here,
-- and all that is to be told of it stands in orders.

-- When the handler of the attempt that completed the order was started, and the trace that the request which created the order belongs to.
-- The update that completes an order writes the first of them; it stays a heap-only one, for no index has it.
alter table public.orders
    add column started_at timestamptz,
    add column trace_id   uuid;

comment on column public.orders.started_at is
    'When the handler of the attempt that completed the order was started; null: not completed, or by a release that did not say';
comment on column public.orders.trace_id is
    'The W3C trace of the request that created the order; null: unknown';

-- A row is a delivery that ended otherwise than by completing its order, or a redrive. See note_history for how many there can be.
create table orderflow.history (
    order_id    bigint      not null,
    created_at  timestamptz not null,
    slot        smallint    not null,
    seq         integer     not null,
    times       integer     not null,
    msg_id      bigint      not null,
    read_ct     integer     not null,
    enqueued_at timestamptz not null,
    outcome     text        not null,
    attempt     integer,
    due_at      timestamptz,
    leased_at   timestamptz,
    started_at  timestamptz,
    ended_at    timestamptz not null,
    settled_at  timestamptz not null,
    retry_at    timestamptz,
    consumer    text,
    reason      text,
    error       text,
    trace_id    uuid,
    constraint history_pkey primary key (order_id, created_at, slot)
)
-- Rows are hardly ever changed: in the slots that are used again, where a lease turns out to have been lost, where deliveries that were handed
-- back are counted together. A little room keeps that heap-only. Whoever deletes orders deletes their rows too, by the primary key.
with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

comment on table orderflow.history is
    'Orderflow: what became of the deliveries of orders that were not completed at their first attempt. Kept as long as the order';
comment on column orderflow.history.created_at is 'The order''s: with order_id it names the order';
comment on column orderflow.history.seq is 'Place among all rows that the order ever had. Those that are missing are no longer kept';
comment on column orderflow.history.times is 'Deliveries in this row: more than one where the same happened several times in a row';
comment on column orderflow.history.read_ct is 'With msg_id and enqueued_at it names the delivery, the last one of them; 0: a redrive';
comment on column orderflow.history.outcome is
    'failed, timed_out, panicked, permanent: of an attempt; crashed: an attempt whose consumer died; unanswered: the lease ran out and nobody knows why; lease_lost: the consumer came back too late; released: handed back, no attempt; buried: moved to the dead letters without an attempt; redriven';
comment on column orderflow.history.attempt is 'Which attempt it was; null: none';
comment on column orderflow.history.due_at is 'Since when it could be read';
comment on column orderflow.history.started_at is 'Start of its handler; null: not started, or unknown';
comment on column orderflow.history.ended_at is 'End of its handler, or of its lease';
comment on column orderflow.history.settled_at is 'When this was written';
comment on column orderflow.history.retry_at is 'From when on it could be read again; null: not at all, or unknown';
comment on column orderflow.history.reason is 'Why the message became a dead letter; null: it did not';

-- Notes what became of deliveries: an array of rows of orderflow.history without slot, seq, times and settled_at.
--
-- It never fails, nor waits for long, and so never keeps a delivery from being settled: what cannot be written, whatever the reason, is
-- missing from the history, and a warning in the server's log says so. A trigger that suppresses a row keeps it from the history and does nothing else.
--
-- An order has 40 rows at most: its first 20, and the last 20, each of which takes the place of the one that is 20 older. The same delivery
-- noted again has one row. What is known of it by an answer stays; that it had none gives way to one that comes later, which says with an
-- attempt of 0 when the delivery does not count as one after all. A message that is
-- handed back several times in a row, for the same reason and without having been started, has one row.
--
-- Orders that are not there have no rows. Plan: nested loops from the entries to the primary keys; fetch.sql of the consumer says why
-- "= any (array[...])". Sorted, so that two calls that meet on the same rows lock them in the same order.
-- +goose StatementBegin
create function orderflow.note_history(entries jsonb)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set row_security = off
set lock_timeout = '200ms'
as $$
begin
    insert into orderflow.history as h (
        order_id, created_at, slot, seq, times, msg_id, read_ct, enqueued_at, outcome, attempt,
        due_at, leased_at, started_at, ended_at, settled_at, retry_at, consumer, reason, error, trace_id
    )
    select
        n.order_id, n.created_at, case when n.seq <= 20 then n.seq else 21 + (n.seq - 21) % 20 end, n.seq, n.times,
        n.msg_id, n.read_ct, n.enqueued_at, n.outcome, n.attempt,
        n.due_at, n.leased_at, n.started_at, n.ended_at, clock_timestamp(), n.retry_at, n.consumer, n.reason, n.error, n.trace_id
    from (
        select
            e.order_id, e.created_at, e.msg_id, e.read_ct, e.enqueued_at, e.outcome, e.ended_at, e.reason, e.error,
            nullif(coalesce(e.attempt, k.attempt), 0) as attempt,
            coalesce(
                k.seq,
                known.last + (row_number() over (partition by e.order_id, e.created_at, k.seq is null order by e.msg_id, e.read_ct))::integer
            ) as seq,
            case when k.seq is null then 1 when known.same is null then k.times + 1 else k.times end as times,
            coalesce(k.due_at, e.due_at) as due_at,
            coalesce(k.leased_at, e.leased_at) as leased_at,
            coalesce(k.started_at, e.started_at) as started_at,
            coalesce(e.retry_at, k.retry_at) as retry_at,
            coalesce(e.consumer, k.consumer) as consumer,
            coalesce(e.trace_id, k.trace_id) as trace_id
        from jsonb_populate_recordset(null::orderflow.history, entries) e
        join public.orders o on o.id = any (array[e.order_id]) and o.created_at = e.created_at
        cross join lateral (
            select
                coalesce(max(a.seq), 0) as last,
                coalesce(max(a.read_ct) filter (where a.msg_id = e.msg_id and a.enqueued_at = e.enqueued_at), 0) as read_ct,
                max(a.seq) filter (where a.msg_id = e.msg_id and a.enqueued_at = e.enqueued_at and a.read_ct = e.read_ct) as same
            from orderflow.history a
            where a.order_id = any (array[e.order_id]) and a.created_at = e.created_at
        ) known
        -- The row that it is to be part of.
        left join orderflow.history k
            on k.order_id = any (array[e.order_id])
            and k.created_at = e.created_at
            and k.seq = coalesce(known.same, known.last)
            and (
                known.same is not null
                or k.outcome = 'released' and e.outcome = 'released'
                    and k.started_at is null and e.started_at is null
                    and k.msg_id = e.msg_id and k.enqueued_at = e.enqueued_at
                    and k.error is not distinct from e.error
            )
        where case
                  when e.outcome in ('unanswered', 'crashed') then e.read_ct > known.read_ct
                  when known.same is not null then k.outcome in ('unanswered', 'crashed', e.outcome)
                  else true
              end
    ) n
    order by n.order_id, n.created_at, n.seq
    on conflict on constraint history_pkey do update
    set seq = excluded.seq, times = excluded.times, msg_id = excluded.msg_id, read_ct = excluded.read_ct, enqueued_at = excluded.enqueued_at,
        outcome = excluded.outcome, attempt = excluded.attempt, due_at = excluded.due_at, leased_at = excluded.leased_at,
        started_at = excluded.started_at, ended_at = excluded.ended_at, settled_at = excluded.settled_at, retry_at = excluded.retry_at,
        consumer = excluded.consumer, reason = excluded.reason, error = excluded.error, trace_id = excluded.trace_id;
    return true;
exception when others then
    raise warning 'the history of orders is not complete: % (%)', sqlerrm, sqlstate;
    return false;
end
$$;
-- +goose StatementEnd

revoke execute on function orderflow.note_history(jsonb) from public;

-- Moves dead letters from <queue>_dlq back to the queue, as new messages without a history of their own, and their orders
-- back to pending with fresh attempts, in the caller's transaction. As before, and it notes that in the order's history.
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
        select o.status, o.message_id, o.created_at into known
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
            perform orderflow.note_history(jsonb_build_array(jsonb_build_object(
                'order_id', order_id, 'created_at', known.created_at, 'outcome', 'redriven',
                'msg_id', new_msg_id, 'read_ct', 0, 'enqueued_at', clock_timestamp(), 'ended_at', clock_timestamp()
            )));
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
