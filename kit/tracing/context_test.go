package tracing_test

import (
	"regexp"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"orderflow.example/kit/tracing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	const id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for header, want := range map[string]string{
		caller:                                                    caller,
		"00-" + id + "-" + parent + "-00":                         "00-" + id + "-" + parent + "-00",
		"00-" + id + "-" + parent + "-ff":                         caller, // other flags are not handed on
		"00-" + id + "-" + parent + "-02":                         "00-" + id + "-" + parent + "-00",
		"cc-" + id + "-" + parent + "-01":                         caller, // a later version
		"cc-" + id + "-" + parent + "-01-so":                      caller,
		"cc-" + id + "-" + parent + "-01so":                       "",
		caller + "-more":                                          "",
		"ff-" + id + "-" + parent + "-01":                         "",
		"00-" + id + "-" + parent + "-0":                          "",
		"00-" + id + "-" + parent + "-0g":                         "",
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01": "",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01": "",
		"00-" + id + "-0000000000000000-01":                       "",
		"00_" + id + "-" + parent + "-01":                         "",
		"":                                                        "",
	} {
		c := tracing.Parse(header)
		if got := map[bool]string{true: tracing.Format(c)}[c.IsValid()]; got != want {
			t.Errorf("%q is read as %q, want %q", header, got, want)
		}
		if bytes := tracing.Parse([]byte(header)); !bytes.Equal(c) {
			t.Errorf("%q is read in two ways", header)
		}
	}
}

var wellFormed = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$`)

// Whatever a caller sends, what is handed on is well formed.
func FuzzParse(f *testing.F) {
	f.Add([]byte(caller))
	f.Fuzz(func(t *testing.T, header []byte) {
		handed, _ := (*tracing.Tracer)(nil).Begin(tracing.Parse(header), "x", trace.SpanKindServer, time.Now())
		if text := tracing.Format(handed); !wellFormed.MatchString(text) || !handed.IsValid() {
			t.Fatalf("%q: %s", header, text)
		}
	})
}
