package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/yaml"
)

// dir is the chart under test: CHART, or its place in this repository.
func dir(t *testing.T) string {
	t.Helper()
	if chart := os.Getenv("CHART"); chart != "" {
		return chart
	}
	return filepath.Join("..", "..", "..", "deploy", "helm", "orderflow")
}

// everyRendering runs check on what the chart renders with each of its ci/*-values.yaml.
func everyRendering(t *testing.T, check func(t *testing.T, objects []Object)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir(t), "ci", "*-values.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no ci/*-values.yaml: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), "-values.yaml"), func(t *testing.T) {
			t.Parallel()
			objects, err := Render(dir(t), Release{Name: "shop", Namespace: "orders", Values: read(t, file)})
			if err != nil {
				t.Fatal(err)
			}
			check(t, objects)
		})
	}
}

func read(t *testing.T, file string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// set makes nested values from dotted paths: set("consumer.replicas", 5).
func set(pairs ...any) map[string]any {
	values := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		at := values
		path := strings.Split(pairs[i].(string), ".")
		for _, key := range path[:len(path)-1] {
			next, ok := at[key].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[key] = next
			}
			at = next
		}
		at[path[len(path)-1]] = pairs[i+1]
	}
	return values
}
