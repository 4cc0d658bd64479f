-- The tail of all acks: what the messages that are gone have done. effects counts every effect that commits, so that a
-- second one would show: it is never guarded by the status.
-- A trigger can suppress the update of an order without an error, or undo it. Then nothing of the statement may stay: see not_written.
-- Plan: as fetch.sql; sorted, so that two statements that meet on the same orders lock them in the same order.
done as (
  update public.orders as o
     set status = 'completed',
         started_at = case when o.completed_at is null then effect.started else o.started_at end,
         completed_at = coalesce(o.completed_at, clock_timestamp()),
         attempts = effect.attempt,
         effects = o.effects + effect.times,
         processed_by = $7,
         last_error = null,
         dead_at = null
    from (select order_id, created_at, count(*)::integer as times, max(attempt) as attempt, max(started) as started
            from gone
           group by order_id, created_at
           order by order_id) as effect
   where o.id = any (array[effect.order_id])
     and o.created_at = effect.created_at
  returning o.id, effect.times, o.effects, o.status = 'completed' and o.effects >= effect.times as stands
),
lacking as (
  select array_agg(msg_id) as ids from gone where order_id not in (select id from done where stands)
)
