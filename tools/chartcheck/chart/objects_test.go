package chart

import (
	"fmt"
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

// custom are the kinds that come from elsewhere, with the fields that make one of use.
var custom = map[string][]string{
	"monitoring.coreos.com/v1, Kind=ServiceMonitor": {"spec.selector.matchLabels", "spec.endpoints"},
	"monitoring.coreos.com/v1, Kind=PodMonitor":     {"spec.selector.matchLabels", "spec.podMetricsEndpoints"},
	"monitoring.coreos.com/v1, Kind=PrometheusRule": {"spec.groups"},
	"keda.sh/v1alpha1, Kind=ScaledObject":           {"spec.scaleTargetRef.name", "spec.maxReplicaCount", "spec.triggers"},
	"keda.sh/v1alpha1, Kind=TriggerAuthentication":  {"spec.secretTargetRef"},
	"gateway.networking.k8s.io/v1, Kind=HTTPRoute":  {"spec.parentRefs", "spec.rules"},
}

// elsewhere are the kinds that may be put where Prometheus looks.
var elsewhere = map[string]bool{"ServiceMonitor": true, "PodMonitor": true, "PrometheusRule": true}

func TestEveryObjectDecodesStrictly(t *testing.T) {
	t.Parallel()
	everyRendering(t, func(t *testing.T, objects []Object) {
		seen := map[string]bool{}
		for _, object := range objects {
			if object.Typed == nil {
				checkCustom(t, object)
			}
			if name := object.Fields.GetName(); len(validation.IsDNS1123Label(name)) > 0 {
				t.Errorf("%s: %q is no name for it", object, name)
			}
			if object.Fields.GetNamespace() != "orders" && (!elsewhere[object.Fields.GetKind()] || object.Fields.GetNamespace() != "monitoring") {
				t.Errorf("%s: is not in the release's namespace", object)
			}
			if seen[object.Fields.GetKind()+object.Fields.GetName()] {
				t.Errorf("%s: is rendered twice", object)
			}
			seen[object.Fields.GetKind()+object.Fields.GetName()] = true
			for key, value := range object.Fields.GetLabels() {
				if problems := validation.IsValidLabelValue(value); len(problems) > 0 {
					t.Errorf("%s: label %s=%q: %s", object, key, value, problems)
				}
			}
		}
	})
}

func checkCustom(t *testing.T, object Object) {
	t.Helper()
	required, known := custom[object.Fields.GroupVersionKind().String()]
	if !known {
		t.Errorf("%s: unknown kind %s", object, object.Fields.GroupVersionKind())
	}
	for _, path := range required {
		value, found, err := unstructured.NestedFieldNoCopy(object.Fields.Object, strings.Split(path, ".")...)
		if err != nil || !found || fmt.Sprint(value) == "" {
			t.Errorf("%s: has no %s", object, path)
		}
	}
}

func TestWhatSelectsFindsPods(t *testing.T) {
	t.Parallel()
	everyRendering(t, func(t *testing.T, objects []Object) {
		pods := map[string]corev1.PodTemplateSpec{} // by component
		workloads := map[string]bool{}
		for _, object := range objects {
			if pod, ok := PodTemplate(object.Typed); ok {
				pods[pod.Labels["app.kubernetes.io/component"]] = pod
				workloads[object.Fields.GetKind()+"/"+object.Fields.GetName()] = true
			}
		}
		for _, object := range objects {
			switch o := object.Typed.(type) {
			case *corev1.Service:
				chosen := choose(t, pods, &metav1.LabelSelector{MatchLabels: o.Spec.Selector})
				if len(chosen) != 1 {
					t.Errorf("%s: selects %d kinds of pod", object, len(chosen))
				}
				for _, pod := range chosen {
					for _, port := range o.Spec.Ports {
						if !hasPort(pod, port.TargetPort.StrVal) {
							t.Errorf("%s: its pod has no port %s", object, port.TargetPort.StrVal)
						}
					}
				}
			case *policyv1.PodDisruptionBudget:
				const component = "app.kubernetes.io/component"
				if len(choose(t, pods, o.Spec.Selector)) != 1 || o.Spec.Selector.MatchLabels[component] != o.Labels[component] {
					t.Errorf("%s: does not select its own kind of pod, and that alone", object)
				}
			case *networkingv1.NetworkPolicy:
				if len(choose(t, pods, &o.Spec.PodSelector)) == 0 {
					t.Errorf("%s: selects no pod", object)
				}
			case *autoscalingv2.HorizontalPodAutoscaler:
				if !workloads[o.Spec.ScaleTargetRef.Kind+"/"+o.Spec.ScaleTargetRef.Name] {
					t.Errorf("%s: scales nothing", object)
				}
			}
		}
	})
}

func choose(t *testing.T, pods map[string]corev1.PodTemplateSpec, by *metav1.LabelSelector) []corev1.PodTemplateSpec {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(by)
	if err != nil {
		t.Fatal(err)
	}
	var chosen []corev1.PodTemplateSpec
	for _, pod := range pods {
		if selector.Matches(labels.Set(pod.Labels)) {
			chosen = append(chosen, pod)
		}
	}
	return chosen
}

func hasPort(pod corev1.PodTemplateSpec, name string) bool {
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == name {
				return true
			}
		}
	}
	return false
}

func TestTwoReleasesShareNothing(t *testing.T) {
	t.Parallel()
	// The longest names that Helm allows, alike for as long as they can be: cut off alone, they would meet.
	long := strings.Repeat("a-long-release-name-", 3)[:52]
	names := map[string]string{}
	for _, release := range []string{"orderflow", "shop", "shop2", "shop.eu", long + "a", long + "b"} {
		objects, err := Render(dir(t), Release{Name: release, Namespace: "orders", Values: set("loadgen.enabled", true)})
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range objects {
			name := object.Fields.GetKind() + "/" + object.Fields.GetName()
			if other, taken := names[name]; taken {
				t.Errorf("releases %s and %s both have %s", other, release, name)
			}
			names[name] = release
			// A StatefulSet's pods bear its name with a hash of eleven characters as a label.
			most := validation.DNS1123LabelMaxLength
			if object.Fields.GetKind() == "StatefulSet" {
				most -= 11
			}
			if len(object.Fields.GetName()) > most {
				t.Errorf("%s: %d characters are too many", object, len(object.Fields.GetName()))
			}
		}
	}
}
