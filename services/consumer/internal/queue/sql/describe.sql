-- What there is to work with, in one row.
select pg_catalog.to_regclass('public.orderflow_migrations') is not null,
       pg_catalog.to_regclass('public.orders') is not null
         and pg_catalog.to_regclass($1) is not null
         and pg_catalog.to_regclass($2) is not null,
       exists (select from pg_catalog.pg_attribute
                where attrelid = pg_catalog.to_regclass($1) and attname = 'last_read_at' and not attisdropped),
       coalesce((select pg_catalog.has_sequence_privilege(front, 'select') and pg_catalog.has_sequence_privilege(front, 'update')
                    and pg_catalog.has_function_privilege(pg_catalog.to_regprocedure('orderflow.move_front(regclass, bigint, bigint, boolean)'), 'execute')
                   from pg_catalog.to_regclass($3) as front
                  where front is not null), false)
