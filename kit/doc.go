// Package kit is the plumbing of Orderflow's programs, written once: how a program reads its environment, logs, starts, stops,
// shows itself on a second port, and reaches PostgreSQL. Each part is a package of its own:
//
//	await      for tests: waiting for what comes by itself
//	dial       connections whose end may vanish without a word
//	env        settings from environment variables: reading, checking, masking, documenting
//	listen     listeners that outlive shortages, with a bounded number of connections
//	logging    the logger
//	program    commands and flags, signals, exit codes
//	ops        the second port: metrics, probes, profiles
//	otlptest   for tests: a collector of traces
//	postgres   DATABASE_URL, sessions, and which errors will not pass
//	pooling    lets a connection to PostgreSQL work through a pooler in transaction mode
//	pgbouncer  for tests and chaos: a PgBouncer in front of PostgreSQL
//	pgproxy    for tests and chaos: breaks connections to PostgreSQL at chosen moments
//	secret     values that must not be shown
//	testdb     for tests: a database of one's own
//	testlog    for tests: what a program writes
//	tracing    spans, and their way to a collector
//	wait       waiting before another try
//
// It is a module outside the workspace, which each service joins by a replace directive, so that each service still builds alone.
// It must never know what an order, a message or a queue is: what the services share of those is SQL and JSON, and no code.
package kit
