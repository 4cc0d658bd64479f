-- Change the queue's gate, if it still is as it was when it had revision $2; the pause in it stays. A revision is never used again, also
-- where the database has gone back to an earlier state: it grows with the time as well. With $20 the consumers are told, on the channel $21.
-- Nobody waits for the disk, neither we nor those who wait for the row: what a crash of the server takes away the consumers find out anew.
-- Plan: the primary key of gate.
with written as (
  insert into orderflow.gate as g
         (queue, revision, breaker_open, since, reason, failures, probe_at, prober, probe_until, normal_rate, rated_by,
          arrivals, arrived_at, limit_base, limit_growth, limit_at, tokens, tokens_at, patience_until)
  values (lower($1::text), greatest($2::bigint + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint),
          $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
  on conflict (queue) do update
     set revision = excluded.revision, breaker_open = excluded.breaker_open,
         since = excluded.since, reason = excluded.reason, failures = excluded.failures, probe_at = excluded.probe_at,
         prober = excluded.prober, probe_until = excluded.probe_until, normal_rate = excluded.normal_rate, rated_by = excluded.rated_by,
         arrivals = excluded.arrivals, arrived_at = excluded.arrived_at, limit_base = excluded.limit_base,
         limit_growth = excluded.limit_growth, limit_at = excluded.limit_at, tokens = excluded.tokens, tokens_at = excluded.tokens_at,
         patience_until = excluded.patience_until
   where g.revision = $2
  returning revision
)
select revision,
       set_config('synchronous_commit', 'off', true),
       case when $20::boolean then pg_notify($21::text, 'gate')::text end
  from written
