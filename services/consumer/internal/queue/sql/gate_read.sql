-- The queue's gate with the database's time, and how many messages were ever sent to the queue. Always one row; revision is 0 when the
-- queue has no gate.
-- Plan: the primary key of gate.
select clock_timestamp(),
       coalesce(pg_sequence_last_value(pg_get_serial_sequence($2, 'msg_id')::regclass), 0),
       coalesce(g.revision, 0),
       g.paused_at, coalesce(g.paused_by, ''), coalesce(g.pause_reason, ''), coalesce(g.breaker_open, false), g.since, coalesce(g.reason, ''), coalesce(g.failures, 0),
       g.probe_at, coalesce(g.prober, ''), g.probe_until, coalesce(g.normal_rate, 0), coalesce(g.rated_by, '{}'),
       coalesce(g.arrivals, 0), g.arrived_at, coalesce(g.limit_base, 0), coalesce(g.limit_growth, 0), g.limit_at,
       coalesce(g.tokens, 0), g.tokens_at, g.patience_until
  from (values (lower($1::text))) as asked (queue)
  left join orderflow.gate as g on g.queue = any (array[asked.queue])
