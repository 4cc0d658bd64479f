package pg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// sessionSettings are what every statement of the consumer relies on. They are set where the server knows them and can do
// them, and left alone where not, in one round trip per connection.
//
//   - Timeouts: a statement that we gave up on must not go on holding locks at the server (client_connection_check_interval,
//     tcp_user_timeout); a transaction of a fetch whose client is gone must let go of its rows long before a visibility timeout.
//   - Plans: all our joins go from a short array to a primary key. The planner knows neither the array's length nor the
//     table's size: a queue that was empty when it was last vacuumed counts as one row, however many there are by now,
//     and a plan made on an empty table would still be in use when it holds a million. So the scans that read a whole
//     table or a whole index are switched off, and the statements leave no other way in than the primary key: see fetch.sql.
//     JIT would compile those plans because of the penalties that switching scans off adds to their costs.
//   - Isolation: passing over locked rows and checking a lease once more when its row is free are what read committed does.
const sessionSettings = `
do $$
declare
  wish record;
begin
  for wish in
    select wanted.name,
           case when s.unit = 'ms' -- zero is no limit; a stricter limit of the role's stays
                then least(nullif(s.setting::bigint, 0), wanted.value::bigint)::text
                else wanted.value end as value
      from (values ('statement_timeout', '30000'), ('lock_timeout', '500'), ('idle_in_transaction_session_timeout', '3000'),
                   ('client_connection_check_interval', '2000'), ('tcp_user_timeout', '6000'),
                   ('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '2'), ('tcp_keepalives_count', '3'),
                   ('enable_seqscan', 'off'), ('enable_indexonlyscan', 'off'), ('enable_mergejoin', 'off'), ('jit', 'off'),
                   ('plan_cache_mode', 'force_generic_plan'), ('default_transaction_isolation', 'read committed'),
                   ('TimeZone', 'UTC')) as wanted (name, value)
      join pg_catalog.pg_settings as s using (name)
  loop
    begin
      perform pg_catalog.set_config(wish.name, wish.value, false);
    exception when invalid_parameter_value then
      null; -- the server knows the setting, and its platform cannot do it
    end;
  end loop;
end
$$`

func prepareSession(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, sessionSettings); err != nil {
		return fmt.Errorf("set up session: %w", err)
	}
	return nil
}
