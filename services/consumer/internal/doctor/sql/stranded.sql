-- What the api's search has found: pending orders without a message, the first of them, and how long ago what it has seen was committed.
select (select coalesce(sum(cardinality(stranded)), 0) from orderflow.open_blocks),
       (select min(stranded[1]) from orderflow.open_blocks),
       (select extract(epoch from clock_timestamp() - looked_at)::float8 from orderflow.order_scan)
