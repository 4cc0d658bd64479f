select name, setting from pg_settings
 where name in ('server_version', 'fsync', 'full_page_writes', 'synchronous_commit', 'synchronous_standby_names', 'autovacuum', 'track_counts',
                'autovacuum_max_workers', 'zero_damaged_pages')
