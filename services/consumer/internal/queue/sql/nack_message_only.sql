-- As nack.sql, without telling the order: for the one whose row cannot be written.
with lease as (
  select msg_id, read_ct, enqueued_at, delay, error, failed, story
    from unnest($1::bigint[], $2::integer[], $3::timestamptz[], $4::float8[], $5::text[], $6::integer[], $7::jsonb[])
      as l (msg_id, read_ct, enqueued_at, delay, error, failed, story)
),
ours as materialized (
  select q.msg_id, lease.delay, lease.error, lease.failed, lease.story
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
  returning q.msg_id, q.read_ct, q.enqueued_at, ours.story, q.vt,
            q.vt between statement_timestamp() + make_interval(secs => ours.delay) and clock_timestamp() + make_interval(secs => ours.delay)
              and q.headers -> 'orderflow-retry' = to_jsonb(q.read_ct) as stands
),
lacking as (
  select array_agg(msg_id) as ids from ours where msg_id not in (select msg_id from back where stands)
),
{noted}
select msg_id, read_ct, enqueued_at
  from back
 where (select case when ids is null then true else orderflow.not_written('a failed message has not been delayed', ids) end from lacking)
   and (select noted from noted) is not null
