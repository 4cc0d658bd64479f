package logging_test

import (
	"bytes"
	"strings"
	"testing"

	"orderflow.example/services/api/internal/logging"
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
