-- As ack.sql, for a batch that ran into a lock: it takes only messages and orders that nobody else has locked, so one
-- row that somebody holds on to keeps nothing else waiting.
with lease as (
  select msg_id, read_ct, order_id, attempt
    from unnest($1::bigint[], $2::integer[], $3::bigint[], $4::integer[]) as l (msg_id, read_ct, order_id, attempt)
),
free_message as materialized (
  select q.msg_id, lease.order_id, lease.attempt
    from lease
    join {queue} as q on q.msg_id = any (array[lease.msg_id]) and q.read_ct = lease.read_ct
     for update of q skip locked
),
free as materialized (
  select m.msg_id, m.order_id, m.attempt
    from free_message as m
    join public.orders as o on o.id = any (array[m.order_id])
     for no key update of o skip locked
),
gone as (
  delete from {queue} as q
   using free
   where q.msg_id = any (array[free.msg_id])
  returning q.msg_id, q.read_ct, q.enqueued_at, free.order_id, free.attempt
),
{effect}
