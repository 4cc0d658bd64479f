-- Which of the rights that the consumer needs this role does not have.
select what from (values
    ('usage on schema pgmq', has_schema_privilege('pgmq', 'usage')),
    ('select, update and delete on ' || $1, has_table_privilege($1, 'select') and has_table_privilege($1, 'update') and has_table_privilege($1, 'delete')),
    ('select and insert on ' || $2, has_table_privilege($2, 'select') and has_table_privilege($2, 'insert')),
    ('select on public.orders', has_table_privilege('public.orders', 'select')),
    ('update of public.orders (status, attempts, effects, last_error, completed_at, processed_by, dead_at)',
      (select bool_and(has_column_privilege('public.orders', c, 'update'))
         from unnest(array['status', 'attempts', 'effects', 'last_error', 'completed_at', 'processed_by', 'dead_at']) as c))
  ) as needed (what, held)
 where not held
