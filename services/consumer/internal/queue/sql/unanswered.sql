-- Deliveries of which nothing was heard, as the next read finds them, go into the history of their orders. It is sent along with the commit
-- of that read, and only when there are such. The order is the message's as identify.sql has it, and the rest as in noted.sql.
-- Plan: nested loop over the primary key of orders.
select orderflow.note_history(jsonb_agg(m.story || jsonb_build_object(
         'order_id', o.id, 'created_at', o.created_at, 'msg_id', m.msg_id, 'enqueued_at', m.enqueued_at)))
  from unnest($1::bigint[], $2::timestamptz[], $3::bigint[], $4::timestamptz[], $5::jsonb[])
    as m (msg_id, enqueued_at, order_id, created_at, story)
  join public.orders as o on o.id = any (array[m.order_id])
 where orderflow.is_about(jsonb_build_object('created_at', m.created_at), m.msg_id, o.created_at, o.message_id)
