package logline_test

import (
	"strings"
	"testing"
	"unicode"

	"orderflow.example/dev/internal/logline"
)

func TestLinesAreReadable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"time":"bad","level":"INFO","msg":"Order 6 processed fail at first try","order_id":6,"msg_id":6,"attempt":1,"trace_id":"abc"}`: `INFO Order 6 processed fail at first try order_id=6 msg_id=6 attempt=1`,
		`{"level":"WARN","msg":"lost","error":"a b","config":{"vt":10}}`:                                                                 `WARN lost error="a b" config="{"vt":10}"`,
		`panic: runtime error`:        `panic: runtime error`,
		`{"broken`:                    `{"broken`,
		`{"level":"INFO"}`:            `{"level":"INFO"}`,
		"\x1b[31mred\x1b[0m\tand\x07": "[31mred[0m and",
	} {
		if got := logline.Parse(in).String(); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"time":"2026-01-07T19:48:03.1Z","level":"INFO","msg":"m","k":[1,{"a":"\u001b"}]}`)
	f.Add("{}")
	f.Add("\x1b]0;title\x07")
	f.Fuzz(func(t *testing.T, text string) {
		got := logline.Parse(text).String()
		if strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("%q became %q, which acts on a terminal", text, got)
		}
	})
}
