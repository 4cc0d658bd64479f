-- +goose Up

-- A pass over the completed orders ended at a step's worth of orders whose created_at is in the future, as a clock far ahead had left them: it took
-- them for young, and nothing behind them was ever deleted. They say nothing of the age of what follows.
--
-- And whatever was to be done next at a time that such a clock had told was not done until then: no pass began, and blocks with open orders were
-- not looked at. What is due later than anything can be is due now.

-- One step of a pass over the completed orders: it looks at as many as it is told to, and deletes those that were completed before. more: the
-- pass goes on; else the next one begins after rest. An order's history goes with it. busy: somebody else is at it, or it is too early.
-- +goose StatementBegin
create or replace function orderflow.expire_orders(
    queue text, completed_before timestamptz, most integer, rest interval,
    out busy boolean, out more boolean, out orders_read bigint, out orders_deleted bigint
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    pass     orderflow.retention;
    queues   text;
    last     bigint;
    young    bigint;
    doomed   bigint[];
begin
    busy := false;
    more := false;
    orders_read := 0;
    orders_deleted := 0;

    select r.* into pass from orderflow.retention r where r.what = 'orders' for update skip locked;
    if pass.what is null or pass.position = 0 and pass.due_at > clock_timestamp() and pass.due_at <= clock_timestamp() + rest then
        busy := true;
        return;
    end if;

    -- A completed order can have a message all the same: a copy, sent by hand, or a dead letter. It stays as long as that does.
    if pass.position = 0 then
        select string_agg(format('select orderflow.order_id(m.message) as id from pgmq.%I m', q.name), ' union all ')
        into queues
        from (select pgmq.format_table_name(m.queue_name, 'q') as name from pgmq.meta m) q
        where has_table_privilege(to_regclass(format('pgmq.%I', q.name)), 'select');
        execute format(
            $sql$
            select coalesce(array_agg(o.id), '{}')
            from (select distinct m.id from (%s) m) m
            join public.orders o on o.id = any (array[m.id])
            where o.status = 'completed' and o.completed_at < $1
            $sql$,
            queues)
        into pass.spared
        using completed_before;
    end if;

    execute format(
        $sql$
        with page as materialized (
            select o.id, o.created_at, o.status, o.completed_at, o.message_id
            from public.orders o
            where o.id > $1
            order by o.id
            limit $2
        ),
        free as (
            select o.id
            from page p
            join public.orders o on o.id = any (array[p.id])
            where p.status = 'completed'
              and p.completed_at < $3
              and p.id <> all ($4)
              and o.status = 'completed'
              and not exists (
                  select from pgmq.%I q where q.msg_id = any (array[p.message_id]) and orderflow.order_id(q.message) = p.id
              )
            for update of o skip locked
        )
        select max(p.id), count(*), count(*) filter (where p.created_at >= $3 and p.created_at < clock_timestamp() + interval '1 day'), (select coalesce(array_agg(f.id), '{}') from free f)
        from page p
        $sql$,
        pgmq.format_table_name(queue, 'q'))
    into last, orders_read, young, doomed
    using pass.position, most, completed_before, pass.spared;

    if cardinality(doomed) > 0 then
        delete from public.orders o where o.id = any (doomed);
        get diagnostics orders_deleted = row_count;
        if orders_deleted <> cardinality(doomed) then
            raise insufficient_privilege using message = 'orders cannot be deleted: a trigger on the table keeps them';
        end if;
        delete from orderflow.history h where h.order_id = any (doomed);
    end if;

    more := orders_read = most and young < orders_read;
    update orderflow.retention r
    set position = case when more then last else 0 end,
        due_at   = case when more then r.due_at else clock_timestamp() + rest end,
        spared   = case when more then pass.spared else '{}' end
    where r.what = pass.what;
end
$$;
-- +goose StatementEnd

-- One step of a pass over the dead: it deletes dead letters that were buried before, each with its order if that is dead, and at the end dead
-- orders that have no letter any more. An order that is pending, or has a message in a queue, stays, and its letter with it.
-- +goose StatementBegin
create or replace function orderflow.expire_dead_letters(
    queue text, dead_before timestamptz, most integer, rest interval,
    out busy boolean, out more boolean, out letters_deleted bigint, out orders_deleted bigint
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    queue_table text   := pgmq.format_table_name(queue, 'q');
    dlq_table   text   := pgmq.format_table_name(queue || '_dlq', 'q');
    letters     bigint := 0;
    pass        orderflow.retention;
    dead        record;
    known       record;
    under_way   boolean;
    sent_as     bigint;
    written     bigint;
    doomed      bigint[];
begin
    busy := false;
    more := false;
    letters_deleted := 0;
    orders_deleted := 0;

    select r.* into pass from orderflow.retention r where r.what = 'dead letters' for update skip locked;
    if pass.what is null or pass.position = 0 and pass.due_at > clock_timestamp() and pass.due_at <= clock_timestamp() + rest then
        busy := true;
        return;
    end if;

    -- Letter, then order: the order in which a redrive locks them.
    for dead in execute format(
        'select d.msg_id, d.message, d.headers from pgmq.%I d where d.msg_id > $1 and d.enqueued_at < $2 order by d.msg_id limit $3 for update skip locked',
        dlq_table
    )
    using pass.position, dead_before, most
    loop
        letters := letters + 1;
        pass.position := dead.msg_id;

        sent_as := case when dead.headers #>> '{orderflow-dead,msg_id}' ~ '^[0-9]{1,18}$' then (dead.headers #>> '{orderflow-dead,msg_id}')::bigint end;
        select o.id, o.status, o.message_id, o.dead_at into known
        from public.orders o
        where o.id = orderflow.order_id(dead.message)
          and dead.headers #>> '{orderflow-dead,reason}' is distinct from 'other_order'
          and orderflow.is_about(dead.message, sent_as, o.created_at, o.message_id)
        for update;

        continue when known.status = 'pending';
        if known.status = 'dead' then
            execute format('select exists (select from pgmq.%I q where q.msg_id = $1 and orderflow.order_id(q.message) = $2)', queue_table)
            into under_way
            using known.message_id, known.id;
            continue when under_way or known.dead_at >= dead_before;

            delete from public.orders o where o.id = known.id;
            get diagnostics written = row_count;
            if written <> 1 then
                raise insufficient_privilege using message = format('order %s cannot be deleted: a trigger on the table keeps it', known.id);
            end if;
            orders_deleted := orders_deleted + 1;
            delete from orderflow.history h where h.order_id = known.id;
        end if;

        execute format('delete from pgmq.%I d where d.msg_id = $1', dlq_table) using dead.msg_id;
        get diagnostics written = row_count;
        if written <> 1 then
            raise insufficient_privilege using message = format('dead letter %s cannot be deleted: a trigger on the table keeps it', dead.msg_id);
        end if;
        letters_deleted := letters_deleted + 1;
    end loop;
    more := letters = most;

    if not more then
        select array_agg(o.id)
        into doomed
        from (select o.id from public.orders o where o.dead_at < dead_before and o.status = 'dead' order by o.id for update skip locked) o;
        doomed := (orderflow.without_message(queue, coalesce(doomed, '{}'), 'dead'))[1:most];

        delete from public.orders o where o.id = any (doomed);
        get diagnostics written = row_count;
        if written <> cardinality(doomed) then
            raise insufficient_privilege using message = 'orders cannot be deleted: a trigger on the table keeps them';
        end if;
        orders_deleted := orders_deleted + written;
        delete from orderflow.history h where h.order_id = any (doomed);
        more := written = most;
    end if;

    update orderflow.retention r
    set position = case when more then pass.position else 0 end,
        due_at   = case when more then r.due_at else clock_timestamp() + rest end
    where r.what = pass.what;
end
$$;
-- +goose StatementEnd

-- One step of the search, which reads about as many orders as it is told to. more: there is more to be done at once; else all that was due
-- has been looked at. busy: somebody else is at it.
--
-- An order is not called stranded in its first minute: the FastAPI example commits an order before it sends its message.
-- +goose StatementBegin
create or replace function orderflow.look_for_stranded(queue text, most integer, out busy boolean, out more boolean, out orders_read bigint)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    size    constant bigint := 256;
    top     constant bigint := 4611686018427387904; -- 2^62: what is above it a hand has written
    began   timestamptz     := clock_timestamp();
    far     timestamptz     := began + interval '1 hour'; -- no block is due later, unless the clock was ahead
    me      oid             := (select d.oid from pg_database d where d.datname = current_database());
    file    oid             := pg_relation_filenode('public.orders');
    reached timestamptz;
    scan    orderflow.order_scan;
    n       bigint;
    blocks  bigint[];
    pending bigint[];
    lost    bigint[];
begin
    busy := false;
    more := false;
    orders_read := 0;

    select s.* into scan from orderflow.order_scan s for update skip locked;
    if scan.only_one is null then
        busy := true;
        return;
    end if;

    if scan.filenode <> file then
        scan.filenode  := file;
        scan.position  := 0;
        scan.patrol    := 0;
        scan.bound     := 0;
    end if;

    -- Ids come from a sequence, and commits are in another order. So the scan goes no further than the last order that was to be seen at some
    -- moment, and only when all who were writing orders just after it have ended: nobody else can bring one with a lower id. A writer has the
    -- table's lock before it draws an id, and until its commit can be seen.
    if scan.position < scan.bound
       and not exists (select from pg_locks l where l.relation = 'public.orders'::regclass and l.database = me and l.virtualtransaction = any (scan.writers))
    then
        with page as materialized (
            select o.id, o.status from public.orders o where o.id > scan.position and o.id <= scan.bound order by o.id limit most
        ),
        opened as (
            insert into orderflow.open_blocks (block)
            select distinct p.id / size from page p where p.status <> 'completed'
            on conflict do nothing
        )
        select count(*), case when count(*) < most then scan.bound else max(p.id) end into n, scan.position from page p;
        orders_read := n;
        more := n = most;
    end if;
    if scan.position >= scan.bound then
        reached := scan.bound_at;
        scan.bound_at := began;
        select coalesce(max(o.id), 0) into scan.bound from public.orders o where o.id < top;
        select coalesce(array_agg(distinct l.virtualtransaction), '{}')
        into scan.writers
        from pg_locks l
        where l.relation = 'public.orders'::regclass and l.database = me and l.mode = 'RowExclusiveLock';
    end if;

    select array_agg(b.block)
    into blocks
    from (
        select b.block
        from orderflow.open_blocks b
        where b.due_at <= began or b.due_at > far
        order by b.due_at <= began, b.due_at, b.block
        limit greatest(most / size, 1)
    ) b;
    if blocks is not null then
        select array_agg(o.id)
        into pending
        from unnest(blocks) b (block)
        cross join lateral (
            select o.id, o.created_at
            from public.orders o
            where o.id >= b.block * size and o.id < (b.block + 1) * size and o.status = 'pending'
            offset 0
        ) o
        where o.created_at <= began - interval '1 minute' or o.created_at > began + interval '1 day';
        lost := orderflow.without_message(queue, coalesce(pending, '{}'));

        with seen as (
            select
                b.block,
                count(o.id) as orders,
                count(*) filter (where o.status = 'pending') as pending,
                count(*) filter (where o.status = 'dead') as dead
            from unnest(blocks) b (block)
            left join lateral (
                select o.id, o.status from public.orders o where o.id >= b.block * size and o.id < (b.block + 1) * size offset 0
            ) o on true
            group by b.block
        ),
        closed as (
            delete from orderflow.open_blocks b using seen s where b.block = s.block and s.pending + s.dead = 0
        ),
        kept as (
            update orderflow.open_blocks b
            set stranded = array(select i from unnest(lost) i where i / size = s.block),
                -- A dead order is pending again after a redrive; its block is seen to be in time.
                due_at = began + case when s.pending > 0 then interval '10 seconds' else interval '10 minutes' end
            from seen s
            where b.block = s.block and s.pending + s.dead > 0
        )
        select orders_read + sum(s.orders) into orders_read from seen s;
        more := more or exists (select from orderflow.open_blocks b where b.due_at <= began or b.due_at > far);
    end if;

    -- The slow walk over all orders, when nothing else is to be done.
    if not more then
        with page as materialized (
            select o.id, o.status from public.orders o where o.id > scan.patrol and o.id <= scan.position order by o.id limit most
        ),
        opened as (
            insert into orderflow.open_blocks (block)
            select distinct p.id / size from page p where p.status <> 'completed'
            on conflict do nothing
        )
        select count(*), case when count(*) < most then 0 else max(p.id) end into n, scan.patrol from page p;
        orders_read := orders_read + n;
        scan.looked_at := coalesce(reached, scan.looked_at);
    end if;

    update orderflow.order_scan s
    set position  = scan.position,
        bound     = scan.bound,
        bound_at  = scan.bound_at,
        writers   = scan.writers,
        filenode  = scan.filenode,
        patrol    = scan.patrol,
        looked_at = scan.looked_at;
end
$$;
-- +goose StatementEnd
