-- Sequences that are behind their tables: what they give out next is taken. $1: the names of the tables of the queue and of its dead letters.
-- An id is drawn before it can be seen in its table, and the table is looked at first (the snapshot), so none is behind under load. Ids from 2^62 on,
-- which only a hand can have written, do not count, as for `api migrate`.
with ids (tab, col, taken) as (
  values ('public.orders', 'id', (select max(id) from public.orders where id < 4611686018427387904)),
         ($1, 'msg_id', (select max(msg_id) from {queue} where msg_id < 4611686018427387904)),
         ($2, 'msg_id', (select max(msg_id) from {dlq} where msg_id < 4611686018427387904))
)
select s.name
  from ids
 cross join pg_get_serial_sequence(ids.tab, ids.col) as s (name)
 where ids.taken > case when has_sequence_privilege(s.name, 'usage, select') then coalesce(pg_sequence_last_value(s.name::regclass), 0) end
 order by 1
