-- Move messages whose lease holds to the dead letters, with the reason in their headers and the order's status, in one
-- transaction. An order that is completed stays so: the dead letter is then a duplicate of its message. What is locked by
-- somebody is left for later, message and order together. What a trigger suppresses of it lets nothing of the statement stay, or a
-- message would be gone and nowhere else.
-- Plan: as nack.sql; pgmq.send per dead letter, which are few.
with lease as (
  select msg_id, read_ct, enqueued_at, order_id, created_at, attempts, reason, error, story
    from unnest($1::bigint[], $2::integer[], $3::timestamptz[], $4::bigint[], $5::timestamptz[], $6::integer[], $7::text[], $8::text[],
                $12::jsonb[])
      as l (msg_id, read_ct, enqueued_at, order_id, created_at, attempts, reason, error, story)
),
ours as materialized (
  select q.msg_id, lease.order_id, lease.created_at, lease.attempts, lease.reason, lease.error, lease.story
    from lease
    join {queue} as q on q.msg_id = any (array[lease.msg_id]) and q.read_ct = lease.read_ct and q.enqueued_at = lease.enqueued_at
     for update of q skip locked
),
free as materialized (
  select o.id, o.status
    from (select distinct order_id, created_at from ours order by order_id) as wanted
    join public.orders as o on o.id = any (array[wanted.order_id]) and o.created_at = wanted.created_at
     for no key update of o skip locked
),
ready as materialized (
  select *
    from ours
   where order_id in (select id from free)
      or not exists (select from public.orders as o where o.id = any (array[ours.order_id]) and o.created_at = ours.created_at)
),
gone as (
  delete from {queue} as q
   using ready
   where q.msg_id = any (array[ready.msg_id])
  returning q.msg_id, q.read_ct, q.enqueued_at, q.message, {headers} as headers,
            ready.order_id, ready.created_at, ready.attempts, ready.reason, ready.error, ready.story, null::timestamptz as vt
),
sent as (
  select g.msg_id, g.read_ct, g.enqueued_at,
         pgmq.send($9::text, g.message,
           g.headers - array['orderflow-unanswered', 'orderflow-failed', 'orderflow-started', 'orderflow-retry', 'orderflow-error',
                              'orderflow-released'] || jsonb_build_object(
             'orderflow-dead', jsonb_build_object(
               'reason', g.reason, 'error', g.error, 'attempts', g.attempts, 'queue', $10::text, 'msg_id', g.msg_id,
               'read_ct', g.read_ct, 'enqueued_at', g.enqueued_at, 'dead_at', clock_timestamp(),
               'consumer', $11::text))) as dead_id
    from (select * from gone order by msg_id) as g
),
told as (
  update public.orders as o
     set status = 'dead',
         dead_at = clock_timestamp(),
         attempts = failure.attempts,
         last_error = failure.error
    from (select distinct on (order_id, created_at) order_id, created_at, attempts, error
            from gone
           order by order_id, created_at, attempts desc) as failure
   where o.id = any (array[failure.order_id])
     and o.created_at = failure.created_at
     and o.status = 'pending'
  returning o.id, o.status = 'dead' as stands
),
lacking as (
  select array_agg(msg_id) as ids
    from ready
   where msg_id not in (select msg_id from sent where dead_id is not null)
      or order_id in (select id from free where status = 'pending') and order_id not in (select id from told where stands)
),
{noted_gone}
select msg_id, read_ct, enqueued_at
  from sent
 where (select case when ids is null then true else orderflow.not_written('a dead letter has not been written', ids) end from lacking)
   and (select noted from noted) is not null
