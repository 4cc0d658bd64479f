-- Hand messages back, without an attempt: due $6 seconds from now, or at $7, as it was before it was read: in front of what came later. orderflow-unanswered becomes $4: what it was before the read, where no handler has answered, so that what had no answer then
-- still has none. It is an absolute value, so that the statement can be repeated after a lost reply.
--
-- $5 is set for leases whose read may not have been committed. If it was not, the next reader, whoever that is, got the same
-- read_ct again, and only the vt that the read had set tells our lease from theirs.
-- Plan and locks: as nack.sql.
with lease as (
  select msg_id, read_ct, enqueued_at, unanswered, until, delay, due_at, story
    from unnest($1::bigint[], $2::integer[], $3::timestamptz[], $4::integer[], $5::timestamptz[], $6::float8[], $7::timestamptz[], $8::jsonb[])
      as l (msg_id, read_ct, enqueued_at, unanswered, until, delay, due_at, story)
),
ours as materialized (
  select q.msg_id, lease.unanswered, lease.delay, lease.due_at, lease.story
    from lease
    join {queue} as q
      on q.msg_id = any (array[lease.msg_id])
     and q.read_ct = lease.read_ct
     and q.enqueued_at = lease.enqueued_at
     and (lease.until is null or q.vt = lease.until)
     for update of q skip locked
),
back as (
  update {queue} as q
     set vt = coalesce(ours.due_at, clock_timestamp() + make_interval(secs => ours.delay)),
         headers = ({headers} {answered}) || jsonb_build_object('orderflow-released', q.read_ct, 'orderflow-unanswered', ours.unanswered)
    from ours
   where q.msg_id = any (array[ours.msg_id])
  returning q.msg_id, q.read_ct, q.enqueued_at, ours.story, q.vt,
            q.vt between coalesce(ours.due_at, statement_timestamp() + make_interval(secs => ours.delay))
                     and coalesce(ours.due_at, clock_timestamp() + make_interval(secs => ours.delay))
              and q.headers -> 'orderflow-released' = to_jsonb(q.read_ct) as stands
),
lacking as (
  select array_agg(msg_id) as ids from ours where msg_id not in (select msg_id from back where stands)
),
{noted}
select msg_id, read_ct, enqueued_at
  from back
 where (select case when ids is null then true else orderflow.not_written('a message has not been handed back', ids) end from lacking)
   and (select noted from noted) is not null
