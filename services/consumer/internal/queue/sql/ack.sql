-- Delete the messages whose lease still holds and apply their effect (effect.sql), in one transaction. What the lease
-- refuses has no effect; what has no order, or not the one that it was sent for, is left where it is, for the dead letters.
--
-- Plan: nested loops from the arrays to the primary keys of queue and orders; the arrays come sorted, so that two
-- statements that meet on the same rows lock them in the same order.
with lease as (
  select msg_id, read_ct, enqueued_at, order_id, created_at, attempt, started
    from unnest($1::bigint[], $2::integer[], $3::timestamptz[], $4::bigint[], $5::timestamptz[], $6::integer[], $8::timestamptz[])
      as l (msg_id, read_ct, enqueued_at, order_id, created_at, attempt, started)
),
gone as (
  delete from {queue} as q
   using lease
   where q.msg_id = any (array[lease.msg_id])
     and q.read_ct = lease.read_ct
     and q.enqueued_at = lease.enqueued_at
     and exists (select from public.orders as o where o.id = any (array[lease.order_id]) and o.created_at = lease.created_at)
  returning q.msg_id, q.read_ct, q.enqueued_at, lease.order_id, lease.created_at, lease.attempt, lease.started
),
{effect}
{acked}
