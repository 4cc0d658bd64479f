// Package mutants breaks the program in small ways, one at a time, and sees whether the tests notice. Each mutant names what it breaks
// and the test that must catch it: a test that cannot fail proves nothing.
//
// The working copy is never touched. Go's build reads the changed files through an overlay, embedded SQL included, and the chart is
// copied. A mutant that no longer applies, does not compile or survives is a failure: the list has to follow the code.
package mutants

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Mutant is one small change that breaks a promise.
type Mutant struct {
	Breaks string // what it breaks, in words; also its name
	Edits  []Edit
	By     Test // what must catch it
	Quick  bool // one of those that run before every change lands
}

// Edit replaces a piece of a file that occurs in it exactly once.
type Edit struct{ File, Old, New string } // File from the top of the working copy

// Test is what must fail: a Go test, or a suite of the chart's unit tests.
type Test struct {
	Module, Package, Name string // as in services/api, ./internal/orders, TestX
	Suite                 string // as in tests/api_test.yaml
}

func (t Test) String() string {
	if t.Suite != "" {
		return t.Suite
	}
	return strings.TrimSuffix(filepath.Join(t.Module, t.Package), "/") + " " + t.Name
}

// place is where a test is: a package, or the suite itself. Tests of one place run together.
func (t Test) place() Test {
	t.Name = ""
	return t
}

func goTest(module, pkg, name string) Test { return Test{Module: module, Package: pkg, Name: name} }

func suite(name string) Test { return Test{Suite: "tests/" + name + "_test.yaml"} }

// All are all mutants.
func All() []Mutant {
	return slices.Concat(
		loadgenMutants(),
		receiverMutants(),
		devMutants(),
		chartMutants(),
		apiMutants(),
		accessMutants(),
		connectionMutants(),
		poolerMutants(),
		schemaMutants(),
		consumerMutants(),
		attemptMutants(),
		leaseMutants(),
		loadMutants(),
		historyMutants(),
		breakerMutants(),
		tracesMutants(),
		metricsMutants(),
		workMutants(),
		edgeMutants(),
		webhookMutants(),
		twinMutants(),
		yearsMutants(),
		dashboardMutants(),
		failoverMutants(),
		outageMutants(),
		alertMutants(),
		screenMutants(),
		probeMutants(),
		deployMutants(),
		kitMutants(),
	)
}

// Select picks the quick ones, those whose name or test contains one of some words, or all ("" and "all").
func Select(which string) ([]Mutant, error) {
	all := All()
	switch which {
	case "", "all":
		return all, nil
	case "quick":
		return slices.DeleteFunc(all, func(m Mutant) bool { return !m.Quick }), nil
	}
	var chosen []Mutant
	for _, m := range all {
		for word := range strings.SplitSeq(which, ",") {
			if word = strings.TrimSpace(word); word != "" && (strings.Contains(m.Breaks, word) || strings.Contains(m.By.String(), word) || m.touches(word)) {
				chosen = append(chosen, m)
				break
			}
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("MUTANTS=%q: no mutant has that in its name, its files or its test; all, quick, or such words separated by commas", which)
	}
	return chosen, nil
}

func (m Mutant) touches(word string) bool {
	return slices.ContainsFunc(m.Edits, func(e Edit) bool { return strings.Contains(e.File, word) })
}

// changed returns the files that the mutant changes, with their new text. An edit that does not fit exactly once is an error: what
// it was about has moved, and the mutant has to follow.
func (m Mutant) changed(root string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, e := range m.Edits {
		text, ok := files[e.File]
		if !ok {
			var err error
			if text, err = os.ReadFile(filepath.Join(root, e.File)); err != nil {
				return nil, fmt.Errorf("does not apply: %w", err)
			}
		}
		if n := strings.Count(string(text), e.Old); n != 1 {
			return nil, fmt.Errorf("does not apply: %s contains the text to replace %d times, not once:\n%s", e.File, n, e.Old)
		}
		files[e.File] = []byte(strings.Replace(string(text), e.Old, e.New, 1))
	}
	return files, nil
}

// Overlay writes the changed files into an empty directory and returns the path of a JSON file for `go build -overlay`.
func (m Mutant) Overlay(root, dir string) (string, error) {
	files, err := m.changed(root)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for file, text := range files {
		copied := filepath.Join(dir, strings.ReplaceAll(file, "/", "__"))
		if err := os.WriteFile(copied, text, 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(root, file)] = copied
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, list, 0o600)
}

// chart copies the chart into a directory, with the mutant's changes.
func (m Mutant) chart(root, dir string) error {
	files, err := m.changed(root)
	if err != nil {
		return err
	}
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, chartDir))); err != nil {
		return err
	}
	for file, text := range files {
		inside, err := filepath.Rel(chartDir, file)
		if err != nil || strings.HasPrefix(inside, "..") {
			return fmt.Errorf("%s is not in the chart", file)
		}
		if err := os.WriteFile(filepath.Join(dir, inside), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

const chartDir = "deploy/helm/orderflow"
