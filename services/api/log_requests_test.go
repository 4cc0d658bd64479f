package main

import (
	"testing"

	"orderflow.example/kit/testdb"
)

// LOG_REQUESTS says which requests a person sees at level info.
func TestWhichRequestsAreLogged(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]struct{ write, read string }{
		"none": {"DEBUG", "DEBUG"}, "changes": {"INFO", "DEBUG"}, "all": {"INFO", "INFO"},
	} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			s := started(t, map[string]string{"DATABASE_URL": testdb.New(t), "LOG_REQUESTS": setting, "LOG_LEVEL": "debug"})
			s.place(t, "/orders", orderJSON(1))
			s.get(t, "/orders/1")
			if got := s.log.await(t, "POST /orders 201")["level"]; got != want.write {
				t.Errorf("a write is logged at %v, want %s", got, want.write)
			}
			if got := s.log.await(t, "GET /orders/1 200")["level"]; got != want.read {
				t.Errorf("a read is logged at %v, want %s", got, want.read)
			}
		})
	}
}
