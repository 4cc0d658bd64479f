-- +goose Up

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

-- Whether a message that was sent with that msg_id is about the order that has its order_id now, with this created_at and message_id: ids come
-- again when a database goes back to an earlier state, or after "truncate ... restart identity". The consumer's identify.sql decides alike.
-- Where a message does not say when its order was created, and not as what it was sent either, the id is all there is to go by.
-- +goose StatementBegin
create function orderflow.is_about(message jsonb, sent_as bigint, order_created_at timestamptz, order_message_id bigint)
returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        order_created_at = m.created_at
        or order_message_id = sent_as
        or sent_as is null and m.created_at is null
        or order_message_id is null
           and (m.created_at is null
                or isfinite(order_created_at)
                   and order_created_at between m.created_at - interval '15 hours' and m.created_at + interval '15 hours'
                   and mod(extract(epoch from order_created_at)::numeric - extract(epoch from m.created_at)::numeric, 900) = 0),
        false)
    from (select orderflow.moment(message ->> 'created_at') as created_at) m;
$$;
-- +goose StatementEnd

-- Redriving as before, for orders that the messages are about. Letters of other orders go back to the queue and change none.
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
