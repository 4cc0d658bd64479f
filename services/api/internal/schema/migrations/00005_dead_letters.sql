-- +goose Up

-- Dead letters go back to the queue or away for good, and what could not be written is never taken for written. A trigger that
-- returns null, or a row-level security policy, makes a statement match nothing, without an error. So row_security is off, which
-- makes an error of a policy that would filter rows, and what was written is counted, which shows a trigger's doing.

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

-- A moment that a program has written as text; without a zone it is UTC. What is none is null.
-- +goose StatementBegin
create function orderflow.moment(written text)
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
create function orderflow.is_about(message jsonb, sent_as bigint, order_created_at timestamptz, order_message_id bigint)
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
create function orderflow.redrive(queue text, msg_ids bigint[])
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
create function orderflow.delete_dead_letters(queue text, msg_ids bigint[])
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
