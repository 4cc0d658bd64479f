-- Hand messages back, and the read not counted as an attempt: due at once, or $6 seconds from now; below 0 it is due as it was before it
-- was read, in front of what came later. The count of hand-backs ($4) is the absolute new value, so that repeating the statement after a
-- lost reply counts once.
--
-- $5 is set for leases whose read may not have been committed. If it was not, the next reader, whoever that is, got the same
-- read_ct again, and only the vt that the read had set tells our lease from theirs.
-- Plan and locks: as nack.sql.
with lease as (
  select msg_id, read_ct, enqueued_at, released, until, delay
    from unnest($1::bigint[], $2::integer[], $3::timestamptz[], $4::integer[], $5::timestamptz[], $6::float8[])
      as l (msg_id, read_ct, enqueued_at, released, until, delay)
),
ours as materialized (
  select q.msg_id, lease.released, lease.delay
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
     set vt = clock_timestamp() + make_interval(secs => ours.delay),
         headers = {headers} || jsonb_build_object('orderflow-released', ours.released)
    from ours
   where q.msg_id = any (array[ours.msg_id])
  returning q.msg_id, q.read_ct, q.enqueued_at,
            q.vt between statement_timestamp() + make_interval(secs => ours.delay) and clock_timestamp() + make_interval(secs => ours.delay)
              and q.headers -> 'orderflow-released' = to_jsonb(ours.released) as stands
),
lacking as (
  select array_agg(msg_id) as ids from ours where msg_id not in (select msg_id from back where stands)
)
select msg_id, read_ct, enqueued_at
  from back
 where (select case when ids is null then true else orderflow.not_written('a message has not been handed back', ids) end from lacking)
