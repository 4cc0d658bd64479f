-- +goose Up

-- What an operator does to an order belongs to its story: docs/decisions/0013. Who it was is said by whoever calls, for the transaction, in
-- settings: the functions have the names and the arguments that the programs of earlier releases know. Without them it is a role, by hand.
-- +goose StatementBegin
create function orderflow.operator()
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select jsonb_build_object(
        'consumer', left(coalesce(nullif(current_setting('orderflow.operator', true), ''), 'role ' || session_user), 200),
        'error', nullif(left(current_setting('orderflow.operator_note', true), 500), '')
    );
$$;
-- +goose StatementEnd

comment on column orderflow.history.outcome is
    'failed, timed_out, panicked, permanent: of an attempt; crashed: an attempt whose consumer died; unanswered: the lease ran out and nobody knows why; lease_lost: the consumer came back too late; released: handed back, no attempt; buried: moved to the dead letters without an attempt; redriven, requeued, deleted: what an operator did';
comment on column orderflow.history.read_ct is 'With msg_id and enqueued_at it names the delivery, the last one of them; 0: what an operator did';
comment on column orderflow.history.consumer is 'Who had it; of what an operator did: by which way, and with what right';
comment on column orderflow.history.error is 'What went wrong; of what an operator did: why, in his words';

-- Moves dead letters back to the queue, as before, and notes who did it.
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
            ) || orderflow.operator()));
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

-- Deletes dead letters from <queue>_dlq for good and returns the ids that were there. Their orders stay dead. As before, and it notes that in
-- the orders' history.
-- +goose StatementBegin
create or replace function orderflow.delete_dead_letters(queue text, msg_ids bigint[])
returns setof bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    dlq_table text := pgmq.format_table_name(queue || '_dlq', 'q');
    entries   jsonb;
    kept      bigint;
begin
    -- Of an order that is dead. Any other one has gone on without this letter.
    execute format(
        $sql$
        select jsonb_agg(jsonb_build_object(
            'order_id', o.id, 'created_at', o.created_at, 'outcome', 'deleted',
            'msg_id', d.msg_id, 'read_ct', 0, 'enqueued_at', clock_timestamp(), 'ended_at', clock_timestamp()
        ) || orderflow.operator())
        from (
            select d.msg_id, d.message, d.headers #>> '{orderflow-dead,reason}' as reason, d.headers #>> '{orderflow-dead,msg_id}' as sent_as
            from pgmq.%I d
            where d.msg_id = any ($1)
            for update
        ) d
        join public.orders o on o.id = any (array[orderflow.order_id(d.message)])
        where o.status = 'dead'
          and d.reason is distinct from 'other_order'
          and orderflow.is_about(d.message, case when d.sent_as ~ '^[0-9]{1,18}$' then d.sent_as::bigint end, o.created_at, o.message_id)
        $sql$,
        dlq_table)
    into entries
    using msg_ids;

    return query select pgmq.delete(queue || '_dlq', msg_ids);

    execute format('select min(d.msg_id) from pgmq.%I d where d.msg_id = any ($1)', dlq_table)
    into kept
    using msg_ids;
    if kept is not null then
        raise insufficient_privilege using message = format('dead letter %s cannot be deleted: a trigger on the table keeps it', kept);
    end if;
    if entries is not null then
        perform orderflow.note_history(entries);
    end if;
end
$$;
-- +goose StatementEnd

-- Those of the orders with these ids that have this status, and whose message is in none of the queues of this database by the id that the
-- order names: one descent of an index in each queue. Where several queues share the orders, what the others work on is found as quickly as
-- one's own. What this finds may still have a message, under another id or among the dead letters: see without_message.
-- +goose StatementBegin
create function orderflow.without_message_by_id(queue text, ids bigint[], status text default 'pending')
returns bigint[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    own    text := pgmq.format_table_name(queue, 'q');
    absent text;
    result bigint[];
begin
    -- Queues that are not there any more, or not to be read, hold nothing of ours. A dead letter has another id than its message had.
    select string_agg(
        format(
            $sql$
            and not exists (
                select from pgmq.%I m
                where m.msg_id = any (array[o.message_id])
                  and orderflow.order_id(m.message) = o.id
                  and (m.message ->> 'created_at' = to_char(o.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')
                    or orderflow.is_about(m.message, m.msg_id, o.created_at, o.message_id))
            )
            $sql$,
            q.name),
        ' ' order by q.name <> own)
    into absent
    from (select pgmq.format_table_name(m.queue_name, 'q') as name from pgmq.meta m) q
    where q.name not like '%\_dlq' and has_table_privilege(to_regclass(format('pgmq.%I', q.name)), 'select');

    execute format(
        $sql$
        select coalesce(array_agg(o.id), '{}')
        from unnest($1) i (id)
        join public.orders o on o.id = any (array[i.id])
        where o.status = $2
          %s
        $sql$,
        absent)
    into result
    using ids, status;
    return result;
end
$$;
-- +goose StatementEnd

revoke execute on function orderflow.without_message_by_id(text, bigint[], text) from public;

-- Those of the orders with these ids that have this status, and whose message is in no queue of this database, dead letters included.
--
-- The few that do not find it by its id are looked for in all queues, from end to end: in one statement and so in one snapshot, so that what
-- is acked, buried or redriven meanwhile is seen before or after, and never in between.
-- +goose StatementBegin
create or replace function orderflow.without_message(queue text, ids bigint[], status text default 'pending')
returns bigint[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    suspect bigint[] := orderflow.without_message_by_id(queue, ids, status);
    absent  text;
    result  bigint[];
begin
    if cardinality(suspect) = 0 then
        return suspect;
    end if;

    select string_agg(
        format(
            'and not exists (select from pgmq.%I m where orderflow.order_id(m.message) = o.id and orderflow.is_about(m.message, %s, o.created_at, o.message_id))',
            q.name,
            case when q.name like '%\_dlq'
                then $sql$case when m.headers #>> '{orderflow-dead,msg_id}' ~ '^[0-9]{1,18}$' then (m.headers #>> '{orderflow-dead,msg_id}')::bigint end$sql$
                else 'm.msg_id'
            end),
        ' ')
    into absent
    from (select pgmq.format_table_name(m.queue_name, 'q') as name from pgmq.meta m) q
    where has_table_privilege(to_regclass(format('pgmq.%I', q.name)), 'select');

    execute format(
        $sql$
        select coalesce(array_agg(o.id order by o.id), '{}')
        from unnest($1) i (id)
        join public.orders o on o.id = any (array[i.id])
        where o.status = $2
          %s
        $sql$,
        absent)
    into result
    using suspect, status;
    return result;
end
$$;
-- +goose StatementEnd

-- Gives pending orders whose message is gone a new one, as before (00012 says why it is safe), and notes that in their history.
-- +goose StatementBegin
create or replace function orderflow.requeue(queue text, ids bigint[], created_before timestamptz)
returns table (order_id bigint, msg_id bigint)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    chosen  bigint[];
    moved   boolean := false;
    known   record;
    written bigint;
begin
    select array_agg(o.id order by o.id)
    into chosen
    from (
        select o.id
        from public.orders o
        where o.id = any (ids)
          and o.status = 'pending'
          and (o.created_at <= created_before or o.created_at > clock_timestamp() + interval '1 day')
        order by o.id
        for update
    ) o;

    chosen := orderflow.without_message(queue, coalesce(chosen, '{}'));

    for known in
        select o.*, o.created_at between '0001-01-02 00:00:00+00' and '9999-12-30 00:00:00+00' as dated
        from public.orders o
        where o.id = any (chosen)
        order by o.id
    loop
        order_id := known.id;
        select s into msg_id
        from pgmq.send(
            queue,
            jsonb_build_object(
                'order_id', known.id,
                'customer_name', known.customer_name,
                'product_name', known.product_name,
                'quantity', known.quantity,
                'price', known.price,
                'created_at', case when known.dated then to_char(known.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"') end
            ),
            '{"schema": 1}'::jsonb
        ) s;
        if msg_id is null then
            raise insufficient_privilege using message = format('order %s cannot be put into the queue: a trigger on its table refuses it', known.id);
        end if;

        update public.orders o
        set message_id = requeue.msg_id,
            attempts   = 0,
            last_error = null
        where o.id = known.id;
        get diagnostics written = row_count;
        if written <> 1 then
            raise insufficient_privilege using message = format('order %s cannot be given its message: a trigger on orders refuses it', known.id);
        end if;

        perform orderflow.note_history(jsonb_build_array(jsonb_build_object(
            'order_id', known.id, 'created_at', known.created_at, 'outcome', 'requeued',
            'msg_id', msg_id, 'read_ct', 0, 'enqueued_at', clock_timestamp(), 'ended_at', clock_timestamp()
        ) || orderflow.operator()));

        moved := true;
        return next;
    end loop;

    -- They are not stranded any more, and nobody has to wait for the next look to be told so.
    update orderflow.open_blocks b
    set stranded = array(select i from unnest(b.stranded) i where i <> all (ids))
    where b.stranded && ids;

    -- Too rare for it to matter that a notification makes commits wait for each other.
    if moved then
        perform pg_notify('orderflow_' || lower(queue), '');
    end if;
end
$$;
-- +goose StatementEnd
