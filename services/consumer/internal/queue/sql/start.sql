-- Make the start of a handler known before it runs, for a message that is worked on alone: orderflow-started names the delivery, and its
-- consumer ($4). Whatever answers takes it out again. What is still there at a later read is an attempt that had no answer.
-- A lease that has been given back is none, as in extend.sql.
-- Plan: the primary key.
update {queue} as q
   set headers = {headers} || jsonb_build_object('orderflow-started',
         case jsonb_typeof(q.headers -> 'orderflow-started') when 'object' then q.headers -> 'orderflow-started' else '{}'::jsonb end
           || jsonb_build_object(q.read_ct::text, $4::text))
 where q.msg_id = any (array[$1::bigint])
   and q.read_ct = $2::integer
   and q.enqueued_at = $3::timestamptz
   and q.headers -> 'orderflow-retry' is distinct from to_jsonb(q.read_ct)
   and q.headers -> 'orderflow-released' is distinct from to_jsonb(q.read_ct)
returning coalesce(q.headers -> 'orderflow-started' ? q.read_ct::text, false)
