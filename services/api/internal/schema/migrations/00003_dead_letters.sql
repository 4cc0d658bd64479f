-- +goose Up

-- What the api may do to dead letters without rights on the tables behind them. Both functions run with their owner's
-- rights, on exactly one queue and its <queue>_dlq, by message id; the search_path is pinned so that nothing of the caller's
-- can be slipped under them.

create schema if not exists orderflow;

comment on schema orderflow is 'Orderflow: functions that act with their owner''s rights';

-- Moves dead letters back to their queue as new messages, and their orders back to pending with fresh attempts. One
-- transaction with whatever else the caller does.
--
-- Not moved, and so not returned: ids that are not there, and messages of an order that is not dead. Such an order is
-- completed or has another message under way, and a second message would process it twice.
-- +goose StatementBegin
create function orderflow.redrive(queue text, msg_ids bigint[])
returns table (dead_msg_id bigint, new_msg_id bigint, order_id bigint)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    dlq_table text := pgmq.format_table_name(queue || '_dlq', 'q');
    moved     boolean := false;
    dead      record;
    status    text;
begin
    -- Ascending, so that two redrives of the same letters wait for each other instead of deadlocking.
    for dead in execute format(
        'select d.msg_id, d.message, d.headers from pgmq.%I d where d.msg_id = any ($1) order by d.msg_id for update',
        dlq_table
    )
    using msg_ids
    loop
        order_id := orderflow.order_id(dead.message);

        select o.status into status
        from public.orders o
        where o.id = order_id
        for update;
        continue when status <> 'dead';

        execute format('delete from pgmq.%I where msg_id = $1', dlq_table) using dead.msg_id;
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

    -- Delivered when the transaction commits. Redrives are rare enough for a notification inside a transaction.
    if moved then
        perform pg_notify('orderflow_' || lower(queue), '');
    end if;
end
$$;
-- +goose StatementEnd

-- Deletes dead letters for good and returns the ids that were there. Their orders stay dead.
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

revoke execute on function orderflow.redrive(text, bigint[]) from public;
revoke execute on function orderflow.delete_dead_letters(text, bigint[]) from public;
