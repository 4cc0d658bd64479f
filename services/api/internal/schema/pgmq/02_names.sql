-- Queue names become identifiers in dynamic SQL. Everything that builds a statement takes its table name from here and
-- puts it in with format's %I, which quotes it; no value is ever spliced in, values are bound with "using".

-- The table of a queue: prefix q for its messages, a for its archive. Names differing in case only share their tables.
create or replace function pgmq.format_table_name(queue_name text, prefix text)
returns text
language plpgsql
as $$
begin
    if queue_name ~ $re$\$|;|--|'$re$ then
        raise exception $msg$queue name contains invalid characters: $, ;, --, or \'$msg$;
    end if;
    return lower(prefix || '_' || queue_name);
end
$$;

-- The limit keeps every derived identifier (the longest is archived_at_idx_<name>) within Postgres' 63 bytes. It is
-- counted in bytes: longer identifiers are cut off without an error, and two queues would meet in one table.
create or replace function pgmq.validate_queue_name(queue_name text)
returns void
language plpgsql
as $$
begin
    if octet_length(queue_name) > 47 then
        raise exception 'queue name is too long, maximum length is 47 characters';
    end if;
end
$$;

-- One session at a time creates or drops a queue; the others wait until it has committed, because
-- "create table if not exists" alone fails on the catalog's unique indexes when two of them race.
create or replace function pgmq.acquire_queue_lock(queue_name text)
returns void
language plpgsql
as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('pgmq.queue_' || lower(queue_name), 0));
end
$$;
