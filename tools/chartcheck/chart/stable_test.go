package chart

import (
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
)

// What restarts Postgres, or runs the load generator again, is what concerns them.
func TestUpgradesTouchOnlyWhatTheyConcern(t *testing.T) {
	t.Parallel()
	job, conf := stable(t, "0.1.0", set("loadgen.enabled", true))
	for _, same := range []struct {
		version string
		values  map[string]any
	}{
		{"9.9.9", set("loadgen.enabled", true)},
		{"0.1.0", set("loadgen.enabled", true, "consumer.replicas", 7, "api.replicas", 3)},
		{"0.1.0", set("loadgen.enabled", true, "log.level", "info", "consumer.simulate.work", "2s")},
	} {
		if otherJob, otherConf := stable(t, same.version, same.values); otherJob != job || otherConf != conf {
			t.Errorf("chart %s with %v: touches the load generator or Postgres", same.version, same.values)
		}
	}
	if other, _ := stable(t, "0.1.0", set("loadgen.enabled", true, "loadgen.orders", 500)); other == job {
		t.Error("other settings of the load generator are the same Job")
	}
	if _, other := stable(t, "0.1.0", set("loadgen.enabled", true, "postgres.resources.limits.memory", "1Gi")); other == conf {
		t.Error("other settings of Postgres do not restart it")
	}
}

// stable is what names the load generator's Job, and the checksum of Postgres' settings with the pod's labels.
func stable(t *testing.T, version string, values map[string]any) (job, postgres string) {
	t.Helper()
	chart, err := loader.Load(dir(t))
	if err != nil {
		t.Fatal(err)
	}
	chart.Metadata.Version = version
	objects, err := render(chart, Release{Name: "shop", Namespace: "orders", Values: values})
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		switch o := object.Typed.(type) {
		case *batchv1.Job:
			job = o.Name
		case *appsv1.StatefulSet:
			var labels strings.Builder
			for _, key := range []string{"app.kubernetes.io/version", "helm.sh/chart"} {
				labels.WriteString(o.Spec.Template.Labels[key])
			}
			postgres = o.Spec.Template.Annotations["checksum/config"] + labels.String()
		}
	}
	if job == "" || postgres == "" {
		t.Fatal("no Job, or no StatefulSet")
	}
	return job, postgres
}
