-- Whether what an ack wrote still stands after the work of others in its transaction: the message is gone, and its order completed, with as
-- many effects. The work may do what it likes, but not undo the ack that it commits with.
-- Plan: as ack.sql.
select case when ids is null then true else orderflow.not_written('the work in the transaction of the ack has undone it', ids) end
  from (
    select array_agg(msg_id) as ids
      from unnest($1::bigint[], $2::bigint[], $3::timestamptz[], $4::integer[]) as acked (msg_id, order_id, created_at, effects)
     where exists (select from {queue} as q where q.msg_id = any (array[acked.msg_id]))
        or not exists (
             select from public.orders as o
              where o.id = any (array[acked.order_id])
                and o.created_at = acked.created_at
                and o.status = 'completed'
                and o.effects = acked.effects)
  ) as undone
