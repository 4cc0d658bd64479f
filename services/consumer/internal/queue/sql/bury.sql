-- Move messages whose lease holds to the dead letters, with the reason in their headers and the order's status, in one
-- transaction. An order that is completed stays so: the dead letter is then a duplicate of its message. What is locked by
-- somebody is left for later, message and order together.
-- Plan: as nack.sql; pgmq.send per dead letter, which are few.
with lease as (
  select msg_id, read_ct, order_id, attempts, reason, error
    from unnest($1::bigint[], $2::integer[], $3::bigint[], $4::integer[], $5::text[], $6::text[])
      as l (msg_id, read_ct, order_id, attempts, reason, error)
),
ours as materialized (
  select q.msg_id, lease.order_id, lease.attempts, lease.reason, lease.error
    from lease
    join {queue} as q on q.msg_id = any (array[lease.msg_id]) and q.read_ct = lease.read_ct
     for update of q skip locked
),
free as materialized (
  select o.id
    from (select distinct order_id from ours order by order_id) as wanted
    join public.orders as o on o.id = any (array[wanted.order_id])
     for no key update of o skip locked
),
gone as (
  delete from {queue} as q
   using ours
   where q.msg_id = any (array[ours.msg_id])
     and (ours.order_id in (select id from free)
          or not exists (select from public.orders as o where o.id = any (array[ours.order_id])))
  returning q.msg_id, q.read_ct, q.enqueued_at, q.message, {headers} as headers,
            ours.order_id, ours.attempts, ours.reason, ours.error
),
sent as (
  select g.msg_id, g.read_ct,
         pgmq.send($7::text, g.message,
           g.headers - array['orderflow-delivered', 'orderflow-retry', 'orderflow-error', 'orderflow-released'] || jsonb_build_object(
             'orderflow-dead', jsonb_build_object(
               'reason', g.reason, 'error', g.error, 'attempts', g.attempts, 'queue', $8::text, 'msg_id', g.msg_id,
               'read_ct', g.read_ct, 'enqueued_at', g.enqueued_at, 'dead_at', clock_timestamp(),
               'consumer', $9::text))) as dead_id
    from (select * from gone order by msg_id) as g
),
told as (
  update public.orders as o
     set status = 'dead',
         dead_at = clock_timestamp(),
         attempts = failure.attempts,
         last_error = failure.error
    from (select distinct on (order_id) order_id, attempts, error from gone order by order_id, attempts desc) as failure
   where o.id = any (array[failure.order_id])
     and o.status = 'pending'
)
select msg_id, read_ct from sent where dead_id is not null
