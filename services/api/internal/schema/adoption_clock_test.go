package schema_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/api/internal/schema"
)

// zones are what `alter database … set timezone` may say: ahead, behind, with an odd offset, and with a change of clocks.
var zones = []string{"Asia/Tokyo", "America/New_York", "Asia/Kathmandu", "Europe/Berlin", "UTC"}

// The example writes datetime.utcnow(): no zone, and psycopg2 says so.
const exampleClock = `
	insert into orders (customer_name, product_name, quantity, price, created_at)
	values ('c', 'p', 1, 1, '`

// naive is a moment as the example's api writes it into SQL.
func naive(at time.Time) string {
	return at.UTC().Format("2006-01-02T15:04:05.000000") + "'::timestamp)"
}

func TestAdoptedMomentsAreUTCWhateverTheDatabasesTimezone(t *testing.T) {
	t.Parallel()
	for _, zone := range zones {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t)
			mustExec(t, db.conn, exampleTable)
			mustExec(t, db.conn, `alter database `+db.cfg.Database+` set timezone = '`+zone+`'`)
			conn := connect(t, db.cfg)
			long := time.Date(2026, 1, 7, 19, 48, 3, 123456000, time.UTC)
			before := time.Now().Truncate(time.Microsecond)
			mustExec(t, conn, exampleClock+naive(long))
			mustExec(t, conn, exampleClock+naive(before))

			if err := db.migrate(schema.Options{Queue: queue}); err != nil {
				t.Fatal(err)
			}
			// Its api goes on beside ours, in the sessions that it has and in new ones.
			beside := time.Now().Truncate(time.Microsecond)
			mustExec(t, conn, exampleClock+naive(beside))
			mustExec(t, connect(t, db.cfg), exampleClock+naive(beside))

			for id, want := range map[int]time.Time{1: long, 2: before, 3: beside, 4: beside} {
				if got := ask[time.Time](t, conn, `select created_at from orders where id = $1`, id); !got.Equal(want) {
					t.Errorf("order %d was created at %v, want %v", id, got, want)
				}
			}
		})
	}
}

// The example's role may insert orders; of our schema it knows nothing.
func TestWhoInsertsOrdersNeedsNoOtherRights(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	role := db.newRole("example")
	quoted := pgx.Identifier{role}.Sanitize()
	mustExec(t, db.conn, `create role `+quoted+` login password `+quote(password))
	mustExec(t, db.conn, `grant insert, select on orders to `+quoted)
	mustExec(t, db.conn, `alter role `+quoted+` set timezone = 'Asia/Tokyo'`)

	conn := connect(t, db.as(role, password))
	now := time.Now().Truncate(time.Microsecond)
	mustExec(t, conn, exampleClock+naive(now))
	if got := ask[time.Time](t, conn, `select created_at from orders`); !got.Equal(now) {
		t.Errorf("created at %v, want %v", got, now)
	}
}

// What says its zone, or is computed in the database, is what it says; so is what is long past.
func TestOtherMomentsStayAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	mustExec(t, db.conn, `alter database `+db.cfg.Database+` set timezone = 'Europe/Paris'`)
	conn := connect(t, db.cfg)
	mustExec(t, conn, `create table given (id bigint, at timestamptz)`)
	// The offset is 1 or 2 hours: both are as far back as a moment in UTC would be put.
	for _, moment := range []string{
		`now()`, `clock_timestamp()`, `now() - interval '1 hour'`, `now() - interval '2 hours'`, `statement_timestamp() - interval '1 hour'`,
		`statement_timestamp() - interval '2 hours'`, `now() - interval '1 day'`, `'2020-02-03 04:05:06+00'`, `'2020-02-03 04:05:06'`,
		`'infinity'`, `'-infinity'`, `'4713-01-01 BC'`, `'294276-12-31'`,
	} {
		mustExec(t, conn, `
			with given as (select (`+moment+`)::timestamptz as at),
			o as (
				insert into orders (customer_name, product_name, quantity, price, created_at) select 'c', 'p', 1, 1, at from given returning id
			)
			insert into given select o.id, given.at from o, given`)
	}
	mustExec(t, conn, `insert into orders (customer_name, product_name, quantity, price) values ('c', 'p', 1, 1)`)
	wantTable(t, conn, `select o.id, o.created_at, given.at from orders o join given using (id) where o.created_at <> given.at`, "")
	wantTable(t, conn, `select clock_timestamp() - max(created_at) < '5 minutes' from orders where isfinite(created_at) and created_at < '3000-01-01'`, "t")
}

// A time that a change of clocks skips is taken by the offset of before; one that comes twice, by the later.
func TestUTCNowIsRecognisedWhileClocksChange(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	const zone = "America/New_York" // 2026: forward on 8 March at 02:00, back on 1 November at 02:00
	mustExec(t, db.conn, `set timezone = '`+zone+`'`)

	for _, utc := range []string{
		"2026-03-08 01:59:00", "2026-03-08 02:00:00", "2026-03-08 02:30:00", "2026-03-08 02:59:59", "2026-03-08 03:00:00", "2026-03-08 06:30:00", "2026-03-08 07:30:00",
		"2026-11-01 00:30:00", "2026-11-01 01:30:00", "2026-11-01 02:00:00", "2026-11-01 05:30:00", "2026-11-01 06:30:00", "2026-07-01 12:00:00", "2026-01-01 00:00:00",
	} {
		// As stored by the session, and the truth.
		wantTable(t, db.conn, `
			select orderflow.utc_if_utcnow('`+utc+`'::timestamp::timestamptz, '`+zone+`', '`+utc+`Z'::timestamptz + interval '40 seconds') = '`+utc+`Z'`, "t")
	}
}
