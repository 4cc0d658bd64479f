-- How long the message that is due first has been waiting, by the vt index; who reads it; and what is dead.
select (select extract(epoch from clock_timestamp() - greatest(vt, clock_timestamp() - interval '365 days'))::float8
          from {queue} where vt <= clock_timestamp() order by vt limit 1),
       (select count(*) from (select from {dlq} limit 100000) as letters),
       (select count(distinct application_name) from pg_stat_activity
         where datname = current_database() and application_name like 'orderflow-consumer %'),
       pg_notification_queue_usage()
