package chart

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/strvals"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// example is a way to configure the chart that somebody will copy.
type example struct {
	where  string // file and line
	kind   string // "Application", "HelmRelease", "values", "--set"
	values map[string]any
}

// What the documentation shows is rendered as its tool renders it, twice: the second time nothing changes. Argo CD renders without the
// cluster; Flux and Helm look things up in it.
func TestEveryExampleOfTheDocumentationCanBeAppliedTwice(t *testing.T) {
	t.Parallel()
	found := map[string]int{}
	for _, e := range append(documented(t), files(t)...) {
		found[e.kind]++
		t.Run(e.kind+" "+e.where, func(t *testing.T) {
			t.Parallel()
			release := Release{Name: "shop", Namespace: "orders", Values: e.values}
			there := cluster{}
			if e.kind != "Application" {
				release.Cluster = there
			}
			first := there.apply(t, release)
			release.Upgrade = e.kind != "Application" // Argo CD's `helm template` always installs
			same(t, first, there.apply(t, release))
		})
	}
	for kind, least := range map[string]int{"Application": 1, "HelmRelease": 1, "values": 4, "--set": 4, "file": 15} {
		if found[kind] < least {
			t.Errorf("%d examples of kind %s were found, of at least %d", found[kind], kind, least)
		}
	}
}

// files are the values that lie beside the chart, and those of `make deploy`.
func files(t *testing.T) []example {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir(t), "ci", "*-values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var all []example
	for _, name := range append(names, filepath.Join(root(t), "deploy", "kind", "values.yaml")) {
		all = append(all, example{where: filepath.Base(name), kind: "file", values: read(t, name)})
	}
	return all
}

func root(t *testing.T) string {
	t.Helper()
	return filepath.Join(dir(t), "..", "..", "..")
}

var (
	block   = regexp.MustCompile("(?ms)^ *```ya?ml\n(.*?)^ *```")
	command = regexp.MustCompile(`(?m)^.*--set.*$`)
	setting = regexp.MustCompile(`--set(?:-string)? ([A-Za-z][A-Za-z.]*=[^\s'"` + "`" + `]+)`)
)

// documented are the examples in Markdown: blocks of YAML and settings of commands.
func documented(t *testing.T) []example {
	t.Helper()
	chart, err := loader.Load(dir(t))
	if err != nil {
		t.Fatal(err)
	}
	var all []example
	err = filepath.WalkDir(root(t), func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "node_modules"):
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root(t), path)
		at := func(offset int) string {
			return fmt.Sprintf("%s:%d", name, 1+strings.Count(string(text[:offset]), "\n"))
		}
		for _, match := range block.FindAllSubmatchIndex(text, -1) {
			var object map[string]any
			if err := yaml.Unmarshal(text[match[2]:match[3]], &object); err != nil {
				t.Errorf("%s: %v", at(match[0]), err)
				continue
			}
			if e, ours := configuring(chart.Values, object); ours {
				e.where = at(match[0])
				all = append(all, e)
			}
		}
		for _, line := range command.FindAllIndex(text, -1) {
			values := map[string]any{}
			for _, match := range setting.FindAllSubmatch(text[line[0]:line[1]], -1) {
				if err := strvals.ParseInto(string(match[1]), values); err != nil {
					t.Errorf("%s: %v", at(line[0]), err)
				}
			}
			all = append(all, example{where: at(line[0]), kind: "--set", values: values})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// configuring is what a block of YAML says about the chart, if anything: an object of a GitOps tool, or values. A block of values has a key
// of ours at its top; a misspelt one beside it is refused when it is rendered.
func configuring(ours, object map[string]any) (e example, about bool) {
	switch kind, _ := object["kind"].(string); kind {
	case "Application":
		values, _, _ := unstructured.NestedMap(object, "spec", "source", "helm", "valuesObject")
		return example{kind: kind, values: values}, true
	case "HelmRelease":
		values, _, _ := unstructured.NestedMap(object, "spec", "values")
		return example{kind: kind, values: values}, true
	}
	for key := range object {
		if _, has := ours[key]; has {
			return example{kind: "values", values: object}, true
		}
	}
	return example{}, false
}
