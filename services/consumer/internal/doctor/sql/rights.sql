-- Which of the rights that the consumer needs this role does not have.
select what from (values
    ('usage on schema pgmq', has_schema_privilege('pgmq', 'usage')),
    ('usage on schema orderflow', (select has_schema_privilege(oid, 'usage') from pg_namespace where nspname = 'orderflow')),
    ('select on orderflow.installation', (select has_table_privilege(oid, 'select') from pg_class
      where relnamespace = (select oid from pg_namespace where nspname = 'orderflow') and relname = 'installation')),
    ('select, insert and update on orderflow.gate',
      (select has_table_privilege(oid, 'select') and has_table_privilege(oid, 'insert') and has_table_privilege(oid, 'update') from pg_class
        where relnamespace = (select oid from pg_namespace where nspname = 'orderflow') and relname = 'gate')),
    ('select, insert and update on orderflow.findings',
      (select has_table_privilege(oid, 'select') and has_table_privilege(oid, 'insert') and has_table_privilege(oid, 'update') from pg_class
        where relnamespace = (select oid from pg_namespace where nspname = 'orderflow') and relname = 'findings')),
    ('execute on orderflow.report', (select bool_and(has_function_privilege(oid, 'execute')) from pg_proc
      where pronamespace = (select oid from pg_namespace where nspname = 'orderflow') and proname = 'report')),
    ('select on orderflow.open_blocks and orderflow.order_scan', (select bool_and(has_table_privilege(oid, 'select')) from pg_class
      where relnamespace = (select oid from pg_namespace where nspname = 'orderflow') and relname in ('open_blocks', 'order_scan'))),
    ('execute on orderflow.pause and orderflow.resume', (select bool_and(has_function_privilege(oid, 'execute')) from pg_proc
      where pronamespace = (select oid from pg_namespace where nspname = 'orderflow') and proname in ('pause', 'resume'))),
    ('execute on orderflow.note_history', (select has_function_privilege(oid, 'execute') from pg_proc
      where pronamespace = (select oid from pg_namespace where nspname = 'orderflow') and proname = 'note_history')),
    ('execute on orderflow.standbys', (select has_function_privilege(oid, 'execute') from pg_proc
      where pronamespace = (select oid from pg_namespace where nspname = 'orderflow') and proname = 'standbys')),
    ('execute on orderflow.not_written', (select has_function_privilege(oid, 'execute') from pg_proc
      where pronamespace = (select oid from pg_namespace where nspname = 'orderflow') and proname = 'not_written')),
    ('select, update and delete on ' || $1, has_table_privilege($1, 'select') and has_table_privilege($1, 'update') and has_table_privilege($1, 'delete')),
    ('select on sequence ' || pg_get_serial_sequence($1, 'msg_id'), has_sequence_privilege(pg_get_serial_sequence($1, 'msg_id'), 'select')),
    ('select and insert on ' || $2, has_table_privilege($2, 'select') and has_table_privilege($2, 'insert')),
    ('select on public.orders', has_table_privilege('public.orders', 'select')),
    ('update of public.orders (status, attempts, effects, last_error, started_at, completed_at, processed_by, dead_at)',
      (select bool_and(has_column_privilege(attrelid, attnum, 'update')) from pg_attribute
        where attrelid = 'public.orders'::regclass
          and attname in ('status', 'attempts', 'effects', 'last_error', 'started_at', 'completed_at', 'processed_by', 'dead_at')))
  ) as needed (what, held)
 where not held
