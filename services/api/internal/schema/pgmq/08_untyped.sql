-- For callers that leave the types of their parameters to the server, as node-postgres and PDO do: "pgmq.set_vt($1, $2, $3)"
-- without a cast. Up to PGMQ 1.9 that had one meaning; since set_vt takes arrays and timestamps too, and send takes headers,
-- Postgres refuses it: "function is not unique".
--
-- Where candidates differ in the type's category, an untyped argument goes to the one that takes a string, if there is one
-- (PostgreSQL's documentation, "Function Type Resolution", 4.e). So there is one here, for each combination of typed and untyped
-- arguments. A typed call never comes here: nothing is cast to text implicitly.

-- Seconds from now when it is a whole number, else a moment.
create or replace function pgmq._orderflow_moment(delay text)
returns timestamptz
language sql
as $$
    select case
        when delay ~ '^\s*[+-]?[0-9]+\s*$' then clock_timestamp() + make_interval(secs => delay::integer)
        else delay::timestamptz
    end;
$$;

-- One id, or an array of them as Postgres writes arrays.
create or replace function pgmq._orderflow_ids(ids text)
returns bigint[]
language sql
as $$
    select case when ids ~ '^\s*\{' then ids::bigint[] else array[ids::bigint] end;
$$;

create or replace function pgmq.set_vt(queue_name text, msg_id text, vt text)
returns setof pgmq.message_record
language sql
as $$
    select * from pgmq.set_vt(queue_name, pgmq._orderflow_ids(msg_id), pgmq._orderflow_moment(vt));
$$;

create or replace function pgmq.set_vt(queue_name text, msg_id text, vt integer)
returns setof pgmq.message_record
language sql
as $$
    select * from pgmq.set_vt(queue_name, pgmq._orderflow_ids(msg_id), vt);
$$;

create or replace function pgmq.set_vt(queue_name text, msg_id text, vt timestamptz)
returns setof pgmq.message_record
language sql
as $$
    select * from pgmq.set_vt(queue_name, pgmq._orderflow_ids(msg_id), vt);
$$;

create or replace function pgmq.set_vt(queue_name text, msg_id bigint, vt text)
returns setof pgmq.message_record
language sql
as $$
    select * from pgmq.set_vt(queue_name, array[msg_id], pgmq._orderflow_moment(vt));
$$;

create or replace function pgmq.set_vt(queue_name text, msg_ids bigint[], vt text)
returns setof pgmq.message_record
language sql
as $$
    select * from pgmq.set_vt(queue_name, msg_ids, pgmq._orderflow_moment(vt));
$$;

-- The third argument is headers when it is an object, else the delay.
create or replace function pgmq.send(queue_name text, msg jsonb, delay text)
returns setof bigint
language sql
as $$
    select pgmq.send(
        queue_name, msg,
        case when delay ~ '^\s*\{' then delay::jsonb end,
        case when delay ~ '^\s*\{' then clock_timestamp() else pgmq._orderflow_moment(delay) end
    );
$$;

create or replace function pgmq.send(queue_name text, msg jsonb, headers jsonb, delay text)
returns setof bigint
language sql
as $$
    select pgmq.send(queue_name, msg, headers, pgmq._orderflow_moment(delay));
$$;

-- The third argument is headers when it is an array, else the delay.
create or replace function pgmq.send_batch(queue_name text, msgs jsonb[], delay text)
returns setof bigint
language sql
as $$
    select pgmq.send_batch(
        queue_name, msgs,
        case when delay ~ '^\s*\{' then delay::jsonb[] end,
        case when delay ~ '^\s*\{' then clock_timestamp() else pgmq._orderflow_moment(delay) end
    );
$$;

create or replace function pgmq.send_batch(queue_name text, msgs jsonb[], headers jsonb[], delay text)
returns setof bigint
language sql
as $$
    select pgmq.send_batch(queue_name, msgs, headers, pgmq._orderflow_moment(delay));
$$;
