package orders_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/orders"
	"orderflow.example/services/api/internal/schema"
	"orderflow.example/services/api/internal/strictjson"
)

// encoded is a migrated database with an encoding of its own.
func encoded(t *testing.T, encoding string) string {
	t.Helper()
	url := testdb.Encoded(t, encoding)
	cfg := testdb.Config(t, url, time.Minute)
	if err := schema.Migrate(t.Context(), cfg, schema.Options{Queue: "order_queue"}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return url
}

// What a database cannot hold is refused, by the name of the field; what it can comes back as it was sent, from the table and in
// the message, whatever the encoding of the database or of the role.
func TestEncodings(t *testing.T) {
	t.Parallel()
	for encoding, test := range map[string]struct{ holds, holdsNot string }{
		"UTF8":      {"Müller Ω 例 🙂", ""},
		"LATIN1":    {"Müller ÿ", "Ω"},
		"LATIN2":    {"Müller ł", "ÿ"},
		"WIN1252":   {"Müller €", "例"},
		"EUC_JP":    {"例 Ω", "🙂"},
		"SQL_ASCII": {"Müller Ω 例 🙂", ""},
	} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			url := encoded(t, encoding)
			b := newWriterOn(t, url+"&client_encoding=LATIN1", url, nil)
			b.exec(t, `set client_encoding = UTF8`)
			b.mustWrite(t, one(order(0), ""))
			draft := order(1)
			draft.CustomerName, draft.ProductName = test.holds, "1 "+test.holds
			written := b.mustWrite(t, one(draft, "k"))
			if again := b.mustWrite(t, one(draft, "k")); !again.Replayed || again.Orders[0].Draft != draft {
				t.Errorf("written %+v, found %+v", written, again)
			}
			var customer, inMessage string
			if err := b.db.QueryRow(t.Context(), `select o.customer_name, q.message ->> 'customer_name' from orders o join pgmq.q_order_queue q on q.msg_id = o.message_id where o.id = $1`,
				written.Orders[0].ID).Scan(&customer, &inMessage); err != nil || customer != test.holds || inMessage != test.holds {
				t.Errorf("%q and %q are stored, want %q (%v)", customer, inMessage, test.holds, err)
			}
			b.check(t, 2)
			if test.holdsNot == "" {
				return
			}
			for locations, change := range map[string]func(*orders.Request){
				"body.customer_name": func(r *orders.Request) { r.Orders[0].CustomerName = test.holdsNot },
				"body.product_name":  func(r *orders.Request) { r.Orders[0].ProductName = "a" + test.holdsNot },
				"body.orders[0].customer_name body.orders[2].product_name": func(r *orders.Request) {
					r.Batch = true
					r.Orders = append(r.Orders, order(2), order(3))
					r.Orders[0].CustomerName, r.Orders[2].ProductName = test.holdsNot, test.holdsNot
				},
			} {
				r := one(order(1), "")
				change(&r)
				_, err := b.Write(r)
				var invalid *strictjson.InvalidError
				if !errors.As(err, &invalid) {
					t.Errorf("%s: got %v", locations, err)
					continue
				}
				var found []string
				for _, fault := range invalid.Faults {
					found = append(found, fault.Location)
					if !strings.Contains(fault.Message, encoding) {
						t.Errorf("%s: %s", fault.Location, fault.Message)
					}
				}
				if got := strings.Join(found, " "); got != locations {
					t.Errorf("%s are named, want %s", got, locations)
				}
			}
			b.check(t, 2)
		})
	}
}

// A database without an encoding holds whatever bytes others have written. They can be read, and are valid in an answer.
func TestBytesThatAreNoText(t *testing.T) {
	t.Parallel()
	url := encoded(t, "SQL_ASCII")
	conn := testdb.Connect(t, url)
	if _, err := conn.PgConn().Exec(t.Context(), `
		set client_encoding = SQL_ASCII;
		insert into orders (customer_name, product_name, quantity, price) values (e'M\xfcller', 'a', 1, 1), ('Müller', 'b', 1, 1)`).ReadAll(); err != nil {
		t.Fatal(err)
	}
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := database.NewPool(t.Context(), cfg, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	page, err := orders.NewStore(pool).List(t.Context(), orders.Filter{}, 10, "")
	if err != nil || len(page.Orders) != 2 {
		t.Fatalf("%d orders, %v", len(page.Orders), err)
	}
	for i, want := range []string{"Müller", "M\ufffdller"} {
		var answered struct {
			Name string `json:"customer_name"`
		}
		if err := json.Unmarshal(page.Orders[i].AppendJSON(nil), &answered); err != nil || answered.Name != want {
			t.Errorf("answered %q, want %q (%v)", answered.Name, want, err)
		}
	}
}

// Whoever shortens a column has clients told which field is too long for it.
func TestAShortenedColumnIsAFieldsLimit(t *testing.T) {
	t.Parallel()
	b := newWriter(t, nil)
	b.exec(t, `alter table orders alter product_name type varchar(12)`)
	long := order(1)
	long.ProductName = strings.Repeat("ü", 13)
	_, err := b.Write(one(long, ""))
	var invalid *strictjson.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Faults) != 1 || invalid.Faults[0].Location != "body.product_name" || !strings.Contains(invalid.Faults[0].Message, "12") {
		t.Errorf("got %v", err)
	}
	long.ProductName = strings.Repeat("ü", 12)
	b.mustWrite(t, one(long, ""))
	b.check(t, 1)
}

// An order that was answered is on the disk, whatever somebody has set for the database or the role; what promises more stays.
func TestDurabilityIsNotAnybodysDefault(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]string{"off": "on", "local": "on", "on": "on", "remote_write": "remote_write", "remote_apply": "remote_apply"} {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			url := testdb.New(t)
			conn, err := pgx.ParseConfig(url)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := testdb.Connect(t, url).Exec(t.Context(), `alter database `+conn.Database+` set synchronous_commit = `+set); err != nil {
				t.Fatal(err)
			}
			if got := newWriterOn(t, url, url, nil).settingIn(t, "synchronous_commit"); got != want {
				t.Errorf("the writer's is %s, want %s", got, want)
			}
		})
	}
}

// Where the settings that the promise needs cannot be made, no order is taken.
func TestWithoutDurabilityNothingIsTaken(t *testing.T) {
	t.Parallel()
	db, role, as := newRole(t, "")
	if _, err := testdb.Connect(t, db).PgConn().Exec(t.Context(), `
		revoke execute on function pg_catalog.set_config(text, text, boolean) from public;
		alter role `+role+` set synchronous_commit = off`).ReadAll(); err != nil {
		t.Fatal(err)
	}
	b := newWriterOn(t, as, db, nil)
	await.True(t, "the writer to know", func() bool { return b.NotReady() != "" })
	if _, err := b.Write(one(order(0), "")); !errors.Is(err, orders.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	b.check(t, 0)
}
