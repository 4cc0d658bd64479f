package mutants

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"orderflow.example/dev/internal/stack"
)

// Every mutant fits the code as it is: what has moved is noticed by `make test`, not first by the nightly run.
func TestEveryMutantApplies(t *testing.T) {
	t.Parallel()
	root, err := stack.Root()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	quick := 0
	for _, m := range All() {
		if m.Breaks == "" || seen[m.Breaks] {
			t.Errorf("two mutants break %q", m.Breaks)
		}
		seen[m.Breaks] = true
		if len(m.Edits) == 0 || m.By == (Test{}) {
			t.Errorf("%s: no change, or nothing that is to catch it", m.Breaks)
		}
		if _, err := m.changed(root); err != nil {
			t.Errorf("%s: %v", m.Breaks, err)
		}
		if !m.By.exists(t, root) {
			t.Errorf("%s: there is no %s", m.Breaks, m.By)
		}
		if m.Quick {
			quick++
		}
	}
	if len(seen) < 60 || quick < 8 || quick > len(seen)/8 { // the quick ones run before every change
		t.Errorf("%d mutants, %d of them quick", len(seen), quick)
	}
}

// exists says whether there is such a test, in the files of its package.
func (t Test) exists(tb testing.TB, root string) bool {
	tb.Helper()
	if t.Suite != "" {
		_, err := os.Stat(filepath.Join(root, "deploy/helm/orderflow", t.Suite))
		return err == nil
	}
	files, err := filepath.Glob(filepath.Join(root, t.Module, t.Package, "*_test.go"))
	if err != nil {
		tb.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		return strings.Contains(string(text), "func "+t.Name+"(")
	})
}

func TestSelectMutants(t *testing.T) {
	t.Parallel()
	for which, want := range map[string]func(Mutant) bool{
		"quick":               func(m Mutant) bool { return m.Quick },
		"verdict.go, TestX":   func(m Mutant) bool { return m.touches("verdict.go") },
		DropsOneInThousand:    func(m Mutant) bool { return m.Breaks == DropsOneInThousand },
		"TestTheVerdictIsRed": func(m Mutant) bool { return strings.HasPrefix(m.By.Name, "TestTheVerdictIsRed") },
	} {
		chosen, err := Select(which)
		if err != nil || len(chosen) == 0 {
			t.Errorf("%s: %d, %v", which, len(chosen), err)
		}
		for _, m := range chosen {
			if !want(m) {
				t.Errorf("%s: %s was chosen", which, m.Breaks)
			}
		}
	}
	for _, everything := range []string{"", "all"} {
		if chosen, err := Select(everything); err != nil || len(chosen) != len(All()) {
			t.Errorf("%q: %d, %v", everything, len(chosen), err)
		}
	}
	if _, err := Select("no such thing"); err == nil {
		t.Error("an unknown word: no error")
	}
}

// A change that does not fit exactly once is none, and a file that embeds is replaced like any other.
func TestOverlay(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a.sql"), []byte("one two two"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, old := range []string{"three", "two"} {
		if _, err := (Mutant{Edits: []Edit{{"a.sql", old, ""}}}).Overlay(root, t.TempDir()); err == nil || !strings.Contains(err.Error(), "does not apply") {
			t.Errorf("%q: %v", old, err)
		}
	}
	dir := t.TempDir()
	overlay, err := Mutant{Edits: []Edit{{"a.sql", "one", "1"}, {"a.sql", "1 two ", "2 "}}}.Overlay(root, dir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(overlay)
	if err != nil || !strings.Contains(string(list), filepath.Join(root, "a.sql")) {
		t.Errorf("%s, %v", list, err)
	}
	if changed, err := os.ReadFile(filepath.Join(dir, "a.sql")); err != nil || string(changed) != "2 two" {
		t.Errorf("%q, %v", changed, err)
	}
	if unchanged, err := os.ReadFile(filepath.Join(root, "a.sql")); err != nil || string(unchanged) != "one two two" {
		t.Errorf("the working copy was changed: %q, %v", unchanged, err)
	}
}

// Only the named test's failure catches a mutant: neither another's, nor code that does not compile.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	exit := errors.New("exit status 1")
	for _, test := range []struct {
		out  string
		err  error
		want Verdict
	}{
		{"--- PASS: TestX (0.00s)\nok", nil, Survived},
		{"--- FAIL: TestX (0.00s)\nFAIL", exit, Caught},
		{"    --- FAIL: TestX/one (0.00s)\n--- FAIL: TestX (0.00s)\nFAIL", exit, Caught},
		{"=== RUN   TestX\npanic: runtime error: index out of range", exit, Caught},
		{"=== RUN   TestX\npanic: test timed out after 3m0s", exit, CaughtByTime},
		{"--- FAIL: TestX (0.00s)\npanic: test timed out after 3m0s", exit, Caught},
		{"--- PASS: TestX (0.00s)\ngoleak: Errors on successful test run", exit, Unproven},
		{"--- FAIL: TestXY (0.00s)\nFAIL", exit, Unproven},
		{"./a.go:3:2: \"slices\" imported and not used\nFAIL\tx [build failed]", exit, Stale},
		{"--- FAIL: TestX (0.00s)\n    build services/consumer:\n./a.go:3:2: undefined: x", exit, Stale},
	} {
		if got, _ := goVerdict("TestX", test.out, test.err); got != test.want {
			t.Errorf("%q: %s, want %s", test.out, got, test.want)
		}
	}
	for _, test := range []struct {
		out  string
		err  error
		want Verdict
	}{
		{"Tests:       12 passed, 12 total", nil, Survived},
		{"Tests:       1 failed, 11 passed, 12 total", exit, Caught},
		{"parse error at (orderflow/templates/_pod.tpl:3)\nTests:       12 failed, 0 passed, 12 total", exit, Stale},
		{"no such file", exit, Unproven},
	} {
		if got, _ := chartVerdict(test.out, test.err); got != test.want {
			t.Errorf("%q: %s, want %s", test.out, got, test.want)
		}
	}
}

// A function that a later migration makes anew is the one that counts: a change to the older one changes nothing that a test could notice.
func TestEveryMutantOfAMigrationChangesWhatIsInForce(t *testing.T) {
	t.Parallel()
	root, err := stack.Root()
	if err != nil {
		t.Fatal(err)
	}
	const migrations = api + "/internal/schema/migrations/"
	files, err := filepath.Glob(filepath.Join(root, migrations, "*.sql"))
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	read := func(file string) string {
		text, err := os.ReadFile(file) //nolint:gosec // one of ours
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	made := regexp.MustCompile(`(?i)create (?:or replace )?function ([a-z_.]+)`)
	changed := 0
	for _, m := range All() {
		for _, e := range m.Edits {
			if !strings.HasPrefix(e.File, migrations) {
				continue
			}
			text := read(filepath.Join(root, e.File))
			at := strings.Index(text, e.Old)
			statement := text[:max(at, 0)]
			statement = statement[strings.LastIndex(statement, "+goose StatementEnd")+1:] + e.Old
			before := made.FindAllStringSubmatch(statement, -1)
			if len(before) == 0 {
				continue // a table's, say
			}
			changed++
			function := before[len(before)-1][1]
			for _, later := range files {
				if filepath.Base(later) <= filepath.Base(e.File) {
					continue
				}
				for _, anew := range made.FindAllStringSubmatch(read(later), -1) {
					if anew[1] == function {
						t.Errorf("%s: changes %s of %s, which %s replaces", m.Breaks, function, filepath.Base(e.File), filepath.Base(later))
					}
				}
			}
		}
	}
	if changed == 0 {
		t.Error("no mutant of a migration's function was looked at")
	}
}
