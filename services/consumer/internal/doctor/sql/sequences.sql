-- Sequences that are behind their tables: what they give out next is taken. $1: the names of the tables of the queue and of its dead letters.
-- An id is drawn before it can be seen in its table, and what is seen was decided before the sequences are read (the snapshot), so none is behind under load.
-- Ids from 2^62 on, which only a hand can have written, do not count, as for `api migrate`.
--
-- Relies on: the primary keys, of which only the end beyond the sequence is looked at. It is empty, whereas the highest id of a queue may stand before
-- thousands that were deleted and are not vacuumed yet.
with ids as materialized (
  select s.name, t.what, case when has_sequence_privilege(s.name, 'usage, select') then coalesce(pg_sequence_last_value(s.name::regclass), 0) end as last
    from (values ('orders', 'public.orders', 'id'), ('queue', $1, 'msg_id'), ('letters', $2, 'msg_id')) as t (what, tab, col)
   cross join pg_get_serial_sequence(t.tab, t.col) as s (name)
)
select ids.name
  from ids
 where case ids.what
         when 'orders' then (select min(o.id) from public.orders as o where o.id > ids.last and o.id < 4611686018427387904)
         when 'queue' then (select min(m.msg_id) from {queue} as m where m.msg_id > ids.last and m.msg_id < 4611686018427387904)
         else (select min(l.msg_id) from {dlq} as l where l.msg_id > ids.last and l.msg_id < 4611686018427387904)
       end is not null
 order by 1
