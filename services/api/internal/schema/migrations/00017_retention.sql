-- +goose Up

-- A pass over the completed orders ended at a step's worth of orders whose created_at is in the future, as a clock far ahead had left them: it took
-- them for young, and nothing behind them was ever deleted. They say nothing of the age of what follows.

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
    if pass.what is null or pass.position = 0 and pass.due_at > clock_timestamp() then
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
