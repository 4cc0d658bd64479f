-- +goose Up

-- Redriving and deleting dead letters as before, and what could not be written is never taken for written. A trigger that returns
-- null and a row-level security policy make a statement match nothing, without an error: the letter would stay and its message be
-- sent all the same. With row_security off a policy that would filter is an error; what a trigger suppresses is counted.

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

        select o.status, o.message_id into known
        from public.orders o
        where o.id = order_id
          -- That order has the id by now, but the message is not its own.
          and dead.headers #>> '{orderflow-dead,reason}' is distinct from 'other_order'
        for update;
        has_order := found;
        continue when known.status = 'completed';

        -- A dead order can have it there, too, when it was a copy of the message that died.
        execute format('select exists (select from pgmq.%I q where q.msg_id = $1)', queue_table)
        into under_way
        using known.message_id;
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
