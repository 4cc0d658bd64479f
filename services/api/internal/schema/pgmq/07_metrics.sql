-- Figures of queues. Both count whole tables: for people and dashboards, not for hot paths.

create or replace function pgmq.metrics(queue_name text)
returns pgmq.metrics_result
language plpgsql
as $$
declare
    qtable text := pgmq.format_table_name(queue_name, 'q');
    result pgmq.metrics_result;
begin
    -- A moment that is infinite has no age, and none is older than 68 years, where the type ends: one such row must not cost everybody the figures.
    -- total_messages is the last id drawn: it outlives the messages, and includes those whose transaction was undone.
    execute format(
        $sql$
        select
            $1,
            count(*),
            extract(epoch from $2 - max(sent.at))::integer,
            extract(epoch from $2 - min(sent.at))::integer,
            (select case when s.is_called then s.last_value else 0 end from pgmq.%I s),
            $2,
            count(*) filter (where q.vt <= $2)
        from pgmq.%I q
        cross join lateral (
            select case when isfinite(q.enqueued_at) then least(greatest(q.enqueued_at, $2 - interval '68 years'), $2 + interval '68 years') end as at
        ) sent
        $sql$,
        qtable || '_msg_id_seq', qtable
    )
    into result
    using queue_name, clock_timestamp();
    return result;
end
$$;

create or replace function pgmq.metrics_all()
returns setof pgmq.metrics_result
language plpgsql
as $$
declare
    queue varchar;
begin
    for queue in select m.queue_name from pgmq.meta m loop
        return next pgmq.metrics(queue);
    end loop;
end
$$;
