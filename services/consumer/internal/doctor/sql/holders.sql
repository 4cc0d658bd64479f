-- Who keeps vacuum from removing dead rows, as far as this role may see: a session by the snapshot it holds or by the
-- transaction it has open, whichever is older; a prepared transaction; a replication slot or a standby by what it asks to be
-- kept. The first column is the key by which the other source (holders_all.sql) is merged.
select 'session', a.pid::text, greatest(age(a.backend_xmin), age(a.backend_xid)),
       extract(epoch from clock_timestamp() - a.xact_start)::float8,
       concat_ws(', ', a.usename, nullif(a.application_name, ''), host(a.client_addr), a.state)
  from pg_stat_activity as a
 where (a.datname = current_database() or a.datname is null)
   and a.pid <> pg_backend_pid()
   and a.backend_type not in ('autovacuum worker', 'walsender')
   and (a.backend_xmin is not null or a.backend_xid is not null)
union all
select 'prepared transaction', p.gid, age(p.transaction), extract(epoch from clock_timestamp() - p.prepared)::float8, p.owner::text
  from pg_prepared_xacts as p
 where p.database = current_database()
union all
select 'replication slot', s.slot_name::text, age(s.xmin), null,
       concat_ws(', ', s.slot_type, case when s.active then 'active' else 'inactive' end)
  from pg_replication_slots as s
 where s.xmin is not null
union all
select 'standby', r.pid::text, age(r.backend_xmin), null, concat_ws(', ', r.usename, nullif(r.application_name, ''), r.state)
  from pg_stat_replication as r
 where r.backend_xmin is not null
 order by 3 desc
