package mutants

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tiny is a module of two tests. One is about its code; the other passes once and then fails for a reason that is none of the code's, as
// when a disk is full.
var tiny = map[string]string{
	"go.mod": "module example.com/tiny\n\ngo 1.26.0\n",
	"tiny.go": `package tiny

func two() int { return 2 }
`,
	"tiny_test.go": `package tiny

import (
	"os"
	"testing"
)

func TestTwo(t *testing.T) {
	if two() != 2 {
		t.Error(two())
	}
}

func TestDisk(t *testing.T) {
	f, err := os.OpenFile("full", os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal("no space left on device")
	}
	_ = f.Close()
}
`,
}

// What fails without any mutant after the last one has caught none, though it passed before the first.
func TestAMachineThatBreaksCatchesNothing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, text := range tiny {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edit := func(with string) []Edit { return []Edit{{"tiny.go", "return 2", with}} }
	r := Runner{Root: root, Dir: t.TempDir(), Jobs: 1, Limit: time.Minute, Say: t.Logf}
	outcomes, err := r.Run(t.Context(), []Mutant{
		{Breaks: "two is three", By: goTest(".", ".", "TestTwo"), Edits: edit("return 3")},
		{Breaks: "nothing, and the disk is full", By: goTest(".", ".", "TestDisk"), Edits: edit("return 1 + 1")},
		{Breaks: "nothing", By: goTest(".", ".", "TestTwo"), Edits: edit("return 1 + 1")},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Verdict{Caught, Unproven, Survived} {
		if o := outcomes[i]; o.Verdict != want {
			t.Errorf("%s: %s, want %s\n%s", o.Breaks, o.Verdict, want, o.Detail)
		}
	}
	if o := outcomes[1]; !strings.Contains(o.Detail, "afterwards") || !strings.Contains(o.Detail, "no space left on device") {
		t.Errorf("it is not said why: %q", o.Detail)
	}
}

// All that were caught are as they should be; by what is counted apart.
func TestTheTableCountsTimeOutsApart(t *testing.T) {
	t.Parallel()
	for last, test := range map[string]struct {
		verdicts []Verdict
		good     bool
	}{
		"mutants: 3 caught=2 caught_by_time=1 survived=0 stale=0 broken=0": {[]Verdict{Caught, CaughtByTime, Caught}, true},
		"mutants: 2 caught=1 caught_by_time=0 survived=1 stale=0 broken=0": {[]Verdict{Caught, Survived}, false},
		"mutants: 2 caught=0 caught_by_time=1 survived=0 stale=0 broken=1": {[]Verdict{CaughtByTime, Unproven}, false},
		"mutants: 1 caught=0 caught_by_time=0 survived=0 stale=1 broken=0": {[]Verdict{Stale}, false},
		"mutants: 0 caught=0 caught_by_time=0 survived=0 stale=0 broken=0": {nil, false},
	} {
		var out bytes.Buffer
		var outcomes []Outcome
		for _, v := range test.verdicts {
			outcomes = append(outcomes, Outcome{Mutant: Mutant{Breaks: "x"}, Verdict: v})
		}
		if good := Table(&out, outcomes); good != test.good || !strings.HasSuffix(out.String(), last+"\n") {
			t.Errorf("good is %v; %q is not the end of:\n%s", good, last, &out)
		}
	}
}
