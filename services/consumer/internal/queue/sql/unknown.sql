-- Which of these orders do not exist. Asked together with the commit of a read, so that no handler is given a message that
-- can never be completed.
-- Plan: nested loop over the primary key of orders.
select wanted.id
  from unnest($1::bigint[]) as wanted (id)
 where not exists (select from public.orders as o where o.id = any (array[wanted.id]))
