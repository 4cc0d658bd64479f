package schema_test

import (
	"strings"
	"testing"

	"orderflow.example/services/api/internal/schema"
)

const oldOrder = `insert into orders (customer_name, product_name, quantity, price, status, processed_by, created_at, completed_at)
	select 'c', 'p', 1, 1, 'completed', 'consumer-1', at, at from (select clock_timestamp() - interval '2 days' as at) t`

// A restore of data alone into a new schema leaves the installation's id out, unless the table was emptied before. What the new schema has made
// itself, an order that has come since or one from before Orderflow, and a row that was restored, are as they should be.
func TestOrdersThatWereRestoredWithoutTheirInstallationAreNoticed(t *testing.T) {
	t.Parallel()
	const said = "orderflow.installation was not restored with them"
	for name, test := range map[string]struct {
		restore string
		noticed bool
	}{
		"nothing was restored":          {`insert into orders (customer_name, product_name, quantity, price) values ('c', 'p', 1, 1)`, false},
		"orders alone":                  {oldOrder, true},
		"orders and their installation": {`truncate orderflow.installation; insert into orderflow.installation (id) values (gen_random_uuid()); ` + oldOrder, false},
		"from before Orderflow":         {oldOrder + `; update orders set processed_by = 'before orderflow'`, false},
	} {
		db := migrated(t, schema.InstallSQL)
		mustExec(t, db.conn, test.restore)
		if err := db.migrate(schema.Options{Queue: queue}); err != nil {
			t.Fatal(err)
		}
		if log := db.log.String(); strings.Contains(log, said) != test.noticed {
			t.Errorf("%s: noticed %t, want %t:\n%s", name, !test.noticed, test.noticed, log)
		}
	}
}

// The migrations' table of a dump of an earlier release, restored into this one's schema, names fewer migrations than there are.
func TestASchemaThatIsNewerThanItsMigrationsSaysWhatHasHappened(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	mustExec(t, db.conn, `delete from orderflow_migrations where version_id > 10`)
	err := db.migrate(schema.Options{Queue: queue})
	if err == nil || !strings.Contains(err.Error(), "only a dump's data") || !strings.Contains(err.Error(), "insert into orderflow_migrations") {
		t.Fatalf("%v", err)
	}
	_, repair, _ := strings.Cut(err.Error(), "run: ")
	mustExec(t, db.conn, repair)
	if err := db.migrate(schema.Options{Queue: queue}); err != nil {
		t.Fatal(err)
	}
}
