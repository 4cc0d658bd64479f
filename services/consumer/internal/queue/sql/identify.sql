-- Which of these messages are not about the order that has their order_id and their created_at ($3): the others are, and are
-- not listed. Asked together with the commit of a read, so that no handler is given a message that can never be completed, or
-- one of an order that has been given the id of a lost one.
--
-- A message is an order's own all the same when one of the two says no time, and the order names it, or names none: those of adopted
-- orders, for instance. The FastAPI example does not write message_id, and its created_at, which is UTC without saying so, is stored as
-- local time where the server's time zone is another: so the two may also be whole quarters of an hour apart, to the microsecond, and no
-- further than time zones are. That the order names the message is not enough when their times say otherwise: where ids have come again,
-- msg_ids may have too.
-- Plan: nested loop over the primary key of orders.
select m.n::integer,
       o.id is not null,
       case
         when o.id is null then false
         when o.message_id <> m.msg_id then false
         when m.created_at is null then true
         when not isfinite(o.created_at) then o.message_id is not null
         else o.created_at between m.created_at - interval '15 hours' and m.created_at + interval '15 hours'
              and mod(extract(epoch from o.created_at)::numeric - extract(epoch from m.created_at)::numeric, 900) = 0
       end,
       o.created_at
  from unnest($1::bigint[], $2::bigint[], $3::timestamptz[]) with ordinality as m (order_id, msg_id, created_at, n)
  left join public.orders as o on o.id = any (array[m.order_id])
 where (o.created_at = m.created_at) is not true
