-- As ack.sql, for a batch that ran into a lock: it takes only messages and orders that nobody else has locked, so one
-- row that somebody holds on to keeps nothing else waiting. What is ours alone and is not deleted all the same has been kept by a
-- trigger (in ack.sql it is merely not confirmed, and comes here next).
with lease as (
  select msg_id, read_ct, enqueued_at, order_id, created_at, attempt, started
    from unnest($1::bigint[], $2::integer[], $3::timestamptz[], $4::bigint[], $5::timestamptz[], $6::integer[], $8::timestamptz[])
      as l (msg_id, read_ct, enqueued_at, order_id, created_at, attempt, started)
),
free_message as materialized (
  select q.msg_id, lease.order_id, lease.created_at, lease.attempt, lease.started
    from lease
    join {queue} as q on q.msg_id = any (array[lease.msg_id]) and q.read_ct = lease.read_ct and q.enqueued_at = lease.enqueued_at
     for update of q skip locked
),
free as materialized (
  select m.msg_id, m.order_id, m.created_at, m.attempt, m.started
    from free_message as m
    join public.orders as o on o.id = any (array[m.order_id]) and o.created_at = m.created_at
     for no key update of o skip locked
),
gone as (
  delete from {queue} as q
   using free
   where q.msg_id = any (array[free.msg_id])
  returning q.msg_id, q.read_ct, q.enqueued_at, free.order_id, free.created_at, free.attempt, free.started
),
kept as (
  select array_agg(msg_id) as ids from free where msg_id not in (select msg_id from gone)
),
{effect}
{acked}
   and (select case when ids is null then true else orderflow.not_written('a message has not been deleted', ids) end from kept)

