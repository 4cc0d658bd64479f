package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pretend puts programs in the place of kubectl and helm: they note what they are called with, and answer by a shell's case.
func pretend(t *testing.T, kubectl, helm string) (s *suite, calls func(program string) []string) {
	t.Helper()
	dir := t.TempDir()
	for name, cases := range map[string]string{"kubectl": kubectl, "helm": helm} {
		script := "#!/bin/sh\nset -eu\nprintf '%s\\n' \"$*\" >> '" + filepath.Join(dir, name+".calls") + "'\ncd '" + dir + "'\ncase \"$*\" in\n" + cases + "\nesac\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil { //nolint:gosec // it is to be run
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	s = &suite{cluster: cluster{context: "nowhere", namespace: "none", helm: filepath.Join(dir, "helm")}, chart: "chart", tag: "t"}
	return s, func(program string) []string {
		text, err := os.ReadFile(filepath.Join(dir, program+".calls"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
}

const allReady = `*"get --output json pods"*) echo '{"items": [{"status": {"conditions": [{"type": "Ready", "status": "True"}]}}]}' ;;
*" logs "*) echo '"msg":"serving" "msg":"Starting consumer for queue' ;;`

// A volume that the chart's Postgres has initialised is none for another major version: the first install has to be with the run's.
func TestEveryInstallHasTheRunsPostgres(t *testing.T) {
	for image, plain := range map[string]string{
		"":            "install orderflow chart",
		"postgres:14": "install orderflow chart --set postgres.image=postgres:14",
	} {
		s, calls := pretend(t, allReady, `*" upgrade "*) echo 'far enough' >&2; exit 1 ;;`)
		s.postgresImage = image
		if err := install(t.Context(), s); err == nil || !strings.Contains(err.Error(), "far enough") {
			t.Fatal(err)
		}
		got := calls("helm")
		if len(got) != 2 || !strings.HasSuffix(got[0], " "+plain) {
			t.Fatalf("with the image %q, helm was called with %q", image, got)
		}
		if slices.Contains(strings.Fields(got[1]), "postgres.image="+image) != (image != "") {
			t.Errorf("with the image %q, the upgrade is %s", image, got[1])
		}
	}
}

// Where the cluster once does not answer, it is asked again; a load that has failed is not waited for.
func TestALoadFlowsWhenItsOrdersAreCompleted(t *testing.T) {
	const (
		onceNot = `*" job "*) [ -e asked ] || { touch asked; echo 'etcdserver: request timed out' >&2; exit 1; }; echo '{}' ;;`
		failed  = `*" job "*) echo '{"status": {"conditions": [{"type": "Failed", "status": "True"}]}}' ;;`
		enough  = `*" exec "*) echo 20 ;;`
	)
	for kubectl, want := range map[string]string{onceNot + enough: "", failed + enough: "loadgen failed before it began"} {
		s, _ := pretend(t, kubectl, "")
		got := ""
		if err := (&load{suite: s, job: "loadgen", run: "r"}).flowing(t.Context()); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// What goes on when the load is over has not been shown to stand it.
func TestAStepThatOutlastsTheLoadHasShownNothing(t *testing.T) {
	const (
		still   = `*" exec "*) echo 20 ;;`
		growing = `*" exec "*) echo x >> orders; wc -l < orders ;;`
		over    = `*" job "*) echo '{"status": {"conditions": [{"type": "Complete", "status": "True"}]}}' ;;`
		atWork  = `*" job "*) echo '{}' ;;`
		failed  = `*" job "*) echo '{"status": {"conditions": [{"type": "Failed", "status": "True"}]}}' ;;`
	)
	for _, c := range []struct {
		name, kubectl string
		shown         bool
	}{
		{"over", still + over, false},
		{"orders come in", growing + atWork, true},
		{"orders have come in, and now it is over", growing + over, true},
		{"it has failed, which wait says", still + failed, true},
	} {
		s, _ := pretend(t, c.kubectl, "")
		l := &load{suite: s, job: "loadgen", run: "r"}
		err := l.outlasts(t.Context(), "the step")
		if shown := err == nil; shown != c.shown || !shown && !strings.Contains(err.Error(), "the step outlasted the load, so it has shown nothing") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Where the load is over before the step, both are repeated, with a longer one.
func TestAStepIsRepeatedWithALongerLoad(t *testing.T) {
	s, calls := pretend(t, `
		*" apply "*) cat > /dev/null; echo x >> loads ;;
		*" exec "*) if [ "$(wc -l < loads)" -lt 3 ]; then echo 20; else echo x >> orders; echo $((20 + $(wc -l < orders))); fi ;;
		*" job "*) echo '{"metadata": {"uid": "run"}, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}' ;;
		*" pods "*) echo '{"items": [{"status": {"containerStatuses": [{"state": {"terminated": {"message": "{\"Audit\": {\"Accepted\": 7, \"Completed\": 7}}"}}}]}}]}' ;;`,
		`*" template "*) printf 'metadata:\n  name: loadgen\n' ;;`)
	s.settings = map[string]string{}
	steps := 0
	_, got, err := s.underLoad(t.Context(), "x", "the step", map[string]string{"duration": "20s"}, func() error { steps++; return nil })
	if err != nil || steps != 3 || got.Completed != 7 || s.total.Completed != 21 {
		t.Fatalf("%v after %d steps: %v, in all %v", err, steps, got, s.total)
	}
	for i, call := range calls("helm") {
		if length := []string{"20s", "40s", "1m20s"}[i]; !strings.Contains(call, "loadgen.duration="+length+" ") {
			t.Errorf("load %d: %s", i+1, call)
		}
	}
}

// A run that failed is excused for what it may fail for, and for nothing else.
func TestARunIsExcusedForWhatItMay(t *testing.T) {
	t.Parallel()
	forged, lost := "receiver: 79 forged: no valid signature", "1 order lost"
	for name, c := range map[string]struct {
		excused string
		faults  [][]string
		want    bool
	}{
		"what it may":               {"forged", [][]string{{forged}, {}}, true},
		"something else":            {"forged", [][]string{{lost}}, false},
		"something else as well":    {"forged", [][]string{{forged}, {lost}}, false},
		"it does not say for what":  {"forged", [][]string{{}}, false},
		"there is nothing it may":   {"", [][]string{{forged}}, false},
		"no load generator reports": {"forged", nil, false},
	} {
		var reports []report
		for _, faults := range c.faults {
			reports = append(reports, report{Faults: faults})
		}
		if got := (&load{excused: c.excused}).excuses(reports); got != c.want {
			t.Errorf("%s: excused %t", name, got)
		}
	}
}
