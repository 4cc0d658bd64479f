-- +goose Up

-- The standbys that replicate this server, so that a role may see that there are some which must not see what others run: whether accepted
-- orders outlive a failover depends on them. Backups, receivers of the log for an archive, and logical subscribers are none. An owner
-- without pg_read_all_stats is not told their state; then what is connected counts.
-- +goose StatementBegin
create function orderflow.standbys()
returns table (name text, state text, sync_state text)
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    select r.application_name, r.state, r.sync_state
    from pg_stat_replication r
    left join pg_replication_slots s on s.active_pid = r.pid
    where coalesce(r.state, 'streaming') in ('streaming', 'catchup')
      and s.slot_type is distinct from 'logical'
      and coalesce(r.application_name, '') not in ('pg_receivewal', 'pg_basebackup')
      -- Subscribers have no slot of another kind, and are named by the database that they read.
      and not exists (select from pg_stat_activity a where a.pid = r.pid and a.datname is not null);
$$;
-- +goose StatementEnd

revoke execute on function orderflow.standbys() from public;
