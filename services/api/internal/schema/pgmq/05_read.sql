-- Reading leases messages: it hides them for vt seconds and counts the attempt. Messages that another reader is just
-- taking are skipped, not waited for. Results come in the order of their ids, which an "update ... returning" alone does
-- not promise. A count that is at its end stays there: one such row must not keep everybody from reading.

-- At most qty messages (all, when null) that contain the JSON value of conditional; '{}' and null mean any message.
create or replace function pgmq.read(
    queue_name  text,
    vt          integer,
    qty         integer,
    conditional jsonb default '{}'
)
returns setof pgmq.message_record
language plpgsql
as $$
declare
    asked_at timestamptz := clock_timestamp();
begin
    return query execute format(
        $sql$
        with due as materialized (
            select q.msg_id
            from pgmq.%1$I q
            where q.vt <= $1
              and ($4 is null or $4 = '{}' or q.message @> $4)
            order by q.msg_id
            limit $3
            for update skip locked
        ), leased as (
            update pgmq.%1$I q
            set vt = $2,
                read_ct = case when q.read_ct < 2147483647 then q.read_ct + 1 else q.read_ct end,
                last_read_at = $1
            from due
            where q.msg_id = due.msg_id
            returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers, q.last_read_at
        )
        select l.msg_id, l.read_ct, l.enqueued_at, l.vt, l.message, l.headers, l.last_read_at
        from leased l
        order by l.msg_id
        $sql$,
        pgmq.format_table_name(queue_name, 'q')
    )
    using asked_at, asked_at + make_interval(secs => vt), qty, conditional;
end
$$;

-- read, tried again every poll_interval_ms until it finds something or max_poll_seconds are over.
create or replace function pgmq.read_with_poll(
    queue_name       text,
    vt               integer,
    qty              integer,
    max_poll_seconds integer default 5,
    poll_interval_ms integer default 100,
    conditional      jsonb   default '{}'
)
returns setof pgmq.message_record
language plpgsql
as $$
declare
    give_up_at timestamptz := clock_timestamp() + make_interval(secs => max_poll_seconds);
begin
    while clock_timestamp() < give_up_at loop
        return query
        select r.msg_id, r.read_ct, r.enqueued_at, r.vt, r.message, r.headers, r.last_read_at
        from pgmq.read(queue_name, read_with_poll.vt, qty, conditional) r;

        if found then
            return;
        end if;
        perform pg_sleep(poll_interval_ms / 1000.0);
    end loop;
end
$$;

-- Takes messages and deletes them at once: whoever pops and dies has lost them.
create or replace function pgmq.pop(queue_name text, qty integer default 1)
returns setof pgmq.message_record
language plpgsql
as $$
begin
    return query execute format(
        $sql$
        with due as materialized (
            select q.msg_id
            from pgmq.%1$I q
            where q.vt <= $1
            order by q.msg_id
            limit $2
            for update skip locked
        ), popped as (
            delete from pgmq.%1$I q
            using due
            where q.msg_id = due.msg_id
            returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers, q.last_read_at
        )
        select p.msg_id, p.read_ct, p.enqueued_at, p.vt, p.message, p.headers, p.last_read_at
        from popped p
        order by p.msg_id
        $sql$,
        pgmq.format_table_name(queue_name, 'q')
    )
    using clock_timestamp(), qty;
end
$$;

-- set_vt moves the moment at which messages become visible, whether they are hidden now or not, and returns those that
-- exist. The array with a timestamp does the work; vt as an integer is seconds from now.
create or replace function pgmq.set_vt(queue_name text, msg_ids bigint[], vt timestamptz)
returns setof pgmq.message_record
language plpgsql
as $$
begin
    return query execute format(
        $sql$
        with moved as (
            update pgmq.%I q
            set vt = $1
            where q.msg_id = any ($2)
            returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers, q.last_read_at
        )
        select m.msg_id, m.read_ct, m.enqueued_at, m.vt, m.message, m.headers, m.last_read_at
        from moved m
        order by m.msg_id
        $sql$,
        pgmq.format_table_name(queue_name, 'q')
    )
    using vt, msg_ids;
end
$$;

create or replace function pgmq.set_vt(queue_name text, msg_ids bigint[], vt integer)
returns setof pgmq.message_record
language sql
as $$
    select * from pgmq.set_vt(queue_name, msg_ids, clock_timestamp() + make_interval(secs => vt));
$$;

create or replace function pgmq.set_vt(queue_name text, msg_id bigint, vt timestamptz)
returns setof pgmq.message_record
language sql
as $$
    select * from pgmq.set_vt(queue_name, array[msg_id], vt);
$$;

create or replace function pgmq.set_vt(queue_name text, msg_id bigint, vt integer)
returns setof pgmq.message_record
language sql
as $$
    select * from pgmq.set_vt(queue_name, array[msg_id], clock_timestamp() + make_interval(secs => vt));
$$;
