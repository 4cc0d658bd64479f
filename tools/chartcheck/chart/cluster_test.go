package chart

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
)

// cluster holds what has been applied, for templates that look things up.
type cluster map[string]*unstructured.Unstructured

// apply renders a release and keeps its objects as a cluster would: what a Secret says as text becomes its data, and a Deployment that does
// not say how many pods it wants has as few as its autoscaler allows. It returns what is there of the release then.
func (c cluster) apply(t *testing.T, release Release) map[string]string {
	t.Helper()
	objects, err := Render(dir(t), release)
	if err != nil {
		t.Fatal(err)
	}
	least := map[string]int64{} // pods, by the name of the Deployment
	for _, object := range objects {
		target, _, _ := unstructured.NestedString(object.Fields.Object, "spec", "scaleTargetRef", "name")
		for _, field := range []string{"minReplicas", "minReplicaCount"} { // of Kubernetes' autoscaler, and of KEDA's
			if n, found, _ := unstructured.NestedFloat64(object.Fields.Object, "spec", field); found {
				least[target] = int64(n)
			} else if n, found, _ := unstructured.NestedInt64(object.Fields.Object, "spec", field); found {
				least[target] = n
			}
		}
	}
	there := map[string]string{}
	for _, object := range objects {
		kept := object.Fields.DeepCopy()
		if text, found, _ := unstructured.NestedStringMap(kept.Object, "stringData"); found {
			data := map[string]any{}
			for key, value := range text {
				data[key] = base64.StdEncoding.EncodeToString([]byte(value))
			}
			kept.Object["data"] = data
			delete(kept.Object, "stringData")
		}
		if spec, ok := kept.Object["spec"].(map[string]any); ok && kept.GetKind() == "Deployment" && spec["replicas"] == nil {
			spec["replicas"] = least[kept.GetName()]
		}
		text, err := kept.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		c[object.String()], there[object.String()] = kept, string(text)
	}
	return there
}

// GetClientFor makes the client that Helm's `lookup` asks.
func (c cluster) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	group, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return nil, false, err
	}
	plural, _ := meta.UnsafeGuessKindToResource(group.WithKind(kind))
	var objects []runtime.Object
	for _, name := range slices.Sorted(maps.Keys(c)) {
		objects = append(objects, c[name])
	}
	lists := map[schema.GroupVersionResource]string{plural: kind + "List"}
	return fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, objects...).Resource(plural), kind != "Node", nil
}

var _ engine.ClientProvider = cluster{}

// A chart that sees its cluster draws each secret once: the second time it finds what the first has applied, unless somebody deletes that.
func TestASecretIsDrawnAgainWhenItHasBeenDeleted(t *testing.T) {
	t.Parallel()
	there := cluster{}
	release := Release{Name: "shop", Namespace: "orders", Cluster: there}
	first := there.apply(t, release)
	const secret = "Secret/shop-orderflow-admin (api-secret.yaml)"
	if first[secret] == "" {
		t.Fatalf("no %s", secret)
	}
	delete(there, secret)
	release.Upgrade = true
	second := there.apply(t, release)
	if first[secret] == second[secret] {
		t.Error("it is the same one")
	}
	delete(first, secret)
	for name, text := range first {
		if strings.HasPrefix(name, "Secret/") && second[name] != text {
			t.Errorf("%s was drawn again, too", name)
		}
	}
}

// same tells which objects differ.
func same(t *testing.T, before, after map[string]string) {
	t.Helper()
	for name, text := range after {
		if before[name] != text {
			t.Errorf("%s differs:\n%s\n%s", name, before[name], text)
		}
	}
	for name := range before {
		if _, there := after[name]; !there {
			t.Errorf("%s is gone the second time", name)
		}
	}
	if len(before) < 10 {
		t.Errorf("only %d objects", len(before))
	}
}
