-- What can make a write of ours match nothing, or hide rows from us, without an error of its own: row-level security that applies to
-- this role, rewrite rules, and row-level triggers before the events that a consumer causes. A trigger suppresses a write by
-- returning null, or undoes it by returning the old row or assigning to what we write, which its text shows; of one that is not in
-- PL/pgSQL nothing can be said.
with ours (tab, events) as (
  values ($1::regclass, 8 | 16), -- of the queue: delete, update
         ($2::regclass, 4),      -- of the dead letters: insert
         ('public.orders'::regclass, 16)
)
select 'row-level security', tab::text, '', row_security_active(tab), 'alter table ' || tab || ' disable row level security'
  from ours
  join pg_class as c on c.oid = tab and c.relrowsecurity
union all
select 'rule', tab::text, r.rulename::text, true, 'drop rule ' || quote_ident(r.rulename) || ' on ' || tab
  from ours
  join pg_rewrite as r on r.ev_class = tab and r.ev_type in ('2', '3', '4') and r.ev_enabled in ('O', 'A')
union all
select 'trigger', tab::text, t.tgname::text,
       l.lanname = 'plpgsql'
         and (p.prosrc ~* '\mreturn\s+null\M'
              or t.tgtype & 16 > 0 and t.tgtype & 12 = 0 and p.prosrc ~* '\mreturn\s+old\M'
              or p.prosrc ~* '\mnew\s*\.\s*(status|effects|attempts|vt|read_ct|enqueued_at|headers|message)\s*:?='),
       'alter table ' || tab || ' disable trigger ' || quote_ident(t.tgname)
  from ours
  join pg_trigger as t on t.tgrelid = tab and not t.tgisinternal and t.tgenabled in ('O', 'A')
   and t.tgtype & 3 = 3 and t.tgtype & events > 0 -- for each row, before
  join pg_proc as p on p.oid = t.tgfoid
  join pg_language as l on l.oid = p.prolang
 order by 4 desc, 1, 2, 3
