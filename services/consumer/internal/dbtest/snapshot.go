package dbtest

import "fmt"

// snapshotted are the tables with the state of orders and messages, with the column that each one's sequence fills.
var snapshotted = [...]struct{ table, id string }{
	{"public.orders", "id"}, {"pgmq.q_" + QueueName, "msg_id"}, {"pgmq.q_" + QueueName + "_dlq", "msg_id"},
}

// Snapshot keeps the rows of all tables and the positions of their sequences, as a backup does, or a standby that lags behind. It
// replaces the snapshot before.
func (d *DB) Snapshot() {
	d.tb.Helper()
	script := `create schema if not exists snapshot; create table if not exists snapshot.sequences (name text, last bigint, called boolean);
		delete from snapshot.sequences;`
	for i, t := range snapshotted {
		script += fmt.Sprintf(`create table if not exists snapshot.t%[1]d as table %[2]s with no data;
			delete from snapshot.t%[1]d; insert into snapshot.t%[1]d table %[2]s;
			do $$ begin execute format('insert into snapshot.sequences select %%L, last_value, is_called from %%s', pg_get_serial_sequence('%[2]s', '%[3]s'),
				pg_get_serial_sequence('%[2]s', '%[3]s')); end $$;`, i, t.table, t.id)
	}
	d.Exec(script)
}

// Restore puts the database back to the snapshot, as a restore does, or a failover to a standby that was behind: rows that have
// been written since are gone, and the sequences give the same ids once more.
func (d *DB) Restore() {
	d.tb.Helper()
	script := ""
	for i, t := range snapshotted {
		script += fmt.Sprintf(`delete from %[2]s; insert into %[2]s overriding system value table snapshot.t%[1]d;`, i, t.table)
	}
	d.Exec(script + `do $$ begin perform setval(name, last, called) from snapshot.sequences; end $$;`)
}
