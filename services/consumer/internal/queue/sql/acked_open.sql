-- The answer of acks whose transaction stays open for work of others: for each order its effects, which ack_stands.sql is to find again, and
-- whether none was there before: only then is there work to be done. And after that what is gone. Whoever reads them puts them together: a
-- join of the two would compare each with each.
select 0 as msg_id, 0 as read_ct, '-infinity' as enqueued_at, id as order_id, '-infinity' as created_at, 0 as took,
       effects = times as first, effects
  from done
union all
select msg_id, read_ct, enqueued_at, order_id, created_at,
       extract(epoch from clock_timestamp() - greatest(least(enqueued_at, clock_timestamp()), clock_timestamp() - interval '1 day'))::float8,
       null, null
  from gone
 where (select case when ids is null then true else orderflow.not_written('an order has not been marked as completed', ids) end from lacking)
