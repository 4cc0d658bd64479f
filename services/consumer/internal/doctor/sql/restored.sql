-- When the first of the orders was completed that is older than this database's schema by more than a day, while orderflow.installation is still the
-- row that the schema's making has put there (both were written by one transaction, which a row keeps for ever): a restore of data alone that left
-- out that table. What was completed before Orderflow came says so. Ids follow time, so the first hundred orders tell. And whether that table is empty.
select min(o.completed_at), not exists (select from orderflow.installation)
  from (select completed_at, processed_by from public.orders order by id limit 100) as o
 where o.completed_at < (select min(m.tstamp) from public.orderflow_migrations as m) - interval '1 day'
   and o.processed_by is distinct from 'before orderflow'
   and exists (select from orderflow.installation as i join public.orderflow_migrations as m on m.version_id = 9 and m.xmin = i.xmin)
