package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"orderflow.example/services/api/internal/config"
)

// A Secret's content changes under a running pod. What is not there, or is no token, must never open the api to everybody.
func TestTokensFollowTheirFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "tokens")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first-of-the-tokens\n")
	var logged bytes.Buffer
	cfg, err := config.Load(func(name string) (string, bool) {
		value, set := map[string]string{"API_TOKENS_FILE": path, "ADMIN_TOKEN": "an-admin-of-old-times"}[name]
		return value, set
	})
	if err != nil {
		t.Fatal(err)
	}
	files := newTokenFiles(cfg, slog.New(slog.NewTextHandler(&logged, nil)))
	var api, admin []string
	calls := 0
	set := func(a, b []string) { api, admin, calls = a, b, calls+1 }
	for _, step := range []struct {
		name  string
		do    func()
		want  []string
		calls int
	}{
		{"nothing has changed", func() {}, nil, 0},
		{"a second beside it", func() { write("second-of-the-tokens,first-of-the-tokens") }, []string{"second-of-the-tokens", "first-of-the-tokens"}, 1},
		{"the first goes", func() { write("second-of-the-tokens\n") }, []string{"second-of-the-tokens"}, 2},
		{"empty", func() { write("") }, []string{"second-of-the-tokens"}, 2},
		{"still empty", func() {}, []string{"second-of-the-tokens"}, 2},
		{"commas alone", func() { write(",,") }, []string{"second-of-the-tokens"}, 2},
		{"what no header can name", func() { write("t\u00f6ken-of-sixteen-and-more") }, []string{"second-of-the-tokens"}, 2},
		{"gone", func() { _ = os.Remove(path) }, []string{"second-of-the-tokens"}, 2},
		{"back", func() { write("third-of-the-tokens") }, []string{"third-of-the-tokens"}, 3},
	} {
		step.do()
		files.reread(t.Context(), set)
		if calls != step.calls || !slices.Equal(api, step.want) || step.calls > 0 && !slices.Equal(admin, []string{"an-admin-of-old-times"}) {
			t.Errorf("%s: %d calls, api %q, admin %q", step.name, calls, api, admin)
		}
	}
	if n := strings.Count(logged.String(), "cannot use the token file"); n != 4 {
		t.Errorf("told %d times of 4 things that were wrong:\n%s", n, &logged)
	}
	if strings.Contains(logged.String(), "of-the-tokens") {
		t.Errorf("a token was logged:\n%s", &logged)
	}
}
