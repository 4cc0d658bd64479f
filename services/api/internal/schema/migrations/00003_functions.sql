-- +goose Up

-- What the services' roles may do and see without rights on what is behind it. The functions run with their owner's
-- rights; the search_path is pinned so that nothing of the caller's can be slipped under them, and nobody may call them
-- to whom it was not granted.

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

-- The order that a message is about; null when it is about none (not an object, no id, not a whole number, too large).
-- +goose StatementBegin
create function orderflow.order_id(message jsonb)
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
create function orderflow.original_headers(headers jsonb)
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

-- Moves dead letters from <queue>_dlq back to the queue, as new messages without a history, and their orders back to
-- pending with fresh attempts, in the caller's transaction.
--
-- Not moved, and so not returned, are ids that are not there and messages whose order is completed or has its message in
-- the queue: a second one would process the order twice.
-- +goose StatementBegin
create function orderflow.redrive(queue text, msg_ids bigint[])
returns table (dead_msg_id bigint, new_msg_id bigint, order_id bigint)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    queue_table text    := pgmq.format_table_name(queue, 'q');
    dlq_table   text    := pgmq.format_table_name(queue || '_dlq', 'q');
    moved       boolean := false;
    dead        record;
    known       record;
    under_way   boolean;
begin
    -- Ascending, so that two redrives of the same letters wait for each other instead of deadlocking.
    for dead in execute format(
        'select d.msg_id, d.message, d.headers from pgmq.%I d where d.msg_id = any ($1) order by d.msg_id for update',
        dlq_table
    )
    using msg_ids
    loop
        order_id := orderflow.order_id(dead.message);

        select o.status, o.message_id into known
        from public.orders o
        where o.id = order_id
        for update;
        continue when known.status = 'completed';

        -- A dead order can have it there, too, when it was a copy of the message that died.
        execute format('select exists (select from pgmq.%I q where q.msg_id = $1)', queue_table)
        into under_way
        using known.message_id;
        continue when under_way;

        execute format('delete from pgmq.%I d where d.msg_id = $1', dlq_table) using dead.msg_id;
        dead_msg_id := dead.msg_id;
        select s into new_msg_id
        from pgmq.send(queue, dead.message, orderflow.original_headers(dead.headers)) s;

        update public.orders o
        set status     = 'pending',
            message_id = new_msg_id,
            attempts   = 0,
            last_error = null,
            dead_at    = null
        where o.id = order_id;

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
create function orderflow.delete_dead_letters(queue text, msg_ids bigint[])
returns setof bigint
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    select pgmq.delete(queue || '_dlq', msg_ids);
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

revoke execute on function orderflow.redrive(text, bigint[])             from public;
revoke execute on function orderflow.delete_dead_letters(text, bigint[]) from public;
revoke execute on function orderflow.vacuum_holders()                    from public;
