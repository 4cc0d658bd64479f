package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"orderflow.example/kit/testdb"
)

// leastPrivileged is a migrated database of its own, the role that the migration made for the api, and the database's address as
// that role.
func leastPrivileged(t *testing.T) (db, role, asRole string) {
	t.Helper()
	role = testdb.Role(t, "api")
	db = testdb.Empty(t)
	runMigrate(t, db, map[string]string{"API_DB_ROLE": role, "API_DB_PASSWORD": "pw"})
	u, err := url.Parse(db)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "pw")
	return db, role, u.String()
}

// Everything that the service does, it can do as the role that migration makes for it, and not more.
func TestEverythingAsTheLeastPrivilegedRole(t *testing.T) {
	t.Parallel()
	db, _, asRole := leastPrivileged(t)
	// MIGRATE_ON_START is for those who may; for others it is no reason not to start once the schema is there.
	first := started(t, map[string]string{"DATABASE_URL": asRole, "MIGRATE_ON_START": "true"})
	if log := first.log.String(); strings.Contains(log, `"level":"WARN"`) {
		t.Errorf("nothing is amiss:\n%s", log)
	}
	s := started(t, map[string]string{"DATABASE_URL": asRole, "ADMIN_TOKEN": "sesame"})

	for i := range 3 {
		s.place(t, "/orders", orderJSON(i), "Idempotency-Key", "k"+string(rune('0'+i)))
	}
	if a := s.post(t, "/orders", orderJSON(1), "Idempotency-Key", "k1"); a.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("replay: %d %s", a.status, a.body)
	}
	if a := s.post(t, "/orders/batch", `{"orders":[`+orderJSON(1)+`]}`); a.status != http.StatusCreated {
		t.Errorf("batch: %d %s", a.status, a.body)
	}
	if _, err := testdb.Connect(t, db).Exec(t.Context(), die, []int64{1, 2}, "permanent"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/orders/1", "/orders", "/orders?status=dead", "/orders?idempotency_key_prefix=k", "/messages", "/queue", "/dead-letters"} {
		if a := s.get(t, path); a.status != http.StatusOK {
			t.Errorf("GET %s: %d %s", path, a.status, a.body)
		}
	}
	if a := s.post(t, "/dead-letters/redrive", `{"msg_ids":[1]}`, "Authorization", "Bearer sesame"); a.status != http.StatusOK || !strings.Contains(a.body, `"new_msg_id"`) {
		t.Errorf("redrive: %d %s", a.status, a.body)
	}
	if a := s.do(t, http.MethodDelete, "/dead-letters/2", "", []string{"Authorization", "Bearer sesame"}); a.status != http.StatusNoContent {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	s.watch(t).until("the balance, as the role", func(n *overview) bool { return n.Balance.State == "balanced" && n.Balance.Accepted == 4 })
	for _, call := range [][2]string{{"/queue/pause", `"paused"`}, {"/queue/resume", `"running"`}} {
		if a := s.post(t, call[0], "", "Authorization", "Bearer sesame"); a.status != http.StatusOK || !strings.Contains(a.body, call[1]) {
			t.Errorf("%s: %d %s", call[0], a.status, a.body)
		}
	}

	conn := testdb.Connect(t, asRole)
	for _, sql := range []string{
		`delete from pgmq.q_order_queue`, `update pgmq.q_order_queue set vt = now()`, `update orders set status = 'completed'`, `delete from orders`,
		`select pgmq.delete('order_queue', 3)`, `update orderflow.gate set paused_at = null`, `delete from orderflow.gate`, `truncate orders`, `create table public.mine ()`,
	} {
		if strings.Contains(sql, "create table") && conn.PgConn().ParameterStatus("server_version") < "15" {
			continue // until Postgres 15 everybody might, and taking that away from others is the administrator's to do
		}
		if _, err := conn.Exec(t.Context(), sql); err == nil {
			t.Errorf("the role may %s", sql)
		}
	}

	// What is amiss it sees, without the right to mend it.
	if _, err := testdb.Connect(t, db).Exec(t.Context(), `select setval('pgmq.q_order_queue_msg_id_seq', 1)`); err != nil {
		t.Fatal(err)
	}
	last := started(t, map[string]string{"DATABASE_URL": asRole, "MIGRATE_ON_START": "true"})
	if log := last.log.String(); !strings.Contains(log, "only its owner can correct it") || !strings.Contains(log, "select setval('pgmq.q_order_queue_msg_id_seq', ") {
		t.Errorf("a sequence is behind:\n%s", log)
	}
}
