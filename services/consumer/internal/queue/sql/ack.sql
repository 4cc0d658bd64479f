-- Delete the messages whose lease still holds and apply their effect, in one transaction. What the lease refuses has no
-- effect; what has no order is left where it is, for the dead letters. effects counts every effect that commits, so that
-- a second one would show: it is never guarded by the status.
--
-- Plan: nested loops from the arrays to the primary keys of queue and orders; sorted, so that two statements that meet
-- on the same rows lock them in the same order.
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
done as (
  update public.orders as o
     set status = 'completed',
         completed_at = coalesce(o.completed_at, clock_timestamp()),
         attempts = effect.attempt,
         effects = o.effects + effect.times,
         processed_by = $5,
         last_error = null,
         dead_at = null
    from (select order_id, count(*)::integer as times, max(attempt) as attempt
            from gone
           group by order_id
           order by order_id) as effect
   where o.id = any (array[effect.order_id])
)
select msg_id, read_ct, extract(epoch from clock_timestamp() - greatest(enqueued_at, clock_timestamp() - interval '1 day'))::float8
  from gone
