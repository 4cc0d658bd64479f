package httpapi

import (
	"regexp"
	"testing"
)

var wellFormed = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$`)

func TestTraceContinuesTheCallers(t *testing.T) {
	t.Parallel()
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	for header, want := range map[string]string{
		"00-" + id + "-00f067aa0ba902b7-01":       id,
		"00-" + id + "-00f067aa0ba902b7-00":       id,
		"01-" + id + "-00f067aa0ba902b7-ff-extra": id,
		"":                                    "",
		"ff-" + id + "-00f067aa0ba902b7-01":   "",
		"00-" + id + "-00f067aa0ba902b7-01-x": "",
		"00-" + id + "-00f067aa0ba902b7-1":    "",
		"00-" + id + "-0000000000000000-01":   "",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01":  "",
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01":  "",
		"00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01":  "",
		"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01":  "",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.": "",
	} {
		got := newTrace([]byte(header))
		if !wellFormed.MatchString(got.traceparent()) || want != "" && got.id() != want || want == "" && got.id() == id {
			t.Errorf("%q: %s", header, got.traceparent())
		}
	}
	if one, other := newTrace(nil), newTrace(nil); one.id() == other.id() {
		t.Error("two traces are one")
	}
}

func FuzzTrace(f *testing.F) {
	f.Add([]byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
	f.Fuzz(func(t *testing.T, header []byte) {
		if got := newTrace(header).traceparent(); !wellFormed.MatchString(got) {
			t.Fatalf("%q: %s", header, got)
		}
	})
}
