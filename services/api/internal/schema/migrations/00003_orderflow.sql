-- +goose Up

-- The schema orderflow has what belongs to no queue and no order, and the functions by which the services' roles do and see what
-- they have no rights to. Those run with their owner's rights: the search_path is pinned, so that nothing of the caller's can be
-- slipped under them, and only those may call them to whom it was granted.

-- +goose StatementBegin
do $do$
begin
    -- Looked for first: "create schema if not exists" asks for the right to create one even when it is there.
    if to_regnamespace('orderflow') is null then
        create schema orderflow;
        comment on schema orderflow is 'Orderflow: functions that act with their owner''s rights';
    end if;
end
$do$;
-- +goose StatementEnd

-- Who keeps vacuum from removing dead rows of this database, the oldest first: xmin_age is how many transactions back
-- they hold it, since when their transaction or its preparation began (a slot does not say). It shows no statements, so
-- that a role may see it which must not see what others run. An owner without pg_read_all_stats sees its own sessions only.
-- +goose StatementBegin
create function orderflow.vacuum_holders()
returns table (kind text, name text, xmin_age integer, since timestamptz, detail text)
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    select h.kind, h.name, h.xmin_age, h.since, h.detail
    from (
        -- A transaction holds what was alive when its snapshot was taken, and when it first wrote. Vacuum ignores its own kind.
        select 'session', a.pid::text, greatest(age(a.backend_xmin), age(a.backend_xid)), a.xact_start,
               concat_ws(', ', a.usename, nullif(a.application_name, ''), a.state)
        from pg_stat_activity a
        where a.datname = current_database()
          and a.pid <> pg_backend_pid()
          and a.backend_type not in ('autovacuum worker', 'walsender')

        union all
        select 'prepared transaction', p.gid, age(p.transaction), p.prepared, p.owner::text
        from pg_prepared_xacts p
        where p.database = current_database()

        union all
        select 'replication slot', s.slot_name::text, age(s.xmin), null,
               concat_ws(', ', s.slot_type, case when s.active then 'active' else 'inactive' end)
        from pg_replication_slots s

        union all
        select 'standby', r.pid::text, age(r.backend_xmin), r.backend_start,
               concat_ws(', ', r.usename, nullif(r.application_name, ''), r.state)
        from pg_stat_replication r
    ) h (kind, name, xmin_age, since, detail)
    where h.xmin_age is not null
    order by h.xmin_age desc;
$$;
-- +goose StatementEnd

revoke execute on function orderflow.vacuum_holders() from public;
