-- What became of leases that a statement did not confirm: whether the message is there, who read it last, whether it was
-- given back under our lease, and whether its order bears the mark of our attempt.
-- Plan: as nack.sql.
select lease.msg_id,
       lease.read_ct,
       lease.enqueued_at,
       q.read_ct,
       coalesce(q.headers -> 'orderflow-retry' = to_jsonb(lease.read_ct)
         or q.headers -> 'orderflow-released' = to_jsonb(lease.read_ct), false),
       o.id is not null,
       coalesce((o.status = 'completed' and o.processed_by = $7 or o.status = 'dead') and o.attempts = lease.attempt, false)
  from unnest($1::bigint[], $2::integer[], $3::timestamptz[], $4::bigint[], $5::timestamptz[], $6::integer[])
    as lease (msg_id, read_ct, enqueued_at, order_id, created_at, attempt)
  left join {queue} as q on q.msg_id = any (array[lease.msg_id]) and q.enqueued_at = lease.enqueued_at
  left join public.orders as o on o.id = any (array[lease.order_id]) and o.created_at = lease.created_at
