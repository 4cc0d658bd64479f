-- Taking messages off a queue, for good (delete) or into its archive. The array forms return the ids that were there,
-- ascending; the single forms say whether it was.

create or replace function pgmq.delete(queue_name text, msg_ids bigint[])
returns setof bigint
language plpgsql
as $$
begin
    return query execute format(
        $sql$
        with gone as (
            delete from pgmq.%I q
            where q.msg_id = any ($1)
            returning q.msg_id
        )
        select g.msg_id
        from gone g
        order by g.msg_id
        $sql$,
        pgmq.format_table_name(queue_name, 'q')
    )
    using msg_ids;
end
$$;

create or replace function pgmq.delete(queue_name text, msg_id bigint)
returns boolean
language sql
as $$
    select exists (select from pgmq.delete(queue_name, array[msg_id]));
$$;

create or replace function pgmq.archive(queue_name text, msg_ids bigint[])
returns setof bigint
language plpgsql
as $$
begin
    return query execute format(
        $sql$
        with gone as (
            delete from pgmq.%I q
            where q.msg_id = any ($1)
            returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers, q.last_read_at
        ), kept as (
            insert into pgmq.%I (msg_id, read_ct, enqueued_at, vt, message, headers, last_read_at)
            select g.msg_id, g.read_ct, g.enqueued_at, g.vt, g.message, g.headers, g.last_read_at
            from gone g
            returning msg_id
        )
        select k.msg_id
        from kept k
        order by k.msg_id
        $sql$,
        pgmq.format_table_name(queue_name, 'q'),
        pgmq.format_table_name(queue_name, 'a')
    )
    using msg_ids;
end
$$;

create or replace function pgmq.archive(queue_name text, msg_id bigint)
returns boolean
language sql
as $$
    select exists (select from pgmq.archive(queue_name, array[msg_id]));
$$;
