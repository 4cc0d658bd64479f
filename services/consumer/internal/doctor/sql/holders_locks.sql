-- Sessions with a transaction id, by the lock that each holds on its own: the one trace of other roles' open transactions
-- that every role may see. For how long is not told.
select 'session', l.pid::text, age(l.transactionid), null::float8,
       concat_ws(', ', a.usename, nullif(a.application_name, ''), 'in a transaction that has written')
  from pg_locks as l
  join pg_stat_activity as a on a.pid = l.pid
 where l.locktype = 'transactionid' and l.granted and l.mode = 'ExclusiveLock'
   and a.datname = current_database() and a.pid <> pg_backend_pid()
