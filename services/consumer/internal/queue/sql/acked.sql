-- The answer of both acks that are a transaction of their own: what is gone, and how long each message took since its publication.
select msg_id, read_ct, enqueued_at,
       date_part('epoch', clock_timestamp() - greatest(least(enqueued_at, clock_timestamp()), clock_timestamp() - interval '1 day'))
  from gone
 where (select case when ids is null then true else orderflow.not_written('an order has not been marked as completed', ids) end from lacking)
