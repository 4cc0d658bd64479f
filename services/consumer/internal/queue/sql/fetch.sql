-- Lease up to $1 messages that are due, for $2 seconds, earliest first, and of those no more than come to $5 bytes as text, though at
-- least one. A message of more than $4 bytes is leased without its body, to be buried: it never leaves the database. With $4 below 0
-- no body is looked at, for one that cannot even be read.
--
-- Plan: an index scan on the vt index that stops after $1 rows (statement_timestamp() is stable, so it bounds the scan;
-- clock_timestamp() would make it a filter), then the primary key. pgmq.read instead walks the primary key and filters
-- on vt, over every invisible message in front. $3 is a bound below which nothing was due a moment ago: see floor.go.
-- The CTE with FOR UPDATE is computed once; as a subquery in FROM the planner might run it once per row.
--
-- Sizes: pg_column_size is what a value takes where it is stored, and reads none of it. A compressed one may be a hundred times as
-- large, so it counts 64-fold in the first sum, and only what that sum lets through is made text, once, which is what is measured and
-- sent. 1,000 orders take 2 ms longer for it.
--
-- orderflow-delivered counts our reads, since read_ct counts everybody's: the example's GET /messages raises it, too. Attempts are
-- taken from it. It is never more than read_ct was, nor less than 0, whoever wrote what is there. A read_ct at its end stays there, and
-- one below 0 starts anew: somebody's hand has put them there.
--
-- What a trigger has kept from being leased is in the result too, without a read_ct.
--
-- "= any (array[...])" instead of "=", here and in all our joins with a table: a plain equality is an ordering too, and for
-- its sake the planner may walk the whole primary key and compare every row with every lease, which is what it does when
-- it takes the table for nearly empty. An index is all that this form can be answered with.
with due as materialized (
  select msg_id, vt, message, headers,
         coalesce(pg_column_size(message), 0) + coalesce(pg_column_size(headers), 0) as stored,
         coalesce(pg_column_compression(message), pg_column_compression(headers)) is not null as compressed
    from {queue}
   where vt <= statement_timestamp() and vt >= $3::timestamptz
   order by vt
   limit $1
     for update skip locked
),
weighed as (
  select due.*, sum(stored::bigint * case when compressed then 64 else 1 end) over (order by vt, msg_id rows between unbounded preceding and 1 preceding) as ahead
    from due
),
written as materialized (
  select msg_id, vt, message, stored,
         case when stored <= $4::integer then message::text end as body,
         case when stored <= $4::integer then octet_length(headers::text) end as head
    from weighed
   where coalesce(ahead, 0) < $5::bigint
),
measured as (
  select msg_id, vt, message, body, fits,
         sum(case when fits then bytes else 0 end) over (order by vt, msg_id rows between unbounded preceding and 1 preceding) as ahead,
         greatest(bytes, stored) as size
    from (select written.*,
                 coalesce(octet_length(body), 0)::bigint + coalesce(head, 0) as bytes,
                 stored <= $4::integer and coalesce(octet_length(body), 0)::bigint + coalesce(head, 0) <= $4::integer as fits
            from written) as w
),
taken as materialized (
  select msg_id, vt, fits, size,
         case when fits then body
              -- What tells which order it is about; that much may leave the database.
              when $4::integer >= 0 and jsonb_typeof(message) = 'object'
              then jsonb_build_object('order_id', case when octet_length((message -> 'order_id')::text) <= 20 then message -> 'order_id' end,
                                      'created_at', case when octet_length((message -> 'created_at')::text) <= 40 then message -> 'created_at' end)::text
         end as body
    from measured
   where coalesce(ahead, 0) < $5::bigint
),
leased as (
  update {queue} as q
     set vt = clock_timestamp() + make_interval(secs => $2::float8),
         read_ct = case when q.read_ct = 2147483647 then q.read_ct else greatest(q.read_ct, 0) + 1 end,
         headers = case when taken.fits then {headers} || jsonb_build_object('orderflow-delivered', {delivered} + 1) else q.headers end{last_read}
    from taken
   where q.msg_id = any (array[taken.msg_id])
  returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, taken.fits, taken.size, taken.body,
            case when taken.fits then q.headers end as headers, taken.vt as due_at
)
select msg_id, read_ct, enqueued_at, vt, fits, size, body, headers,
       greatest(due_at, statement_timestamp() - interval '1 day'),
       extract(epoch from statement_timestamp() - greatest(due_at, statement_timestamp() - interval '1 day'))::float8
  from leased
union all
select msg_id, null, null, null, fits, size, null, null, statement_timestamp(), 0
  from taken
 where msg_id not in (select msg_id from leased)
