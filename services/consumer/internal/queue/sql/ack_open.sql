-- As ack_unlocked.sql, in a transaction that stays open for work of others, which is to commit with it. first says that the order was
-- not completed before: only then is there work to be done. effects is what ack_stands.sql is to find again.
with lease as (
  select msg_id, read_ct, enqueued_at, order_id, created_at, attempt
    from unnest($1::bigint[], $2::integer[], $3::timestamptz[], $4::bigint[], $5::timestamptz[], $6::integer[])
      as l (msg_id, read_ct, enqueued_at, order_id, created_at, attempt)
),
free_message as materialized (
  select q.msg_id, lease.order_id, lease.created_at, lease.attempt
    from lease
    join {queue} as q on q.msg_id = any (array[lease.msg_id]) and q.read_ct = lease.read_ct and q.enqueued_at = lease.enqueued_at
     for update of q skip locked
),
free as materialized (
  select m.msg_id, m.order_id, m.created_at, m.attempt, o.status <> 'completed' as first
    from free_message as m
    join public.orders as o on o.id = any (array[m.order_id]) and o.created_at = m.created_at
     for no key update of o skip locked
),
gone as (
  delete from {queue} as q
   using free
   where q.msg_id = any (array[free.msg_id])
  returning q.msg_id, q.read_ct, q.enqueued_at, free.order_id, free.created_at, free.attempt, free.first
),
kept as (
  select array_agg(msg_id) as ids from free where msg_id not in (select msg_id from gone)
),
{effect}
select gone.msg_id, gone.read_ct, gone.enqueued_at, gone.order_id, gone.created_at, gone.first, done.effects,
       extract(epoch from clock_timestamp()
         - greatest(least(gone.enqueued_at, clock_timestamp()), clock_timestamp() - interval '1 day'))::float8
  from gone
  join done on done.id = gone.order_id
 where (select case when ids is null then true else orderflow.not_written('an order has not been marked as completed', ids) end from lacking)
   and (select case when ids is null then true else orderflow.not_written('a message has not been deleted', ids) end from kept)
