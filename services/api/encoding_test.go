package main

import (
	"net/http"
	"strings"
	"testing"

	"orderflow.example/kit/testdb"
)

// encoded is a migrated database with an encoding of its own.
func encoded(t *testing.T, encoding string) string {
	t.Helper()
	db := testdb.Encoded(t, encoding)
	runMigrate(t, db, nil)
	return db
}

// What the database's encoding does not have is the client's to change: it is told which field.
func TestWhatTheDatabaseCannotHoldIsNamed(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": encoded(t, "LATIN1")})
	a := s.post(t, "/orders", `{"customer_name":"Müller","product_name":"Straße","quantity":1,"price":1}`)
	if a.status != http.StatusCreated || !strings.Contains(a.body, "Müller") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if a := s.get(t, "/orders/1"); !strings.Contains(a.body, "Müller") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if a := s.get(t, "/messages"); !strings.Contains(a.body, "Müller") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	a = s.post(t, "/orders", `{"customer_name":"Müller","product_name":"Ωmega","quantity":1,"price":1}`)
	if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "body.product_name") || strings.Contains(a.body, "customer_name") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	// A question, too, may have them.
	for _, path := range []string{"/orders?customer_name=%CE%A9", "/dead-letters?reason=%CE%A9"} {
		if a := s.get(t, path); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "encoding") {
			t.Errorf("%s: got %d %s", path, a.status, a.body)
		}
	}
}
