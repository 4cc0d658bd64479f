package chart

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// binaries is the directory with the services.
func binaries(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("BINARIES")
	if dir == "" {
		t.Fatal("run make chart-test (or set BINARIES to a directory with api, consumer and loadgen)")
	}
	return dir
}

// A variable that a service does not know is ignored in silence, so each that the chart sets must be in the table that the
// service prints of itself.
func TestServicesKnowTheVariablesTheyAreGiven(t *testing.T) {
	t.Parallel()
	binaries := binaries(t)
	// Read by libraries (pgx, the Go runtime), or put into another by the kubelet.
	elsewhere := []string{"PGUSER", "PGPASSWORD_FILE", "GOMEMLIMIT", "DATABASE_HOST"}
	known := map[string][]string{}
	for container, service := range map[string]string{"api": "api", "migrate": "api", "consumer": "consumer", "loadgen": "loadgen", "receiver": "loadgen", "test": "loadgen"} {
		known[container] = append(variables(t, filepath.Join(binaries, service)), elsewhere...)
	}
	everyPod(t, func(t *testing.T, object Object, pod corev1.PodTemplateSpec) {
		for _, container := range Containers(pod.Spec) {
			for _, variable := range container.Env {
				if names, ours := known[container.Name]; ours && !slices.Contains(names, variable.Name) {
					t.Errorf("%s: %s does not know %s", object, container.Name, variable.Name)
				}
			}
		}
	})
}

// row is one of the table; below it stand the variables that name files with secrets.
var row = regexp.MustCompile("(?m)^\\| `([A-Z0-9_]+)` |`([A-Z0-9_]+_FILE)`")

func variables(t *testing.T, binary string) []string {
	t.Helper()
	table, err := exec.CommandContext(context.Background(), binary, "config").Output()
	if err != nil {
		t.Fatalf("%s config: %v", binary, err)
	}
	var names []string
	for _, match := range row.FindAllSubmatch(table, -1) {
		names = append(names, string(match[1])+string(match[2]))
	}
	if len(names) < 5 {
		t.Fatalf("%s config names only %q", binary, names)
	}
	return names
}
