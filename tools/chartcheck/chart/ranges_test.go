package chart

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// What the chart lets through, the services have to start with: a range that is wider here than there is a pod that never gets
// up. So the binaries are given the ends of every range, and one wrong variable, which has to be the only one they name.
func TestServicesTakeTheEndsOfEveryRange(t *testing.T) {
	t.Parallel()
	binaries := binaries(t)
	most := set("queue.name", "a-"+strings.Repeat("b", 41), "postgres.maxConnections", 100000,
		"api.requestTimeout", "1m", "api.shutdownDelay", "10m", "api.drainTimeout", "10m", "api.databaseConnections", 1000,
		"consumer.batchSize", 10000, "consumer.visibilityTimeout", 43200, "consumer.concurrency", 10000, "consumer.prefetch", 100000,
		"consumer.maxAttempts", 1000, "consumer.maxCrashes", 100, "consumer.simulate.crash", "memory:Ada Lovelace", "consumer.backoff.base", "1h", "consumer.backoff.max", "24h", "consumer.backoff.multiplier", 10,
		"consumer.pollInterval", "5m", "consumer.drainTimeout", "1h", "consumer.simulate.work", "1h", "consumer.handlerTimeout", "11h59m59.999s",
		"loadgen.enabled", true, "loadgen.orders", 1000000000, "loadgen.concurrency", 20000, "loadgen.rate", 1000000,
		"loadgen.duration", "720h", "loadgen.activeDeadlineSeconds", 3000000, "loadgen.thresholds", "e2e_p99.9 <= 1m30s,error_rate<0.1%, lost==0")
	least := set("queue.name", "_", "api.requestTimeout", "100ms", "api.shutdownDelay", "0s", "api.drainTimeout", "100ms", "api.databaseConnections", 4,
		"consumer.batchSize", 1, "consumer.visibilityTimeout", 1, "consumer.concurrency", 1, "consumer.prefetch", 0, "consumer.maxAttempts", 1, "consumer.maxCrashes", 1,
		"consumer.backoff.base", "1ms", "consumer.backoff.max", "1ms", "consumer.backoff.multiplier", 1, "consumer.pollInterval", "10ms",
		"consumer.drainTimeout", "0s", "consumer.simulate.work", "0s", "consumer.handlerTimeout", "1ms",
		"loadgen.enabled", true, "loadgen.orders", 1, "loadgen.concurrency", 1, "loadgen.stages", "1ms:0.5, 0.5h:1000000")
	for name, values := range map[string]map[string]any{"most": most, "least": least} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects, err := Render(dir(t), Release{Name: "shop", Namespace: "orders", Values: values})
			if err != nil {
				t.Fatal(err)
			}
			for _, object := range objects {
				pod, _ := PodTemplate(object.Typed)
				for _, container := range pod.Spec.Containers {
					if service := container.Name; slices.Contains([]string{"api", "consumer", "loadgen"}, service) {
						if wrong := complaints(t, filepath.Join(binaries, service), container.Env); !slices.Equal(wrong, []string{"LOG_LEVEL"}) {
							t.Errorf("%s: refuses %q", service, wrong)
						}
					}
				}
			}
		})
	}
}

var complaint = regexp.MustCompile(`\b([A-Z][A-Z_]+)=\\?"`)

// complaints are the variables that a service names when it refuses to start.
func complaints(t *testing.T, binary string, env []corev1.EnvVar) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary)
	for _, variable := range env {
		// A file is of a Secret that is mounted in a pod only.
		if variable.ValueFrom == nil && variable.Name != "LOG_LEVEL" && !strings.HasSuffix(variable.Name, "_FILE") {
			cmd.Env = append(cmd.Env, variable.Name+"="+variable.Value)
		}
	}
	cmd.Env = append(cmd.Env, "LOG_LEVEL=wrong")
	output, err := cmd.CombinedOutput()
	if err == nil || ctx.Err() != nil {
		t.Fatalf("%s started with LOG_LEVEL=wrong: %v\n%s", binary, err, output)
	}
	var names []string
	for _, match := range complaint.FindAllSubmatch(output, -1) {
		names = append(names, string(match[1]))
	}
	return names
}
