-- An answer that comes after the lease was lost. The start that was made known under it has not killed its consumer, and so is no attempt;
-- the history of the order says what had really happened. Nothing else of the message is touched: it is somebody else's by now, or gone.
-- Plan and locks: as nack.sql.
with lease as (
  select msg_id, read_ct, enqueued_at, story
    from unnest($1::bigint[], $2::integer[], $3::timestamptz[], $4::jsonb[]) as l (msg_id, read_ct, enqueued_at, story)
),
answered as (
  update {queue} as q
     set headers = q.headers #- array['orderflow-started', lease.read_ct::text]
    from lease
   where q.msg_id = any (array[lease.msg_id])
     and q.enqueued_at = lease.enqueued_at
     and q.headers -> 'orderflow-started' ? lease.read_ct::text
  returning q.msg_id, lease.read_ct, q.enqueued_at
),
noted as (
  select orderflow.note_history(jsonb_agg(story || jsonb_build_object(
           'msg_id', msg_id, 'read_ct', read_ct, 'enqueued_at', enqueued_at,
           'attempt', case when exists (select from answered as a where a.msg_id = lease.msg_id and a.read_ct = lease.read_ct) then 0 end))) as noted
    from lease
)
select msg_id, read_ct, enqueued_at
  from answered
 where (select noted from noted) is not null
