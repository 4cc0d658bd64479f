-- What the dashboard shows, in one row and one snapshot: everything but the queue's figures, which are looked up in the same round trip
-- (queue.Watcher). $1 is the queue, $2 the last sample that is known here.
-- Plan: small tables as a whole, and both ends of the primary key of orders.
select
    clock_timestamp(),
    (
        select coalesce(jsonb_agg(to_jsonb(p) - 'latency' order by p.name, p.started_at, p.key), '[]')
        from (
            select p.*, abs(extract(epoch from clock_timestamp() - p.seen_at))::float8 as ago -- or until then, after a clock that was ahead
            from orderflow.processes p
            where p.queue = lower($1)
            order by p.seen_at desc
            limit 500
        ) p
    ),
    (
        select coalesce(jsonb_agg(s order by s.step), '[]')
        from orderflow.samples s
        where s.queue = lower($1) and s.step > $2
    ),
    (
        select jsonb_build_object(
            'ranges', count(*), 'completed', coalesce(sum(c.completed), 0), 'dead', coalesce(sum(c.dead), 0),
            'under_way', coalesce(sum(c.under_way), 0), 'lost', coalesce(sum(c.lost), 0), 'example', min(c.example) filter (where c.lost > 0),
            'stranded', (select coalesce(sum(cardinality(b.stranded)), 0) from orderflow.open_blocks b),
            'first_stranded', (select min(b.stranded[1]) from orderflow.open_blocks b),
            -- Of what is still changing, the part that was looked at longest ago.
            'checked_at', (extract(epoch from coalesce(min(c.checked_at) filter (where c.under_way > 0 or c.lost > 0), max(c.checked_at))) * 1000000)::bigint, 'last_id', max(c.first_id) + 9999,
            'newest_id', (select max(o.id) from public.orders o where o.id < 4611686018427387904) -- what is above it a hand has written
        )
        from orderflow.order_counts c
        where c.queue = lower($1)
    ),
    (
        select coalesce(jsonb_agg(o order by o.id desc), '[]')
        from (
            select o.id, (extract(epoch from {created_at}) * 1000000)::bigint as created_at, {customer_name} as customer_name, {product_name} as product_name,
                {status} as status, o.attempts, (extract(epoch from {completed_at}) * 1000000)::bigint as completed_at
            from public.orders o
            order by o.id desc
            limit 10
        ) o
    ),
    f.at, coalesce(f.by, ''), coalesce(f.findings, '[]'), coalesce(f.at < clock_timestamp() - interval '3 minutes', false),
    {gate}
from (select 1) one
left join orderflow.findings f on f.queue = lower($1)
left join orderflow.gate g on g.queue = lower($1)
