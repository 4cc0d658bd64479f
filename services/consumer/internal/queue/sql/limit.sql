-- The rest of the transaction has $1 milliseconds for each statement, unless the session allows less; null is no limit.
select set_config('statement_timeout', coalesce(least(nullif(setting::bigint, 0), $1::bigint), 0)::text, true)
  from pg_catalog.pg_settings
 where name = 'statement_timeout'
