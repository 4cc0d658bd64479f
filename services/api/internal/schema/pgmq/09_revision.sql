-- Which revision of the SQL-only PGMQ this is. Its presence tells this install from PGMQ's own, and its value whether these files
-- are newer: then they are run again. Revision 2 brought last_read_at, revision 3 the calls with untyped parameters, and calls that one row of extreme values does not make fail.
create or replace function pgmq._orderflow_revision()
returns integer
language sql
immutable
as $$
    select 3;
$$;
