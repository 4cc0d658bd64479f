package schema

import "testing"

func TestPGMQVersionsWithHeaders(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"1.5.0":   true,
		"1.5":     true,
		"1.13.0":  true,
		"2":       true,
		"2.0.1":   true,
		"1.4.5":   false,
		"1.0":     false,
		"0.33.1":  false,
		"":        false,
		"unknown": false,
	} {
		if got := recentPGMQ(version); got != want {
			t.Errorf("%q: %t, want %t", version, got, want)
		}
	}
}
