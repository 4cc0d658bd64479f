-- Extend leases by $4 seconds from now. A lease that has been given back under the same read_ct, by a nack or a release
-- that overtook this statement, is no lease any more: extending it would hide a message that waits for its retry.
-- What a trigger has left as it was is not extended, whatever the row count says.
-- Plan and locks: as nack.sql; the checks are made again on the row as it is once it is locked.
with lease as (
  select msg_id, read_ct, enqueued_at
    from unnest($1::bigint[], $2::integer[], $3::timestamptz[]) as l (msg_id, read_ct, enqueued_at)
),
ours as materialized (
  select q.msg_id
    from lease
    join {queue} as q
      on q.msg_id = any (array[lease.msg_id])
     and q.read_ct = lease.read_ct
     and q.enqueued_at = lease.enqueued_at
     and q.headers -> 'orderflow-retry' is distinct from to_jsonb(lease.read_ct)
     and q.headers -> 'orderflow-released' is distinct from to_jsonb(lease.read_ct)
     for update of q skip locked
),
extended as (
  update {queue} as q
     set vt = clock_timestamp() + make_interval(secs => $4::float8)
    from ours
   where q.msg_id = any (array[ours.msg_id])
  returning q.msg_id, q.read_ct, q.enqueued_at,
            q.vt between statement_timestamp() + make_interval(secs => $4::float8) and clock_timestamp() + make_interval(secs => $4::float8) as stands
)
select msg_id, read_ct, enqueued_at
  from extended
 where stands
