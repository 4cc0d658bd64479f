package cursor

import (
	"encoding/base64"
	"testing"
)

func TestCursorBelongsToItsList(t *testing.T) {
	t.Parallel()
	made := Make("123", "orders", "dead", "")
	if position, err := Read(made, "orders", "dead", ""); err != nil || position != "123" {
		t.Errorf("got %q, %v", position, err)
	}
	for _, list := range [][]string{{"orders", "", "dead"}, {"orders", "dead"}, {"ordersdead", ""}, {"dead_letters", "dead", ""}, nil} {
		if _, err := Read(made, list...); err == nil {
			t.Errorf("was taken by %v", list)
		}
	}
	// Each single bit counts.
	raw, err := base64.RawURLEncoding.DecodeString(made)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(raw) * 8 {
		forged := append([]byte{}, raw...)
		forged[i/8] ^= 1 << (i % 8)
		if _, err := Read(base64.RawURLEncoding.EncodeToString(forged), "orders", "dead", ""); err == nil {
			t.Errorf("with bit %d changed it was taken", i)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("", "123", "orders")
	f.Add(Make("123", "orders"), "123", "orders")
	f.Fuzz(func(t *testing.T, forged, position, list string) {
		if position != "" && len(position) < maxPosition {
			if got, err := Read(Make(position, list), list); err != nil || got != position {
				t.Fatalf("%q became %q, %v", position, got, err)
			}
		}
		// Whatever is taken is what would have been made.
		if got, err := Read(forged, list); err == nil && Make(got, list) != forged {
			t.Fatalf("%q was taken as %q", forged, got)
		}
	})
}
