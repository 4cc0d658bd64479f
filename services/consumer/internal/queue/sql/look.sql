-- Whether a message can be made text that the session can have, which is how it is read: a character of the database's encoding need not be one
-- of the session's. It is in the answer to fetch.sql that this fails; here it fails for this one alone.
-- Plan: the primary key.
select coalesce(octet_length(convert_to(message::text, pg_client_encoding())), 0)::bigint
       + coalesce(octet_length(convert_to(headers::text, pg_client_encoding())), 0)
  from {queue}
 where msg_id = any (array[$1::bigint])
