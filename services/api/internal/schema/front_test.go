package schema_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/api/internal/schema"
)

func TestAFrontMovesAheadAndNotOverOneThatWasMovedBack(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	mustExec(t, db.conn, `create sequence front`)
	for name, c := range map[string]struct {
		at, began, reached int64
		whole              bool
		want               int64
	}{
		"ahead":                             {100, 100, 200, false, 200},
		"others are ahead of where it was":  {150, 100, 200, false, 200},
		"others are ahead of it":            {250, 100, 200, false, 250},
		"it was moved back":                 {50, 100, 200, false, 50},
		"from the beginning, back":          {150, 150, 60, true, 60},
		"from the beginning, ahead":         {150, 150, 200, true, 200},
		"from the beginning, and was moved": {50, 100, 200, true, 200},
	} {
		mustExec(t, db.conn, `select setval('front', $1)`, c.at)
		told := ask[int64](t, db.conn, `select orderflow.move_front('front', $1, $2, $3)`, c.began, c.reached, c.whole)
		if is := ask[int64](t, db.conn, `select last_value from front`); is != c.want || told != c.want {
			t.Errorf("%s: it is at %d, and was told to be at %d; want %d", name, is, told, c.want)
		}
	}
}

// Who leases messages may move the front from the moment on when it is there, be their rights ours to give or not.
func TestAFrontIsForThoseWhoLease(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	leases, looks := db.newRole("leases"), db.newRole("looks")
	for role, rights := range map[string]string{leases: "select, update, delete", looks: "select"} {
		quoted := pgx.Identifier{role}.Sanitize()
		mustExec(t, db.conn, `create role `+quoted)
		mustExec(t, db.conn, `grant `+rights+` on pgmq."q_order-queue" to `+quoted)
	}
	mustExec(t, db.conn, `drop sequence orderflow."front_order-queue"`)
	if err := db.migrate(schema.Options{Queue: queue, PGMQ: schema.InstallSQL}); err != nil {
		t.Fatal(err)
	}
	for role, want := range map[string]bool{leases: true, looks: false} {
		if got := ask[bool](t, db.conn, `select has_sequence_privilege($1, 'orderflow."front_order-queue"', 'update')`, role); got != want {
			t.Errorf("%s may move it: %t", role, got)
		}
	}
}
