-- Which revision of the SQL-only PGMQ this is; its presence is how a later migration tells this install from PGMQ's own.
create or replace function pgmq._orderflow_revision()
returns integer
language sql
immutable
as $$
    select 1;
$$;
