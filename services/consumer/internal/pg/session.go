package pg

import (
	"time"

	"orderflow.example/kit/postgres"
)

// sessionSettings are what every statement of the consumer relies on.
//
//   - Timeouts: a statement that we gave up on must not go on holding locks at the server (client_connection_check_interval,
//     tcp_user_timeout); a transaction of a fetch whose client is gone must let go of its rows long before a visibility timeout.
//   - Plans: all our joins go from a short array to a primary key. The planner knows neither the array's length nor the
//     table's size: a queue that was empty when it was last vacuumed counts as one row, however many there are by now,
//     and a plan made on an empty table would still be in use when it holds a million. So the scans that read a whole
//     table or a whole index are switched off, and the statements leave no other way in than the primary key: see fetch.sql.
//     JIT would compile those plans because of the penalties that switching scans off adds to their costs.
//   - Isolation: passing over locked rows and checking a lease once more when its row is free are what read committed does.
var sessionSettings = postgres.Timeouts(30*time.Second, 500*time.Millisecond, 3*time.Second).With(postgres.Settings{
	"client_connection_check_interval": "2000", "tcp_user_timeout": "6000",
	"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3",
	"enable_seqscan": "off", "enable_indexonlyscan": "off", "enable_mergejoin": "off", "jit": "off",
	"plan_cache_mode": "force_generic_plan", "default_transaction_isolation": "read committed",
	"TimeZone": "UTC",
})
