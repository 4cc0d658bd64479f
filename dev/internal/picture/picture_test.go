// Package picture checks the picture of packages in docs/architecture.md: each arrow is an import, and arrows lead to whatever is imported.
package picture

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"orderflow.example/dev/internal/stack"
)

// graph has a package's imports from the same module. One without any is in it, too.
type graph map[string][]string

func (g graph) leads(from, to string, seen map[string]bool) bool {
	seen[from] = true
	return slices.ContainsFunc(g[from], func(next string) bool { return next == to || !seen[next] && g.leads(next, to, seen) })
}

func faults(drawn, imports graph) (found []string) {
	for from, arrows := range drawn {
		for _, to := range arrows {
			if !slices.Contains(imports[from], to) {
				found = append(found, from+" does not import "+to)
			}
		}
	}
	for from := range imports {
		if _, ok := drawn[from]; !ok {
			found = append(found, from+" is missing")
			continue
		}
		for _, to := range imports[from] {
			if !drawn.leads(from, to, map[string]bool{}) {
				found = append(found, from+" imports "+to+", and no arrows lead there")
			}
		}
	}
	slices.Sort(found)
	return found
}

// read reads the picture: below the name of each module lines such as "a, b ─▶ c ─▶ d (a note)".
func read(page string) map[string]graph {
	_, page, _ = strings.Cut(page, "\n## Packages\n")
	_, page, _ = strings.Cut(page, "\n```\n")
	page, _, _ = strings.Cut(page, "```\n")
	modules := map[string]graph{}
	var module graph
	for line := range strings.Lines(page) {
		line, _, _ = strings.Cut(line, "(")
		if line[0] != ' ' && strings.TrimSpace(line) != "" {
			module = graph{}
			modules[strings.TrimSpace(line)] = module
			continue
		}
		var before []string
		for group := range strings.SplitSeq(line, "─▶") {
			here := strings.Fields(strings.ReplaceAll(group, ",", " "))
			for _, name := range here {
				if _, ok := module[name]; !ok {
					module[name] = nil
				}
			}
			for _, from := range before {
				module[from] = append(module[from], here...)
			}
			before = here
		}
	}
	return modules
}

// imported are the imports as the picture names them: main, and the others without internal.
func imported(t *testing.T, root, module string) graph {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.Name}} {{.ImportPath}} {{join .Imports " "}}`, "./...")
	list.Dir, list.Env = filepath.Join(root, module), append(os.Environ(), "GOWORK=off")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list in %s: %v", module, err)
	}
	g, base := graph{}, "orderflow.example/"+module
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		from := strings.TrimPrefix(strings.TrimPrefix(words[1], base+"/"), "internal/")
		switch {
		case words[1] == base && words[0] == "main":
			from = "main"
		case words[1] == base: // words about the module
			continue
		}
		g[from] = nil
		for _, path := range words[2:] {
			if to, ours := strings.CutPrefix(path, base+"/"); ours {
				g[from] = append(g[from], strings.TrimPrefix(to, "internal/"))
			}
		}
	}
	return g
}

func TestThePictureOfPackagesIsTrue(t *testing.T) {
	t.Parallel()
	root, err := stack.Root()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	pictures := read(string(page))
	if got, want := slices.Sorted(maps.Keys(pictures)), []string{"dev", "kit", "services/api", "services/consumer", "services/loadgen"}; !slices.Equal(got, want) {
		t.Fatalf("a picture of %q, want %q", got, want)
	}
	for module, drawn := range pictures {
		for _, fault := range faults(drawn, imported(t, root, module)) {
			t.Errorf("docs/architecture.md, packages of %s: %s", module, fault)
		}
	}
}

func TestWhatIsWrongWithAPicture(t *testing.T) {
	t.Parallel()
	imports := graph{"main": {"a", "c"}, "a": {"b"}, "b": {"c"}, "c": nil}
	for picture, want := range map[string][]string{
		"  main ─▶ a ─▶ b ─▶ c (a note)": nil, // main imports c, too: arrows lead there
		"  main ─▶ a, c\n  a ─▶ b ─▶ c":  nil,
		"  main ─▶ a ─▶ b, c":            {"a does not import c", "b imports c, and no arrows lead there"},
		"  main ─▶ a ─▶ b\n  c":          {"b imports c, and no arrows lead there", "main imports c, and no arrows lead there"},
		"  main ─▶ a ─▶ b ─▶ c ─▶ d":     {"c does not import d"},
		"  main ─▶ c":                    {"a is missing", "b is missing", "main imports a, and no arrows lead there"},
	} {
		drawn := read("\n## Packages\n\n```\nm\n" + picture + "\n```\n")["m"]
		if got := faults(drawn, imports); !slices.Equal(got, want) {
			t.Errorf("%s\nhas the faults %q, want %q", picture, got, want)
		}
	}
}
