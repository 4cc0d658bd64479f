-- Seconds until the earliest message is due, by the database's clock; no row when the queue is empty.
-- Within a day either way, since somebody may have sent a message that is due at infinity.
-- Plan: the first entry of the vt index, from $1 on.
select extract(epoch from least(greatest(vt, clock_timestamp() - interval '1 day'), clock_timestamp() + interval '1 day')
         - clock_timestamp())::float8
  from {queue}
 where vt >= $1::timestamptz
 order by vt
 limit 1
