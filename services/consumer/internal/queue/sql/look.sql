-- Whether a message can be made text, which is how it is read. It is in fetch.sql that this is done; here it fails for this one alone.
-- Plan: the primary key.
select coalesce(octet_length(message::text), 0)::bigint + coalesce(octet_length(headers::text), 0)
  from {queue}
 where msg_id = any (array[$1::bigint])
