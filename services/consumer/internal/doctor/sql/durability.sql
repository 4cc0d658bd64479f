-- How many standbys replicate, by the function with which the schema lets a role see them, and which of the tables that orders are in do not
-- outlive a crash. $1: the tables' names, as regclass takes them.
with ours as (select to_regclass(t) as oid from unnest($1::text[]) as t)
select (select count(*) from orderflow.standbys())::integer,
       array(select c.oid::regclass::text from pg_class as c
              where c.relpersistence = 'u'
                and (c.oid in (select oid from ours) or c.oid in (select inhrelid from pg_inherits where inhparent in (select oid from ours)))
              order by 1)
