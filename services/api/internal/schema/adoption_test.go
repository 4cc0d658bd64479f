package schema_test

import (
	"strings"
	"testing"

	"orderflow.example/services/api/internal/schema"
)

// exampleTable is what the FastAPI example's SQLAlchemy model makes of itself.
const exampleTable = `
	CREATE TABLE orders (
		id SERIAL NOT NULL,
		customer_name VARCHAR NOT NULL,
		product_name VARCHAR NOT NULL,
		quantity INTEGER NOT NULL,
		price FLOAT NOT NULL,
		created_at TIMESTAMP WITHOUT TIME ZONE,
		PRIMARY KEY (id)
	);
	CREATE INDEX ix_orders_id ON orders (id)`

// The example's api and consumer, each as the statements that it sends.
const (
	exampleInsert = `
		insert into orders (customer_name, product_name, quantity, price, created_at)
		values ('Customer ' || $1::int, 'Product ' || $1::int, $1::int % 10 + 1, 10.1 + $1::int % 50, '2026-01-07 19:48:03.123456')
		returning orders.id`
	exampleSend = `select * from pgmq.send($1::text, json_build_object('order_id', $2::int)::jsonb, 0)`
)

func TestTheExamplesTableIsAdopted(t *testing.T) {
	t.Parallel()
	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		db := newDatabase(t)
		db.installPGMQ(install)
		mustExec(t, db.conn, exampleTable)
		mustExec(t, db.conn, `select pgmq.create($1)`, queue)
		for n := 1; n <= 4; n++ {
			mustExec(t, db.conn, exampleInsert, n)
			mustExec(t, db.conn, exampleSend, queue, n)
		}
		mustExec(t, db.conn, `update orders set created_at = null where id = 4`)
		mustExec(t, db.conn, `select pgmq.send($1, '"not an order"')`, queue)
		// The example's consumer processed the second order, and has the third in hand.
		mustExec(t, db.conn, `select pgmq.delete($1, 2)`, queue)
		mustExec(t, db.conn, `select pgmq.set_vt($1, 3, 30)`, queue)

		if err := db.migrate(schema.Options{Queue: queue, PGMQ: install}); err != nil {
			t.Fatal(err)
		}
		wantTable(t, db.conn, `
			select id, customer_name, quantity, price, status, message_id, attempts, effects, processed_by from orders order by id`, lines(
			`1|Customer 1|2|11.10|pending|1|0|0|∅`,
			`2|Customer 2|3|12.10|completed|∅|0|1|before orderflow`,
			`3|Customer 3|4|13.10|pending|3|0|0|∅`,
			`4|Customer 4|5|14.10|pending|4|0|0|∅`,
		))
		if strings.Contains(db.log.String(), sequenceBehind) {
			t.Errorf("what goes on from the adopted ids is no sequence that is behind:\n%s", db.log)
		}
		wantTable(t, db.conn, `select created_at = '2026-01-07 19:48:03.123456Z' from orders where id < 4`, "t\nt\nt")
		wantTable(t, db.conn, `select now() - created_at < '1 minute' from orders where id = 4`, "t")
		wantTable(t, db.conn, `select message from pgmq."q_order-queue" where msg_id = 5`, `"not an order"`)

		// The example's programs go on working beside ours.
		conn := connect(t, db.cfg)
		mustExec(t, conn, `set timezone = 'UTC'`)
		if id := ask[int64](t, conn, exampleInsert, 5); id != 5 {
			t.Errorf("the order after the adopted ones has id %d", id)
		}
		wantTable(t, conn, `select status, created_at = '2026-01-07 19:48:03.123456Z' from orders where id = 5`, "pending|t")
	})
}

// Adopted and new tables differ in nothing.
func TestAnAdoptedTableLooksLikeANewOne(t *testing.T) {
	t.Parallel()
	adopted := newDatabase(t)
	mustExec(t, adopted.conn, exampleTable)
	mustExec(t, adopted.conn, exampleInsert, 1)
	if err := adopted.migrate(schema.Options{Queue: queue}); err != nil {
		t.Fatal(err)
	}
	fresh := migrated(t, schema.InstallAuto)

	for _, look := range []string{
		`select attnum, attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attcollation::regcollation, pg_get_expr(adbin, adrelid)
		 from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
		 where attrelid = 'orders'::regclass and attnum > 0 order by attnum`,
		`select indexdef from pg_indexes where tablename = 'orders' order by 1`,
		`select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'orders'::regclass and contype <> 'n' order by 1`,
		`select reloptions from pg_class where oid = 'orders'::regclass`,
		`select pg_get_serial_sequence('orders', 'id')`,
	} {
		want, err := table(t, fresh.conn, look)
		if err != nil {
			t.Fatal(err)
		}
		wantTable(t, adopted.conn, look, want)
	}
}

// POST refuses a third decimal; an adopted price that has one is rounded, and that is said.
func TestRoundedPricesAreCountedAndSaid(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	mustExec(t, db.conn, exampleTable)
	mustExec(t, db.conn, `
		insert into orders (customer_name, product_name, quantity, price)
		select 'c', 'p', 1, price from unnest(array[10.005, 10.1, 0.1 + 0.2, 3.3333333333333335, 11, 9999999999.99, 0.004]::float8[]) price`)

	if err := db.migrate(schema.Options{Queue: queue}); err != nil {
		t.Fatal(err)
	}
	wantTable(t, db.conn, `select string_agg(price::text, ' ' order by id) from orders`, "10.01 10.10 0.30 3.33 11.00 9999999999.99 0.00")
	const want = "adopted orders: 3 of them had a price of more than two decimals, which was rounded to the cent, halves up (ids: 1, 4, 7)"
	if log := db.log.String(); strings.Count(log, want) != 1 || !strings.Contains(log, "level=WARN") {
		t.Errorf("the log does not say that prices were rounded:\n%s", log)
	}
	if err := db.migrate(schema.Options{Queue: queue}); err != nil {
		t.Fatal(err)
	}
	if log := db.log.String(); strings.Count(log, "rounded") != 1 {
		t.Errorf("it says so again:\n%s", log)
	}

	exact := newDatabase(t)
	mustExec(t, exact.conn, exampleTable)
	mustExec(t, exact.conn, exampleInsert, 1)
	if err := exact.migrate(schema.Options{Queue: queue}); err != nil {
		t.Fatal(err)
	}
	if log := exact.log.String(); strings.Contains(log, "rounded") {
		t.Errorf("nothing was rounded:\n%s", log)
	}
}

// Without the queue nobody can tell what was processed; nothing is claimed.
func TestAdoptedOrdersWithoutTheirQueueStayPending(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	mustExec(t, db.conn, exampleTable)
	mustExec(t, db.conn, exampleInsert, 1)

	if err := db.migrate(schema.Options{Queue: queue}); err != nil {
		t.Fatal(err)
	}
	wantTable(t, db.conn, `select id, status, message_id, effects from orders`, "1|pending|∅|0")
}

func TestRowsThatBreakTheRulesStopTheAdoption(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	mustExec(t, db.conn, exampleTable)
	mustExec(t, db.conn, exampleInsert, 1)
	// The index holds names up to a third of a page, as they are stored. Digits at random cannot be compressed.
	const digits = `select string_agg(md5(i::text), '') from generate_series(1, 120) i`
	mustExec(t, db.conn, `insert into orders (customer_name, product_name, quantity, price) values (left((`+digits+`), 2684), (`+digits+`), 1, 1), (repeat('c', 100000), 'p', 1, 1)`)

	for name, row := range map[string]string{
		"no quantity":     `('c', 'p', 0, 1)`,
		"negative price":  `('c', 'p', 1, -0.01)`,
		"not a number":    `('c', 'p', 1, 'NaN')`,
		"infinite":        `('c', 'p', 1, 'Infinity')`,
		"too much":        `('c', 'p', 1, 1e10)`,
		"rounds to that":  `('c', 'p', 1, 9999999999.999)`,
		"too long":        `((` + digits + `), 'p', 1, 1)`,
		"a byte too long": `(left((` + digits + `), 2685), 'p', 1, 1)`,
	} {
		id := ask[string](t, db.conn, `insert into orders (customer_name, product_name, quantity, price) values `+row+` returning id::text`)

		err := db.migrate(schema.Options{Queue: queue})
		if err == nil || !strings.Contains(err.Error(), "correct or remove them") || !strings.Contains(err.Error(), "(ids: "+id+")") {
			t.Errorf("%s: %v", name, err)
		}
		wantTable(t, db.conn, `select format_type(atttypid, null) from pg_attribute where attrelid = 'orders'::regclass and attname = 'price'`,
			"double precision") // all or nothing
		mustExec(t, db.conn, `delete from orders where id > 3`)
	}

	if err := db.migrate(schema.Options{Queue: queue}); err != nil {
		t.Errorf("after the rows were removed: %v", err)
	}
	wantTable(t, db.conn, `select id, length(customer_name) from orders where id > 1 order by id`, "2|2684\n3|100000")
}

func TestAForeignOrdersTableIsRefused(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	mustExec(t, db.conn, `create table orders (id int primary key, total numeric)`)

	err := db.migrate(schema.Options{Queue: queue})
	if err == nil || !strings.Contains(err.Error(), "not the FastAPI example's") {
		t.Errorf("got %v", err)
	}
	wantTable(t, db.conn, `select count(*) from pg_attribute where attrelid = 'orders'::regclass and attnum > 0`, "2")
}
