package secret_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"orderflow.example/kit/secret"
)

// Whatever a file is changed by, its version is another one: a secret that is not read again is refused, or taken, when it must not be.
func TestEachChangeOfAFileIsAnotherVersion(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret")
	moment := time.Now().Add(-time.Hour)
	write := func(path, text string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if none := secret.VersionOf(path); !none.Equal(secret.VersionOf(path)) || !none.Equal(secret.Version{}) {
		t.Error("a file that is not there is another one each time")
	}
	write(path, "first", moment)
	for _, change := range []struct {
		how string
		do  func()
	}{
		{"written to, by as much", func() { write(path, "other", moment.Add(time.Second)) }},
		{"written to at the same moment, by more", func() { write(path, "longer", moment.Add(time.Second)) }},
		{"replaced by one of the same size and moment", func() {
			write(path+".new", "newest", moment.Add(time.Second))
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}},
		{"removed", func() {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}},
		{"there again", func() { write(path, "again", moment) }},
	} {
		before := secret.VersionOf(path)
		change.do()
		if after := secret.VersionOf(path); after.Equal(before) || before.Equal(after) || !after.Equal(secret.VersionOf(path)) {
			t.Errorf("%s: nobody would notice, or always", change.how)
		}
	}
}
