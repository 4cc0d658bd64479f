-- An answer that comes after the lease is lost: the start that was made known under it has not killed its consumer, and so is no attempt.
-- Nothing else of the message is touched: it is somebody else's by now.
-- Plan and locks: as nack.sql.
with lease as (
  select msg_id, read_ct, enqueued_at
    from unnest($1::bigint[], $2::integer[], $3::timestamptz[]) as l (msg_id, read_ct, enqueued_at)
)
update {queue} as q
   set headers = q.headers #- array['orderflow-started', lease.read_ct::text]
  from lease
 where q.msg_id = any (array[lease.msg_id])
   and q.enqueued_at = lease.enqueued_at
   and q.headers -> 'orderflow-started' ? lease.read_ct::text
returning q.msg_id, lease.read_ct, q.enqueued_at
