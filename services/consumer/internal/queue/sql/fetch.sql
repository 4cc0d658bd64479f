-- Lease up to $1 messages that are due, for $2 seconds, earliest first.
--
-- Plan: an index scan on the vt index that stops after $1 rows (statement_timestamp() is stable, so it bounds the scan;
-- clock_timestamp() would make it a filter), then the primary key. pgmq.read instead walks the primary key and filters
-- on vt, over every invisible message in front. $3 is a bound below which nothing was due a moment ago: see floor.go.
-- The CTE with FOR UPDATE is computed once; as a subquery in FROM the planner might run it once per row.
--
-- orderflow-delivered counts our reads, since read_ct counts everybody's: the example's GET /messages raises it, too. Attempts are
-- taken from it. It is never more than read_ct was, nor less than 0, whoever wrote what is there.
--
-- "= any (array[...])" instead of "=", here and in all our joins with a table: a plain equality is an ordering too, and for
-- its sake the planner may walk the whole primary key and compare every row with every lease, which is what it does when
-- it takes the table for nearly empty. An index is all that this form can be answered with.
with due as materialized (
  select msg_id, vt
    from {queue}
   where vt <= statement_timestamp() and vt >= $3::timestamptz
   order by vt
   limit $1
     for update skip locked
)
update {queue} as q
   set vt = clock_timestamp() + make_interval(secs => $2::float8),
       read_ct = q.read_ct + 1,
       headers = {headers} || jsonb_build_object('orderflow-delivered', {delivered} + 1){last_read}
  from due
 where q.msg_id = any (array[due.msg_id])
returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers,
          greatest(due.vt, statement_timestamp() - interval '1 day'),
          extract(epoch from statement_timestamp() - greatest(due.vt, statement_timestamp() - interval '1 day'))::float8
