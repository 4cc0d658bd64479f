package stack

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestEnvironment(t *testing.T) {
	t.Parallel()
	own := []string{"PATH=/bin", "ORDERS=5", "CONCURRENCY=7", "CONSUMER__CONCURRENCY=50", "LOADGEN__RATE=9", "METRICS_PORT=1"}
	for _, c := range []struct {
		name    string
		inherit bool
		service Service
		want    []string
	}{
		{"a test gets what it names and what the machine needs", false, Consumer, []string{"METRICS_PORT=0", "PATH=/bin"}},
		{"a person's variables reach every service", true, API, []string{"CONCURRENCY=7", "METRICS_PORT=0", "ORDERS=5", "PATH=/bin"}},
		{"and one service alone", true, Consumer, []string{"CONCURRENCY=50", "METRICS_PORT=0", "ORDERS=5", "PATH=/bin"}},
	} {
		if got := environ(c.inherit, own, c.service, "METRICS_PORT=0"); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestTokenIsOneThatTheApiAnswersTo(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte("one\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for env, want := range map[string]string{
		"OTHER=x": "", "API_TOKENS=": "", "API_TOKENS=one": "one", "API_TOKENS=one, two": "one", "API_TOKENS=,one": "one", "API_TOKENS_FILE=" + file: "one",
	} {
		n := &Node{Service: API, stack: New(Options{Env: []string{env}})}
		if got := n.Token(); got != want {
			t.Errorf("%s: %q, want %q", env, got, want)
		}
	}
}
