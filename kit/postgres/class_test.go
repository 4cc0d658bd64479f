package postgres_test

import (
	"testing"

	"orderflow.example/kit/postgres"
)

func TestAnyCodeHasAClass(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{"": "", "0": "0", "08": "08", "08006": "08"} {
		if got := postgres.Class(code); got != want {
			t.Errorf("%q is of class %q, want %q", code, got, want)
		}
	}
}
