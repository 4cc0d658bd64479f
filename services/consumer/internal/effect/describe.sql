-- The functions called $2 in the schema $1, with what has to be so for the consumer to call them.
select p.oid::regprocedure::text,
       case when p.prokind <> 'f' then 'other'
            when p.pronargs <> 1 then 'other'
            when p.proargtypes[0] = 'public.orders'::regtype then 'order'
            when p.proargtypes[0] = (select typarray from pg_catalog.pg_type where oid = 'public.orders'::regtype) then 'orders'
            else 'other' end,
       p.provolatile = 'v',
       has_function_privilege(p.oid, 'execute'),
       p.prosecdef and not coalesce((select bool_or(setting like 'search_path=%') from unnest(p.proconfig) as setting), false)
  from pg_catalog.pg_proc as p
 where p.pronamespace = (select oid from pg_catalog.pg_namespace where nspname = $1)
   and p.proname = $2
 order by 1
