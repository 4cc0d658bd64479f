-- The queues' directory and the row types of PGMQ's API.
--
-- PGMQ 1.10 put a column last_read_at between enqueued_at and vt. Clients written before it take columns by position, and
-- clients written after it name them all, last_read_at too: here it comes last, which serves both.

do $do$
begin
    -- Looked for first: "create schema if not exists" asks for the right to create one even when it is there.
    if to_regnamespace('pgmq') is null then
        create schema pgmq;
    end if;
end
$do$;

create table if not exists pgmq.meta (
    queue_name     varchar     not null unique,
    is_partitioned boolean     not null,
    is_unlogged    boolean     not null,
    created_at     timestamptz not null default now()
);

do $do$
begin
    -- There is no "create type if not exists", and this file may run again over an older install of itself.
    if to_regtype('pgmq.message_record') is null then
        create type pgmq.message_record as (
            msg_id      bigint,
            read_ct     integer,
            enqueued_at timestamptz,
            vt          timestamptz,
            message     jsonb,
            headers     jsonb
        );
    end if;
    if not exists (
        select from pg_attribute a
        where a.attrelid = 'pgmq.message_record'::regclass and a.attname = 'last_read_at' and not a.attisdropped
    ) then
        alter type pgmq.message_record add attribute last_read_at timestamptz; -- since revision 2
    end if;

    if to_regtype('pgmq.queue_record') is null then
        create type pgmq.queue_record as (
            queue_name     varchar,
            is_partitioned boolean,
            is_unlogged    boolean,
            created_at     timestamptz
        );
    end if;

    if to_regtype('pgmq.metrics_result') is null then
        create type pgmq.metrics_result as (
            queue_name           text,
            queue_length         bigint,
            newest_msg_age_sec   integer,
            oldest_msg_age_sec   integer,
            total_messages       bigint,
            scrape_time          timestamptz,
            queue_visible_length bigint
        );
    end if;
end
$do$;

-- As the extension does: whoever may monitor the server may look at its queues, those to come included. A schema that an
-- administrator made for us and kept is the administrator's to open.
do $do$
begin
    if pg_has_role((select n.nspowner from pg_namespace n where n.nspname = 'pgmq'), 'usage') then
        grant usage on schema pgmq to pg_monitor;
    end if;
    grant select on all tables in schema pgmq to pg_monitor;
    grant select on all sequences in schema pgmq to pg_monitor;
    alter default privileges in schema pgmq grant select on tables to pg_monitor;
    alter default privileges in schema pgmq grant select on sequences to pg_monitor;
end
$do$;
