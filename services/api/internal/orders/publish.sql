-- Writes a batch of orders and their messages, in one statement and so in one transaction and one round trip.
--
-- $1 queue; $2 to $8 one element for each order:
--    unit    orders of one request have the same number: they are written all or not at all
--    probe   is only looked up, never written (the order after the last one of a replayed batch)
--    cents   the price in hundredths
-- Returns a row for each order written and for each one found under its idempotency key. A unit of which anything was found
-- is not written.
--
-- Relies on: the unique index on idempotency_key for the look-up, one descent for each key (this statement's plan is made
-- once, perhaps while the table is empty, so the session switches the scans off that grow with the table, and the limit keeps
-- the look-up from becoming a join that does); send_batch returning ids in the order of its messages.
with input as materialized (
    select i.*
    from unnest($2::integer[], $3::boolean[], $4::text[], $5::text[], $6::integer[], $7::bigint[], $8::text[], $9::text[])
        with ordinality as i (unit, probe, customer_name, product_name, quantity, cents, idempotency_key, traceparent, n)
),
found as materialized (
    select i.n, i.unit, o.*
    from input i
    cross join lateral (
        select o.id, o.message_id, o.created_at, o.customer_name, o.product_name, o.quantity, o.price
        from public.orders o
        where o.idempotency_key = i.idempotency_key
        limit 1
    ) o
),
-- What is found may have been committed without the standby that commits wait for: somebody cancelled the wait. Who is told of it is
-- told that it will last, so this transaction waits as its own would have: it writes to the log, and nothing else.
confirmed as materialized (
    select case when current_setting('synchronous_standby_names') <> '' then pg_logical_emit_message(true, 'orderflow', 'replay') end
    from found
    limit 1
),
-- By whatever name: an adopted table's identity need not have the usual one.
ids as materialized (
    select pg_get_serial_sequence('public.orders', 'id')::regclass as sequence
),
fresh as materialized (
    select
        i.*,
        row_number() over (order by i.n) as position,
        nextval(ids.sequence) as id,
        (i.cents * 0.01)::numeric(12, 2) as price,
        clock_timestamp() as created_at
    from input i
    cross join ids
    where not i.probe
      and not exists (select from found f where f.unit = i.unit)
),
messages as (
    select
        array_agg(
            jsonb_build_object(
                'order_id', f.id,
                'customer_name', f.customer_name,
                'product_name', f.product_name,
                'quantity', f.quantity,
                'price', f.price,
                'created_at', to_char(f.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')
            )
            order by f.position
        ) as bodies,
        array_agg(
            jsonb_build_object('schema', 1, 'traceparent', f.traceparent)
            order by f.position
        ) as headers
    from fresh f
    having count(*) > 0
),
sent as materialized (
    select s.msg_id, s.position
    from messages m
    cross join lateral pgmq.send_batch($1, m.bodies, m.headers) with ordinality as s (msg_id, position)
),
written as (
    insert into public.orders
        (id, customer_name, product_name, quantity, price, created_at, message_id, idempotency_key, trace_id)
    select f.id, f.customer_name, f.product_name, f.quantity, f.price, f.created_at, s.msg_id, f.idempotency_key,
        -- The message goes away with its headers, and the order is still asked for by its trace.
        nullif(substring(f.traceparent from 4 for 32), '')::uuid
    from fresh f
    join sent s using (position)
    -- By key, so that two replicas that write the same keys wait for each other and never in a circle.
    order by f.idempotency_key
    returning id, message_id, created_at
)
select f.n, w.id, w.message_id, w.created_at, null::text as customer_name, null::text as product_name, null::integer as quantity, null::bigint as cents
from written w
join fresh f using (id)
union all
-- Whatever a hand has put into the row that is found: a moment beyond what a client can read, a price that is none.
select f.n, f.id, f.message_id, least(greatest(f.created_at, '0001-01-01 00:00:00+00'), '9999-12-31 23:59:59.999999+00'),
    f.customer_name, f.product_name, f.quantity, coalesce((nullif(f.price, 'NaN') * 100)::bigint, 0)
from found f
cross join (select count(*) from confirmed) c
union all
-- All or nothing: when a trigger, or whatever else there is, has held back an order or a message, this is an error, and nothing is
-- written. The cast is the way to raise one in plain SQL.
select ('orderflow: incomplete: ' || c.written || ' of ' || c.wanted || ' orders would be written with their messages')::bigint,
    null, null, null, null, null, null, null
from (
    select
        (select count(*) from fresh) as wanted,
        (
            select count(*)
            from written w
            join fresh f using (id)
            join sent s on s.position = f.position and s.msg_id = w.message_id
        ) as written
) c
where c.written <> c.wanted
