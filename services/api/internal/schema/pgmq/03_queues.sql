-- Making, listing, emptying and dropping queues.

-- What every kind of queue has: table of messages, archive, an index for each, a line in the directory. Creating a queue
-- that exists changes nothing.
create or replace function pgmq._create_queue(queue_name text, unlogged boolean)
returns void
language plpgsql
as $$
declare
    qtable text := pgmq.format_table_name(queue_name, 'q');
    atable text := pgmq.format_table_name(queue_name, 'a');
begin
    perform pgmq.validate_queue_name(queue_name);
    perform pgmq.acquire_queue_lock(queue_name);

    execute format(
        $sql$
        create %s table if not exists pgmq.%I (
            msg_id       bigint      primary key generated always as identity,
            read_ct      integer     not null default 0,
            enqueued_at  timestamptz not null default now(),
            vt           timestamptz not null,
            message      jsonb,
            headers      jsonb,
            last_read_at timestamptz
        )
        $sql$,
        case when unlogged then 'unlogged' end, qtable
    );

    -- The archive is always logged: it is there to be kept.
    execute format(
        $sql$
        create table if not exists pgmq.%I (
            msg_id       bigint      primary key,
            read_ct      integer     not null default 0,
            enqueued_at  timestamptz not null default now(),
            archived_at  timestamptz not null default now(),
            vt           timestamptz not null,
            message      jsonb,
            headers      jsonb,
            last_read_at timestamptz
        )
        $sql$,
        atable
    );

    execute format('create index if not exists %I on pgmq.%I (vt)', qtable || '_vt_idx', qtable);
    execute format('create index if not exists %I on pgmq.%I (archived_at)', 'archived_at_idx_' || queue_name, atable);

    insert into pgmq.meta (queue_name, is_partitioned, is_unlogged)
    values (_create_queue.queue_name, false, _create_queue.unlogged)
    on conflict do nothing;
end
$$;

-- Queues that were made by revision 1 get the column of revision 2.
do $do$
declare
    relation regclass;
begin
    for relation in
        select distinct to_regclass(format('pgmq.%I', kind || lower(m.queue_name)))
        from pgmq.meta m
        cross join unnest(array['q_', 'a_']) kind
    loop
        if relation is not null then
            execute format('alter table %s add column if not exists last_read_at timestamptz', relation);
        end if;
    end loop;
end
$do$;

create or replace function pgmq.create_non_partitioned(queue_name text)
returns void
language plpgsql
as $$
begin
    perform pgmq._create_queue(queue_name, false);
end
$$;

create or replace function pgmq.create_unlogged(queue_name text)
returns void
language plpgsql
as $$
begin
    perform pgmq._create_queue(queue_name, true);
end
$$;

create or replace function pgmq."create"(queue_name text)
returns void
language plpgsql
as $$
begin
    perform pgmq.create_non_partitioned(queue_name);
end
$$;

-- Partitioned queues and archives are pg_partman's, which only the extension works with: whether it is installed or not,
-- the answer here is PGMQ's own to those who have no pg_partman.
create or replace function pgmq._ensure_pg_partman_installed()
returns void
language plpgsql
as $$
begin
    raise exception 'pg_partman is required for partitioned queues';
end
$$;

create or replace function pgmq.create_partitioned(
    queue_name         text,
    partition_interval text default '10000',
    retention_interval text default '100000'
)
returns void
language plpgsql
as $$
begin
    perform pgmq.format_table_name(queue_name, 'q');
    perform pgmq.validate_queue_name(queue_name);
    perform pgmq._ensure_pg_partman_installed();
end
$$;

create or replace function pgmq.convert_archive_partitioned(
    table_name         text,
    partition_interval text    default '10000',
    retention_interval text    default '100000',
    leading_partition  integer default 10
)
returns void
language plpgsql
as $$
begin
    perform pgmq.format_table_name(table_name, 'a');
    perform pgmq._ensure_pg_partman_installed();
end
$$;

-- In the extension it takes the archive out of the extension's membership; tables here are no extension's members.
create or replace function pgmq.detach_archive(queue_name text)
returns void
language plpgsql
as $$
begin
    perform pgmq.format_table_name(queue_name, 'a');
end
$$;

-- True when there was a queue to drop.
create or replace function pgmq.drop_queue(queue_name text)
returns boolean
language plpgsql
as $$
declare
    qtable text := pgmq.format_table_name(queue_name, 'q');
    atable text := pgmq.format_table_name(queue_name, 'a');
begin
    perform pgmq.acquire_queue_lock(queue_name);

    if to_regclass(format('pgmq.%I', qtable)) is null then
        raise notice 'pgmq queue `%` does not exist', queue_name;
        return false;
    end if;

    execute format('drop table pgmq.%I', qtable);
    if to_regclass(format('pgmq.%I', atable)) is not null then
        execute format('drop table pgmq.%I', atable);
    end if;

    -- Every name that led to these tables is gone with them, however it was written.
    delete from pgmq.meta m
    where lower(m.queue_name) = lower(drop_queue.queue_name);

    return true;
end
$$;

create or replace function pgmq.drop_queue(queue_name text, partitioned boolean)
returns boolean
language plpgsql
as $$
begin
    raise warning 'drop_queue(queue_name, partitioned) is deprecated and will be removed in PGMQ v2.0. Use drop_queue(queue_name) instead';
    perform pgmq.drop_queue(queue_name);
    return true;
end
$$;

create or replace function pgmq.list_queues()
returns setof pgmq.queue_record
language plpgsql
as $$
begin
    return query
    select m.queue_name, m.is_partitioned, m.is_unlogged, m.created_at
    from pgmq.meta m;
end
$$;

-- Empties a queue and returns how many messages it had. The lock comes first, so that none slips in between the count
-- and the truncate and is lost without being counted. Message ids go on from where they were.
create or replace function pgmq.purge_queue(queue_name text)
returns bigint
language plpgsql
as $$
declare
    qtable text := pgmq.format_table_name(queue_name, 'q');
    purged bigint;
begin
    execute format('lock table pgmq.%I in access exclusive mode', qtable);
    execute format('select count(*) from pgmq.%I', qtable) into purged;
    execute format('truncate table pgmq.%I', qtable);
    return purged;
end
$$;
