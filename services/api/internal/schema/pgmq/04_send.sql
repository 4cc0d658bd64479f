-- send and send_batch. The overload with headers and a timestamp does the work; the others fill in what they were not
-- given. The result is the id of each message, in the order of the messages.
--
-- "delay" is the moment from which the message can be read, or the seconds until then.

create or replace function pgmq.send(queue_name text, msg jsonb, headers jsonb, delay timestamptz)
returns setof bigint
language plpgsql
as $$
begin
    return query execute format(
        $sql$
        insert into pgmq.%I (vt, message, headers)
        values ($1, $2, $3)
        returning msg_id
        $sql$,
        pgmq.format_table_name(queue_name, 'q')
    )
    using delay, msg, headers;
end
$$;

create or replace function pgmq.send(queue_name text, msg jsonb)
returns setof bigint
language sql
as $$
    select pgmq.send(queue_name, msg, null::jsonb, clock_timestamp());
$$;

create or replace function pgmq.send(queue_name text, msg jsonb, headers jsonb)
returns setof bigint
language sql
as $$
    select pgmq.send(queue_name, msg, headers, clock_timestamp());
$$;

create or replace function pgmq.send(queue_name text, msg jsonb, delay integer)
returns setof bigint
language sql
as $$
    select pgmq.send(queue_name, msg, null::jsonb, clock_timestamp() + make_interval(secs => delay));
$$;

create or replace function pgmq.send(queue_name text, msg jsonb, delay timestamptz)
returns setof bigint
language sql
as $$
    select pgmq.send(queue_name, msg, null::jsonb, delay);
$$;

create or replace function pgmq.send(queue_name text, msg jsonb, headers jsonb, delay integer)
returns setof bigint
language sql
as $$
    select pgmq.send(queue_name, msg, headers, clock_timestamp() + make_interval(secs => delay));
$$;

-- headers is null (none at all) or has an entry, itself possibly null, for each message; those that are missing at its end are
-- null. No messages have no ids. Both as until PGMQ 1.10: since 1.11 they are errors, by which no client lives, whereas one that
-- was written before may well send an empty batch. More headers than messages, which made messages of nothing, are refused.
create or replace function pgmq.send_batch(queue_name text, msgs jsonb[], headers jsonb[], delay timestamptz)
returns setof bigint
language plpgsql
as $$
begin
    if cardinality(headers) > coalesce(cardinality(msgs), 0) then
        raise exception 'headers array length (%) must match msgs array length (%)',
            cardinality(headers), coalesce(cardinality(msgs), 0);
    end if;

    -- The order by draws the ids in the order of the array.
    return query execute format(
        $sql$
        insert into pgmq.%I (vt, message, headers)
        select $1, m.message, m.headers
        from unnest($2, $3) with ordinality as m (message, headers, ord)
        order by m.ord
        returning msg_id
        $sql$,
        pgmq.format_table_name(queue_name, 'q')
    )
    using delay, msgs, headers;
end
$$;

create or replace function pgmq.send_batch(queue_name text, msgs jsonb[])
returns setof bigint
language sql
as $$
    select pgmq.send_batch(queue_name, msgs, null::jsonb[], clock_timestamp());
$$;

create or replace function pgmq.send_batch(queue_name text, msgs jsonb[], headers jsonb[])
returns setof bigint
language sql
as $$
    select pgmq.send_batch(queue_name, msgs, headers, clock_timestamp());
$$;

create or replace function pgmq.send_batch(queue_name text, msgs jsonb[], delay integer)
returns setof bigint
language sql
as $$
    select pgmq.send_batch(queue_name, msgs, null::jsonb[], clock_timestamp() + make_interval(secs => delay));
$$;

create or replace function pgmq.send_batch(queue_name text, msgs jsonb[], delay timestamptz)
returns setof bigint
language sql
as $$
    select pgmq.send_batch(queue_name, msgs, null::jsonb[], delay);
$$;

create or replace function pgmq.send_batch(queue_name text, msgs jsonb[], headers jsonb[], delay integer)
returns setof bigint
language sql
as $$
    select pgmq.send_batch(queue_name, msgs, headers, clock_timestamp() + make_interval(secs => delay));
$$;
