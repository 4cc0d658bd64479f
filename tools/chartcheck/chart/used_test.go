package chart

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"

	"orderflow.example/tools/chartcheck/values"
)

// installations are such that each value means something in one of them. Their Secrets are made by somebody else: a rendering is the
// same each time, and differs only by what was changed.
func installations() []map[string]any {
	common := func(pairs ...any) map[string]any {
		return chartutil.MergeTables(set(pairs...), set("secrets.generate", false, "loadgen.enabled", true, "backup.enabled", true,
			"networkPolicy.enabled", true, "networkPolicy.egress.enabled", true, "networkPolicy.api.access", "listed",
			"api.podDisruptionBudget.enabled", true, "consumer.podDisruptionBudget.enabled", true,
			"metrics.monitors.enabled", true, "metrics.rules.enabled", true, "metrics.dashboard.enabled", true,
			"networkPolicy.egress.consumer", []any{map[string]any{"ports": []any{map[string]any{"port": 443}}}}, "networkPolicy.api.from", []any{map[string]any{"podSelector": map[string]any{}}}, "networkPolicy.metrics.from", []any{map[string]any{"podSelector": map[string]any{}}}))
	}
	return []map[string]any{
		common("api.tokens.enabled", true, "api.ingress.enabled", true, "api.ingress.hosts", []any{"orders.example.com"},
			"api.httpRoute.enabled", true, "api.httpRoute.parentRefs", []any{map[string]any{"name": "gateway"}},
			"consumer.autoscaling.mode", "keda", "tracing.endpoint", "http://collector:4318", "tracing.existingSecret", "collector", "tracing.sampler", "parentbased_traceidratio"),
		common("consumer.handler", "webhook", "receiver.enabled", true),
		common("consumer.handler", "webhook", "consumer.webhook.url", "https://erp.example.com/orders", "consumer.webhook.existingSecret", "erp",
			"consumer.webhook.tls.caSecret", "ca", "consumer.webhook.tls.certSecret", "client"),
		common("consumer.handler", "sql", "consumer.sql.function", "app.ship", "api.autoscaling.mode", "hpa", "consumer.autoscaling.mode", "hpa", "consumer.autoscaling.hpa.targetCPU", 80),
		common("consumer.autoscaling.mode", "keda", "postgres.enabled", false, "externalDatabase.host", "db", "externalDatabase.existingSecret", "db",
			"externalDatabase.sslmode", "verify-full", "externalDatabase.caSecret", "ca", "externalDatabase.clientCertificateSecret", "client"),
		common("postgres.enabled", false, "externalDatabase.existingSecret", "db", "externalDatabase.hostKey", "host", "externalDatabase.sslmode", "require",
			"api.service.type", "NodePort", "api.service.nodePort", 30080, "api.allowAnonymous", true,
			"consumer.handler", "webhook", "consumer.webhook.existingSecret", "erp", "consumer.webhook.urlKey", "address",
			"loadgen.apiUrl", "http://other:8000", "loadgen.token.existingSecret", "other", "networkPolicy.egress.loadgen", []any{map[string]any{"ports": []any{map[string]any{"port": 8000}}}}),
		common("postgres.enabled", false, "database.roles.separate", false, "externalDatabase.existingSecret", "db", "externalDatabase.uriKey", "uri"),
	}
}

// others are values that differ from a default, in the hope that the templates and their checks take one of them.
func others(value *values.Value, now any) []any {
	candidates := []any{}
	if listed, ok := value.Keywords["enum"].([]any); ok {
		candidates = append(candidates, listed...)
	}
	switch v := now.(type) {
	case bool:
		candidates = append(candidates, !v)
	case float64:
		candidates = append(candidates, v+1, v-1, v*2)
	case []any:
		candidates = append(candidates, []any{"added"}, []any{map[string]any{"name": "added"}}, []any{map[string]any{"name": "added", "value": "added"}},
			[]any{map[string]any{"name": "added", "image": "added:1"}}, []any{map[string]any{"configMapRef": map[string]any{"name": "added"}}},
			[]any{map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "added"}}})
	case map[string]any:
		added := maps.Clone(v)
		for _, more := range []any{"added", 17, map[string]any{"added": 1}} {
			added["added"] = more
			candidates = append(candidates, maps.Clone(added))
		}
		candidates = append(candidates, map[string]any{"type": "Recreate"}, map[string]any{"limits": map[string]any{"memory": "77Mi"}}, map[string]any{"runAsUser": 77},
			map[string]any{"imagePullSecrets": []any{map[string]any{"name": "added"}}}, map[string]any{"failureThreshold": 77}, map[string]any{"preStop": map[string]any{"exec": map[string]any{"command": []any{"added"}}}})
	default: // text, or nothing yet
		candidates = append(candidates, "added", "77s", "1m17s", "15s", "3s", "1s", "77Mi", "77", 77, 7, "17:1", "https://added.example.com/{trace_id}", "1s:2", "lost==0", "8:4", true,
			"503:5%:2s", "app.added", "Added/Zone", "7 7 * * *", map[string]any{"added": "added"}, "verify-ca", "80%")
	}
	return slices.DeleteFunc(candidates, func(c any) bool { return reflect.DeepEqual(c, now) })
}

// A value that changes nothing is a promise that nobody keeps: a variable that was forgotten, a list that nobody passes on.
func TestEveryValueChangesWhatIsRendered(t *testing.T) {
	t.Parallel()
	loaded, err := loader.Load(dir(t))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(dir(t), "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	root, err := values.Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	var bases []map[string]string
	for i, installation := range installations() {
		files, err := text(loaded, installation)
		if err != nil {
			t.Fatalf("installation %d: %v", i, err)
		}
		bases = append(bases, files)
	}
	leaves := 0
	var visit func(value *values.Value)
	visit = func(value *values.Value) {
		if value.Group() {
			for _, child := range value.Children {
				visit(child)
			}
			return
		}
		leaves++
		t.Run(value.Path, func(t *testing.T) {
			t.Parallel()
			if why := exempt[value.Path]; why != "" {
				t.Skip(why)
			}
			var refused error
			for n := 0; ; n++ { // the likely candidates in all installations, before the others
				tried := false
				for i, installation := range installations() {
					candidates := others(value, at(chartutil.CoalesceTables(installation, loaded.Values), value.Path))
					if n >= len(candidates) {
						continue
					}
					tried = true
					files, err := text(loaded, chartutil.MergeTables(set(value.Path, candidates[n]), installations()[i]))
					if err != nil {
						refused = err
						continue
					}
					if !maps.Equal(files, bases[i]) {
						return
					}
				}
				if !tried {
					break
				}
			}
			t.Errorf("whatever it is, the same is rendered (the last that was refused: %v)", refused)
		})
	}
	visit(root)
	if leaves < 200 {
		t.Errorf("only %d values", leaves)
	}
}

// exempt are the values that change no object by themselves.
var exempt = map[string]string{
	"enabled":            "it is for charts that have this one among their dependencies",
	"api.allowAnonymous": "only the checks ask for it: see tests/validate_test.yaml",
	"postgres.enabled":   "alone it contradicts externalDatabase, one way or the other: the installations have both",
	"receiver.enabled":   "alone it contradicts the handler, one way or the other: the installations have both",
}

// at is what a path leads to among values; nil for what is not there.
func at(all map[string]any, path string) any {
	var here any = all
	for key := range strings.SplitSeq(path, ".") {
		table, ok := here.(map[string]any)
		if !ok {
			return nil
		}
		here = table[key]
	}
	return here
}

// text renders the chart as text: two renderings are compared, not understood.
func text(of *chart.Chart, own map[string]any) (map[string]string, error) {
	options := chartutil.ReleaseOptions{Name: "shop", Namespace: "orders", Revision: 1, IsInstall: true}
	given, err := chartutil.ToRenderValuesWithSchemaValidation(of, own, options, chartutil.DefaultCapabilities, true) // whether the schema takes them is asked elsewhere
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(of, given)
	for name := range files {
		if strings.HasSuffix(name, ".txt") {
			delete(files, name)
		}
	}
	return files, err
}
