-- The answer of acks whose transaction stays open for work of others. first says that no effect of the order was there before: only then is
-- there work to be done. effects is what ack_stands.sql is to find again.
select gone.msg_id, gone.read_ct, gone.enqueued_at, gone.order_id, gone.created_at, done.effects = done.times, done.effects,
       extract(epoch from clock_timestamp()
         - greatest(least(gone.enqueued_at, clock_timestamp()), clock_timestamp() - interval '1 day'))::float8
  from gone
  join done on done.id = gone.order_id
 where (select case when ids is null then true else orderflow.not_written('an order has not been marked as completed', ids) end from lacking)
