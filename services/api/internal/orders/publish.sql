-- Writes a batch of orders and their messages, in one statement and so in one transaction and one round trip.
--
-- {queue} is the queue's table; $1 to $8 have one element for each order:
--    unit         orders of one request have the same number: they are written all or not at all
--    lookup_only  is only looked up, never written (the order after the last one of a replayed batch)
--    cents        the price in hundredths
--    traceparent  what the message bears of a trace; empty: nothing; '-': that nobody is to record one, which takes 16 bytes and not 75
-- Returns a row for each order written and for each one found under its idempotency key. A unit of which anything was found
-- is not written.
--
-- The messages are inserted as pgmq.send_batch does it, with ids of the same sequence, but without it: it plans an insert anew at each
-- call, and tells the messages' ids only in an order by which they would have to be joined to their orders. A batch of 1 / 64 / 256
-- orders took Postgres 380 / 26 / 18 us of a processor an order with it, and 145 / 17 / 13 without.
--
-- Relies on: the unique index on idempotency_key for the look-up, one descent for each key (this statement's plan is made
-- once, perhaps while the table is empty, so the session switches the scans off that grow with the table, and the limit keeps
-- the look-up from becoming a join that does).
with input as materialized (
    select i.*
    from unnest($1::integer[], $2::boolean[], $3::text[], $4::text[], $5::integer[], $6::bigint[], $7::text[], $8::text[])
        with ordinality as i (unit, lookup_only, customer_name, product_name, quantity, cents, idempotency_key, traceparent, n)
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
    select
        pg_get_serial_sequence('public.orders', 'id')::regclass as orders,
        pg_get_serial_sequence('{queue}', 'msg_id')::regclass as messages
),
fresh as materialized (
    select
        i.*,
        nextval(ids.orders) as id,
        nextval(ids.messages) as msg_id,
        (i.cents * 0.01)::numeric(12, 2) as price,
        clock_timestamp() as created_at
    from input i
    cross join ids
    where not i.lookup_only
      and not exists (select from found f where f.unit = i.unit)
),
sent as (
    -- enqueued_at is created_at to the microsecond: by that a consumer can mark its first read (see its fetch.sql).
    insert into {queue} (msg_id, enqueued_at, vt, message, headers)
    overriding system value
    select
        f.msg_id,
        f.created_at,
        f.created_at,
        jsonb_build_object(
            'order_id', f.id,
            'customer_name', f.customer_name,
            'product_name', f.product_name,
            'quantity', f.quantity,
            'price', f.price,
            'created_at', to_char(f.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')
        ),
        case f.traceparent
            when '' then jsonb '{"schema": 1}'
            when '-' then jsonb '{"schema": 1, "sampled": false}'
            else jsonb_build_object('schema', 1, 'traceparent', f.traceparent)
        end
    from fresh f
    returning msg_id
),
written as (
    insert into public.orders
        (id, customer_name, product_name, quantity, price, created_at, message_id, idempotency_key, trace_id)
    select f.id, f.customer_name, f.product_name, f.quantity, f.price, f.created_at, f.msg_id, f.idempotency_key,
        -- The message goes away with its headers, and the order still leads to its trace, if there is one: if it is sampled.
        case when f.traceparent like '%-01' then substring(f.traceparent from 4 for 32)::uuid end
    from fresh f
    -- By key, so that two replicas that write the same keys wait for each other and never in a circle.
    order by f.idempotency_key
    returning id, message_id, created_at
),
-- What was to be written and what was, as numbers that differ when a trigger has held a row back or has changed what names it: a count and
-- a hash that knows no order. Joins would show it, too, and cost more than all the rest.
wanted as (
    select count(*) as orders, bit_xor(hash_record_extended((id, msg_id, created_at), 0)) as names, bit_xor(hashint8extended(msg_id, 0)) as messages
    from fresh
),
stored as (
    select count(*) as orders, bit_xor(hash_record_extended((id, message_id, created_at), 0)) as names from written
),
queued as (
    select count(*) as orders, bit_xor(hashint8extended(msg_id, 0)) as messages from sent
)
select f.n, f.id, f.msg_id, f.created_at, null::text as customer_name, null::text as product_name, null::integer as quantity, null::bigint as cents
from fresh f
union all
-- Whatever a hand has put into the row that is found, where it has dropped a constraint, too: nulls, a moment beyond what a client can read, a
-- price that is none. A name that is null would be one of an order that is written now.
select f.n, f.id, coalesce(f.message_id, 0), coalesce(least(greatest(f.created_at, '0001-01-01 00:00:00+00'), '9999-12-31 23:59:59.999999+00'), '0001-01-01 00:00:00+00'),
    coalesce(f.customer_name, ''), coalesce(f.product_name, ''), coalesce(f.quantity, 0), coalesce((nullif(f.price, 'NaN') * 100)::bigint, 0)
from found f
cross join (select count(*) from confirmed) c
union all
-- All or nothing: when a trigger, or whatever else there is, has held back an order or a message, this is an error, and nothing is
-- written. The cast is the way to raise one in plain SQL.
select (
        'orderflow: incomplete: of ' || w.orders || ' orders ' || s.orders || ' would be written and ' || q.orders || ' queued'
        || case when (s.orders, q.orders) = (w.orders, w.orders) then ', not all as they were to be' else '' end
    )::bigint,
    null, null, null, null, null, null, null
from wanted w
cross join stored s
cross join queued q
where (s.orders, s.names) is distinct from (w.orders, w.names)
   or (q.orders, q.messages) is distinct from (w.orders, w.messages)
