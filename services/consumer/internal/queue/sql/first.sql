-- The message that is leased by fetch.sql, told to lease one. It is locked until the transaction ends.
-- Plan: the vt index, as fetch.sql.
select msg_id
  from {queue}
 where vt <= statement_timestamp() and vt >= $1::timestamptz and msg_id <> all ($2::bigint[])
 order by vt
 limit 1
   for update skip locked
