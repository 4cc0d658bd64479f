package chart

import (
	"context"
	"encoding/json"
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

// A variable that the chart sets and the user sets, too, stands twice in the pod: which of them holds is anybody's guess, and a server-side
// apply refuses both. So the chart refuses the user's, by a list that has to be complete.
func TestAVariableThatTheChartSetsIsRefusedFromTheUser(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(dir(t), "files", "variables.json"))
	if err != nil {
		t.Fatal(err)
	}
	var refused map[string]map[string]string
	if err := json.Unmarshal(text, &refused); err != nil {
		t.Fatal(err)
	}
	// The containers whose variables the user can add to, by the key of the list.
	lists := map[string]string{"api": "api", "migrate": "api.migration", "consumer": "consumer", "loadgen": "loadgen"}
	everyPod(t, func(t *testing.T, object Object, pod corev1.PodTemplateSpec) {
		for _, container := range Containers(pod.Spec) {
			list, ours := lists[container.Name]
			if !ours {
				continue
			}
			for _, variable := range container.Env {
				_, own := refused[list][variable.Name]
				_, every := refused["every"][variable.Name]
				_, database := refused["of the database"][variable.Name]
				if !own && !every && (!database || list == "loadgen") && !usersOwn[variable.Name] {
					t.Errorf("%s: %s is set for %s, and not refused in the user's env", object, variable.Name, container.Name)
				}
			}
		}
	})
}

// usersOwn are those that the ci/ values set by env.
var usersOwn = map[string]bool{"LOG_REQUESTS": true, "WRITE_QUEUE": true}
