-- What became of leases that a statement did not confirm: whether the message is there, who read it last, whether it was
-- given back under our lease, and whether its order bears the mark of our attempt.
-- Plan: as nack.sql.
select lease.msg_id,
       lease.read_ct,
       q.read_ct,
       coalesce(q.headers -> 'orderflow-retry' = to_jsonb(lease.read_ct)
         or q.headers -> 'orderflow-released' = to_jsonb(lease.released + 1), false),
       o.id is not null,
       coalesce((o.status = 'completed' and o.processed_by = $5 or o.status = 'dead') and o.attempts = lease.attempt, false)
  from unnest($1::bigint[], $2::integer[], $3::bigint[], $4::integer[], $6::integer[])
    as lease (msg_id, read_ct, order_id, attempt, released)
  left join {queue} as q on q.msg_id = any (array[lease.msg_id])
  left join public.orders as o on o.id = any (array[lease.order_id])
