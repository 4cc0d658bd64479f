-- Lease up to $1 messages that are due, for $2 seconds, earliest first, and of those no more than come to about $5 bytes, though at least
-- one. A message of more than $4 bytes is leased without its body, to be buried: it never leaves the database. With $4 below 0 no body
-- is looked at, for one that cannot even be read.
--
-- Plan: an index scan on the vt index that stops after $1 rows (statement_timestamp() is stable, so it bounds the scan;
-- clock_timestamp() would make it a filter), then the primary key. pgmq.read instead walks the primary key and filters
-- on vt, over every invisible message in front. $3 is a bound below which nothing was due a moment ago: see watermark.go.
-- The CTE with FOR UPDATE is computed once; as a subquery in FROM the planner might run it once per row.
--
-- Sizes: pg_column_size is what a value takes where it is stored, and reads none of it. A compressed one may be a hundred times as
-- large, so it counts 64-fold, and is made text to see how large it is, but only where the sum lets it through. Of others the text can be
-- larger, too: the caller, who sees it, has the last word. All this takes 1.5 µs of the server's time for each message.
--
-- orderflow-unanswered counts our reads since the last one that had an answer, this one included: see docs/decisions/0011. What others
-- read, as the example's GET /messages does, raises read_ct alone. It is never more than read_ct was and this read, nor less than 1, whoever
-- wrote what is there. A read_ct at its end stays there, and one below 0 starts anew: somebody's hand has put them there.
--
-- At a message's first read that count is not written: headers lie behind the message, and a row that differs there is logged whole, 430 bytes
-- of WAL instead of 90. Where the publisher has stored enqueued_at as the message's created_at, as the api does, a first read makes it a
-- microsecond later instead, which no reader of others changes, and the next read knows by it that there was one of ours. last_read_at, behind
-- the headers as well, is written from the second read on. A message of any other sender has its count from the first read on.
--
-- What a trigger has kept from being leased, or has left as it was, is in the result too, without a read_ct. It counts among the $1, so whoever
-- wants what is due later has it left out: $6.
--
-- The front is a sequence that says up to which due time reads have come, and says so at once, where a row would wait for its transaction. Without
-- it each consumer walks over what every other one has leased or is about to. With $7 a read begins there, but never within the last second:
-- what was due before and is committed later than that waits for a read from the beginning, as does what a lost read gives back.
--
-- "= any (array[...])" instead of "=", here and in all our joins with a table: a plain equality is an ordering too, and for
-- its sake the planner may walk the whole primary key and compare every row with every lease, which is what it does when
-- it takes the table for nearly empty. An index is all that this form can be answered with.
with front as materialized (
  select last_value, to_timestamp(last_value / 1e6) as at from {front}
),
due as materialized (
  select msg_id, vt, read_ct, compressed, stored * case when compressed then 64.0::float8 else 1 end as weight, stored,
         case when compressed then message end as message,
         case when compressed then headers end as headers,
         case when read_ct = 0 and not compressed and stored <= least($4::integer, 2000) and enqueued_at < '9999-12-31'
              then message ->> 'created_at' = {written_enqueued_at} else false end as unread
    from (select msg_id, vt, read_ct, enqueued_at, message, headers,
                 coalesce(pg_column_size(message), 0) + coalesce(pg_column_size(headers), 0) as stored,
                 coalesce(pg_column_compression(message), pg_column_compression(headers)) is not null as compressed
            from {queue}
           where vt <= statement_timestamp() and msg_id <> all ($6::bigint[])
             and vt >= greatest($3::timestamptz, (select at from front where $7::boolean and at < statement_timestamp() - interval '1 second'))
           order by vt
           limit $1
             for update skip locked) as q
),
weighed as (
  select due.*, sum(weight) over (order by vt, msg_id rows between unbounded preceding and current row) - weight as ahead
    from due
),
measured as materialized (
  select msg_id, vt, read_ct, stored, unread,
         case when stored > $4::integer then null
              when compressed then coalesce(octet_length(message::text), 0)::bigint + coalesce(octet_length(headers::text), 0)
              else stored end as bytes
    from weighed
   where ahead < $5::bigint
),
taken as (
  select msg_id, vt, case when read_ct = 2147483647 then read_ct else greatest(read_ct, 0) + 1 end as read_ct, coalesce(bytes, stored) as size, coalesce(bytes <= $4::integer, false) as fits, coalesce(unread, false) as unread from measured
),
moved as materialized (
  select {move_front} from taken having count(*) >= {moves_front}
),
leased as (
  update {queue} as q
     set vt = clock_timestamp() + make_interval(secs => $2::float8),
         read_ct = taken.read_ct,
         enqueued_at = case when taken.unread then q.enqueued_at + interval '1 microsecond' else q.enqueued_at end,
         headers = case when taken.fits and not taken.unread then {headers} || jsonb_build_object('orderflow-unanswered', {unanswered} + 1) else q.headers end{last_read}
    from taken
   where q.msg_id = any (array[taken.msg_id])
  returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, taken.fits, taken.size, taken.vt as due_at,
            q.vt > taken.vt and q.read_ct = taken.read_ct as stands,
            case when taken.fits then q.headers end as headers,
            case when taken.fits then q.message
                 -- What tells which order it is about; that much may leave the database.
                 when $4::integer >= 0 and jsonb_typeof(q.message) = 'object'
                 then jsonb_build_object(
                   'order_id', case when octet_length((q.message -> 'order_id')::text) <= 20 then q.message -> 'order_id' end,
                   'created_at', case when octet_length((q.message -> 'created_at')::text) <= 40 then q.message -> 'created_at' end)
            end as body
)
select msg_id, read_ct, enqueued_at, vt, fits, size, body, headers,
       greatest(due_at, '2000-01-01')
  from leased
 where stands and (select count(*) from moved) >= 0
union all
select msg_id, null, null, null, fits, size, null, null, statement_timestamp()
  from taken
 where msg_id not in (select msg_id from leased where stands)
