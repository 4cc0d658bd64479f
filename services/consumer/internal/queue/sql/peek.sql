-- Seconds until the earliest message is due, by the database's clock; no row when the queue is empty.
-- Plan: the first entry of the vt index, from $1 on.
select extract(epoch from vt - clock_timestamp())::float8
  from {queue}
 where vt >= $1::timestamptz
 order by vt
 limit 1
