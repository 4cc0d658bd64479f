package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// chart makes a small one whose generated files are current.
func chart(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "files"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"values.yaml": "# How many pods.\n# @synonyms replicaCount\nreplicas: 2\n# Where it runs.\nplace:\n  # Its name.\n  name: here\n",
		"README.md":   "# Chart\n\n<!-- values -->\n<!-- /values -->\n\nThe end.\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := run([]string{"write", dir}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// verify passes on what write has written, and fails on each file that says something else, leaving all of them as they are.
func TestVerifyFailsWhenSomethingIsOutOfDate(t *testing.T) {
	t.Parallel()
	if err := run([]string{"verify", chart(t)}); err != nil {
		t.Fatalf("just written: %v", err)
	}
	for name, test := range map[string]struct{ file, old, new, says string }{
		"a default has changed":         {"values.yaml", "replicas: 2", "replicas: 3", "values.schema.json"},
		"a description has changed":     {"values.yaml", "How many pods.", "How many pods there are.", "README.md"},
		"a value is new":                {"values.yaml", "# Where it runs.", "# Its colour.\ncolour: red\n# Where it runs.", "values.schema.json"},
		"the schema was edited":         {"values.schema.json", "How many pods.", "Pods.", "values.schema.json"},
		"a name of other charts is new": {"values.yaml", "@synonyms replicaCount", "@synonyms pods", "instead.json"},
		"the README was edited":         {"README.md", "How many pods.", "Pods.", "README.md"},
		"nobody explained a value":      {"values.yaml", "# How many pods.\n", "", "replicas: has no description"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := chart(t)
			path := filepath.Join(dir, test.file)
			before, err := os.ReadFile(path)
			if err != nil || !strings.Contains(string(before), test.old) {
				t.Fatalf("%s has no %q (%v):\n%s", test.file, test.old, err, before)
			}
			changed := strings.Replace(string(before), test.old, test.new, 1)
			if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := run([]string{"verify", dir}); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want an error about %s", err, test.says)
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != changed {
				t.Errorf("verify has changed %s (%v)", test.file, err)
			}
		})
	}
	missing := chart(t)
	if err := os.Remove(filepath.Join(missing, "values.schema.json")); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"verify", missing}); err == nil {
		t.Error("without a schema: no error")
	}
	if err := run([]string{"check", missing}); err == nil || !strings.Contains(err.Error(), "usage") {
		t.Errorf("an unknown verb: %v", err)
	}
}
