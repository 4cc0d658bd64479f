-- The tables' dead rows and vacuums. $1: their names, as regclass takes them.
select c.oid::regclass::text,
       coalesce(s.n_live_tup, 0),
       coalesce(s.n_dead_tup, 0),
       pg_relation_size(c.oid),
       extract(epoch from clock_timestamp() - greatest(s.last_autovacuum, s.last_vacuum))::float8,
       exists (select from pg_stat_progress_vacuum as v where v.relid = c.oid),
       coalesce('autovacuum_enabled=false' = any (c.reloptions) or 'autovacuum_enabled=off' = any (c.reloptions), false)
  from unnest($1::text[]) with ordinality as t (name, place)
  join pg_class as c on c.oid = to_regclass(t.name)
  left join pg_stat_all_tables as s on s.relid = c.oid
 order by t.place
