-- Delete the messages whose lease still holds and apply their effect (effect.sql), in one transaction. What the lease
-- refuses has no effect; what has no order is left where it is, for the dead letters.
--
-- Plan: nested loops from the arrays to the primary keys of queue and orders; the arrays come sorted, so that two
-- statements that meet on the same rows lock them in the same order.
with lease as (
  select msg_id, read_ct, order_id, attempt
    from unnest($1::bigint[], $2::integer[], $3::bigint[], $4::integer[]) as l (msg_id, read_ct, order_id, attempt)
),
gone as (
  delete from {queue} as q
   using lease
   where q.msg_id = any (array[lease.msg_id])
     and q.read_ct = lease.read_ct
     and exists (select from public.orders as o where o.id = any (array[lease.order_id]))
  returning q.msg_id, q.read_ct, q.enqueued_at, lease.order_id, lease.attempt
),
{effect}
