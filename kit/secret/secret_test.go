package secret_test

import (
	"strings"
	"testing"

	"orderflow.example/kit/secret"
)

func TestAListIsSeparatedByCommasOrWhiteSpace(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{"": "", "a": "a", "a,b": "a b", "a, b": "a b", "a\nb\r\nc": "a b c", ",a,,b,": "a b", "abc==": "abc=="} {
		if got := strings.Join(secret.List(list), " "); got != want {
			t.Errorf("%q: %s", list, got)
		}
	}
}
