package logging_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"orderflow.example/kit/env"
	"orderflow.example/kit/logging"
)

func TestFormatsAndLevels(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ level, format, want string }{
		{"info", "json", `"level":"INFO"`},
		{"info", "auto", `"level":"INFO"`}, // a buffer is no terminal
		{"info", "text", "level=INFO"},
		{"error", "text", ""},
	} {
		var out bytes.Buffer
		log := logging.New(&out, test.level, test.format)
		log.Debug("d")
		log.Info("i")
		got := out.String()
		if strings.Count(got, "\n") > 1 || !strings.Contains(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%s, %s: %q", test.level, test.format, got)
		}
	}
}

// screen is a writer that ends on a terminal.
type screen struct{ bytes.Buffer }

func (*screen) Terminal() bool { return true }

func TestATerminalGetsText(t *testing.T) {
	t.Parallel()
	var out screen
	logging.New(&out, "info", "auto").Info("i")
	if !strings.Contains(out.String(), "level=INFO") {
		t.Error(out.String())
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	t.Parallel()
	p := env.Read(func(string) (string, bool) { return "", false }, &struct{}{})
	logging.LogSettings{LogLevel: "loud", LogFormat: "xml"}.CheckLog(p)
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), "LOG_LEVEL=") || !strings.Contains(err.Error(), "LOG_FORMAT=") {
		t.Error(err)
	}
}

// 54996336 of what? A duration reads the same in both formats.
func TestDurationsHaveTheirUnit(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{"json": `"took":"55ms"`, "text": "took=55ms"} {
		var out bytes.Buffer
		logging.New(&out, "info", format).Info("done", "took", 55*time.Millisecond)
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s: no %s in %s", format, want, out.String())
		}
	}
}
