-- Hide failed messages for some seconds more, with what went wrong and how many attempts have failed, and tell their orders.
-- orderflow-retry = read_ct is what distinguishes waiting for a retry from being worked on, here and for whoever looks at the queue.
-- A trigger can undo a part of that: the due time that is to stand lies between the statement's begin and now, plus the delay.
-- Repeated after a lost reply it does the same again, or nothing when somebody else has read the message since.
-- Rows that somebody has locked are passed over: no message waits for another's lock, and an order that cannot be told
-- now will be with its next attempt. A row that refers to the order (for key share) does not lock it in that sense.
--
-- Plan: nested loops from the arrays to the primary keys, as fetch.sql says.
with lease as (
  select msg_id, read_ct, enqueued_at, delay, error, failed, order_id, created_at, attempt, story
    from unnest($1::bigint[], $2::integer[], $3::timestamptz[], $4::float8[], $5::text[], $6::integer[], $7::bigint[], $8::timestamptz[], $9::integer[],
                $10::jsonb[])
      as l (msg_id, read_ct, enqueued_at, delay, error, failed, order_id, created_at, attempt, story)
),
ours as materialized (
  select q.msg_id, lease.delay, lease.error, lease.failed, lease.order_id, lease.created_at, lease.attempt, lease.story
    from lease
    join {queue} as q on q.msg_id = any (array[lease.msg_id]) and q.read_ct = lease.read_ct and q.enqueued_at = lease.enqueued_at
     for update of q skip locked
),
back as (
  update {queue} as q
     set vt = clock_timestamp() + make_interval(secs => ours.delay),
         headers = (({headers} {answered}) - 'orderflow-unanswered')
           || jsonb_build_object('orderflow-retry', q.read_ct, 'orderflow-error', ours.error, 'orderflow-failed', ours.failed)
    from ours
   where q.msg_id = any (array[ours.msg_id])
  returning q.msg_id, q.read_ct, q.enqueued_at, ours.order_id, ours.created_at, ours.attempt, ours.error, ours.story, q.vt,
            q.vt between statement_timestamp() + make_interval(secs => ours.delay) and clock_timestamp() + make_interval(secs => ours.delay)
              and q.headers -> 'orderflow-retry' = to_jsonb(q.read_ct) as stands
),
free as materialized (
  select o.id, back.attempt, back.error
    from back
    join public.orders as o on o.id = any (array[back.order_id]) and o.created_at = back.created_at and o.status = 'pending'
     for no key update of o skip locked
),
told as (
  update public.orders as o
     set attempts = failure.attempt,
         last_error = failure.error
    from (select distinct on (id) id, attempt, error
            from free
           order by id, attempt desc) as failure
   where o.id = any (array[failure.id])
  returning o.id, o.attempts = failure.attempt as stands
),
lacking as (
  select array_agg(msg_id) as ids
    from ours
   where msg_id not in (select msg_id from back where stands)
      or order_id in (select id from free) and order_id not in (select id from told where stands)
),
{noted}
select msg_id, read_ct, enqueued_at
  from back
 where (select case when ids is null then true else orderflow.not_written('a failed attempt has not been noted', ids) end from lacking)
   and (select noted from noted) is not null
