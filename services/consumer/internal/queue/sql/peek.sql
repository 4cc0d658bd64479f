-- Seconds until the earliest message is due, by the database's clock, null when the queue is empty; and the revision of the queue's gate, 0
-- when it has none, by which an idle consumer learns of changes that it was not told of; and whether the
-- session can write nothing, which it learns in no other way. Always one row.
-- Within a day either way, since somebody may have sent a message that is due at infinity.
-- Plan: the first entry of the vt index, from $1 on; the primary key of gate.
select (select extract(epoch from least(greatest(vt, clock_timestamp() - interval '1 day'), clock_timestamp() + interval '1 day')
                 - clock_timestamp())::float8
          from {queue}
         where vt >= $1::timestamptz
         order by vt
         limit 1),
       coalesce((select g.revision from orderflow.gate as g where g.queue = any (array[lower($2::text)])), 0),
       current_setting('transaction_read_only')::boolean
