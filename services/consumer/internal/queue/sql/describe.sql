-- What there is to work with, in one row.
select pg_catalog.to_regclass('public.orderflow_migrations') is not null,
       pg_catalog.to_regclass('public.orders') is not null
         and pg_catalog.to_regclass($1) is not null
         and pg_catalog.to_regclass($2) is not null,
       exists (select from pg_catalog.pg_attribute
                where attrelid = pg_catalog.to_regclass($1) and attname = 'last_read_at' and not attisdropped),
       -- Looked for in the catalog: by its name, who may not use its schema would get an error.
       exists (select from pg_catalog.pg_class as front
                 join pg_catalog.pg_namespace as schema on schema.oid = front.relnamespace
                 join pg_catalog.pg_proc as move on move.pronamespace = schema.oid
                where schema.nspname = 'orderflow' and front.relname = $3 and front.relkind = 'S' and move.proname = 'move_front'
                  and pg_catalog.has_schema_privilege(schema.oid, 'usage')
                  and pg_catalog.has_sequence_privilege(front.oid, 'select') and pg_catalog.has_sequence_privilege(front.oid, 'update')
                  and pg_catalog.has_function_privilege(move.oid, 'execute'))
