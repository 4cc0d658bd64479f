package chart

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// everyPod runs check on each pod of each rendering.
func everyPod(t *testing.T, check func(t *testing.T, object Object, pod corev1.PodTemplateSpec)) {
	t.Helper()
	everyRendering(t, func(t *testing.T, objects []Object) {
		pods := 0
		for _, object := range objects {
			if pod, ok := PodTemplate(object.Typed); ok {
				check(t, object, pod)
				pods++
			}
		}
		if pods < 3 {
			t.Errorf("only %d kinds of pod", pods)
		}
	})
}

func TestPodsSatisfyPodSecurityRestricted(t *testing.T) {
	t.Parallel()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	everyPod(t, func(t *testing.T, object Object, pod corev1.PodTemplateSpec) {
		result := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec))
		if !result.Allowed {
			t.Errorf("%s: %s", object, result.ForbiddenDetail())
		}
	})
}

func TestPodsAreHardenedBeyondThat(t *testing.T) {
	t.Parallel()
	everyPod(t, func(t *testing.T, object Object, pod corev1.PodTemplateSpec) {
		if token := pod.Spec.AutomountServiceAccountToken; token == nil || *token {
			t.Errorf("%s: mounts a token of the Kubernetes API", object)
		}
		if links := pod.Spec.EnableServiceLinks; links == nil || *links {
			t.Errorf("%s: has enableServiceLinks", object)
		}
		for _, container := range Containers(pod.Spec) {
			if readOnly := container.SecurityContext.ReadOnlyRootFilesystem; readOnly == nil || !*readOnly {
				t.Errorf("%s: %s can write to its root file system", object, container.Name)
			}
			if container.Resources.Requests.Cpu().IsZero() || container.Resources.Requests.Memory().IsZero() || container.Resources.Limits.Memory().IsZero() {
				t.Errorf("%s: %s has no requests, or no memory limit", object, container.Name)
			}
			if strings.HasSuffix(container.Image, ":latest") || !strings.Contains(container.Image, ":") {
				t.Errorf("%s: %s has no version in its image %s", object, container.Name, container.Image)
			}
		}
		switch object.Typed.(type) {
		case *appsv1.Deployment, *appsv1.StatefulSet:
			for _, container := range pod.Spec.Containers {
				if container.Name == "passwords" {
					continue // nobody depends on it at any moment
				}
				if container.ReadinessProbe == nil || container.LivenessProbe == nil || container.StartupProbe == nil {
					t.Errorf("%s: %s lacks a probe", object, container.Name)
				}
			}
		}
	})
}

func TestPodsNameWhatIsThere(t *testing.T) {
	t.Parallel()
	everyRendering(t, func(t *testing.T, objects []Object) {
		there, makesSecrets := map[string]bool{}, false
		for _, object := range objects {
			there[object.Fields.GetKind()+"/"+object.Fields.GetName()] = true
			makesSecrets = makesSecrets || object.Fields.GetKind() == "Secret"
		}
		// A Secret of the chart's own bears the release's name; others are the user's, and with secrets.generate false all are.
		missing := func(kind, name string) bool {
			return (makesSecrets && strings.HasPrefix(name, "shop-orderflow") || kind != "Secret") && !there[kind+"/"+name]
		}
		for _, object := range objects {
			pod, ok := PodTemplate(object.Typed)
			if !ok {
				continue
			}
			if name := pod.Spec.ServiceAccountName; name != "default" && missing("ServiceAccount", name) {
				t.Errorf("%s: there is no ServiceAccount %s", object, name)
			}
			volumes := volumesOf(object)
			for _, volume := range pod.Spec.Volumes {
				if volume.ConfigMap != nil && missing("ConfigMap", volume.ConfigMap.Name) || volume.Secret != nil && missing("Secret", volume.Secret.SecretName) {
					t.Errorf("%s: volume %s is of what is not there", object, volume.Name)
				}
			}
			for _, container := range Containers(pod.Spec) {
				for _, mount := range container.VolumeMounts {
					if !slices.Contains(volumes, mount.Name) {
						t.Errorf("%s: %s mounts volume %s, which is not there", object, container.Name, mount.Name)
					}
				}
				var names []string
				for _, variable := range container.Env {
					if slices.Contains(names, variable.Name) {
						t.Errorf("%s: %s has %s twice", object, container.Name, variable.Name)
					}
					names = append(names, variable.Name)
					if from := variable.ValueFrom; from != nil && from.SecretKeyRef != nil && missing("Secret", from.SecretKeyRef.Name) {
						t.Errorf("%s: %s takes %s from Secret %s, which is not there", object, container.Name, variable.Name, from.SecretKeyRef.Name)
					}
				}
			}
		}
	})
}

func volumesOf(object Object) []string {
	pod, _ := PodTemplate(object.Typed)
	var names []string
	for _, volume := range pod.Spec.Volumes {
		names = append(names, volume.Name)
	}
	if set, ok := object.Typed.(*appsv1.StatefulSet); ok {
		for _, claim := range set.Spec.VolumeClaimTemplates {
			names = append(names, claim.Name)
		}
	}
	return names
}

// Services, policies and probes name ports; what a program listens on is in its environment. The two must be the same.
func TestPortsAreThoseThatProgramsListenOn(t *testing.T) {
	t.Parallel()
	listens := map[string]string{"API_PORT": "http", "METRICS_PORT": "metrics", "RECEIVER_PORT": "http"}
	everyPod(t, func(t *testing.T, object Object, pod corev1.PodTemplateSpec) {
		for _, container := range pod.Spec.Containers {
			ports := map[string]string{}
			for _, port := range container.Ports {
				ports[port.Name] = strconv.Itoa(int(port.ContainerPort))
			}
			for _, variable := range container.Env {
				if name, ok := listens[variable.Name]; ok && ports[name] != variable.Value && (variable.Name != "METRICS_PORT" || variable.Value != "-1") {
					t.Errorf("%s: %s has %s=%s, and its port %s is %q", object, container.Name, variable.Name, variable.Value, name, ports[name])
				}
			}
			for what, probe := range map[string]*corev1.Probe{"startup": container.StartupProbe, "readiness": container.ReadinessProbe, "liveness": container.LivenessProbe} {
				if probe == nil || probe.HTTPGet == nil {
					continue
				}
				if name := probe.HTTPGet.Port.StrVal; name != "" && ports[name] == "" { // a number is of a container that the user adds
					t.Errorf("%s: the %s probe of %s asks port %s, which there is not", object, what, container.Name, name)
				}
			}
		}
		// What serves is asked whether it is well; only what ends by itself is not.
		_, deployment := object.Typed.(*appsv1.Deployment)
		if first := pod.Spec.Containers[0]; deployment && (first.StartupProbe == nil || first.ReadinessProbe == nil || first.LivenessProbe == nil) {
			t.Errorf("%s: %s has not all of its probes", object, first.Name)
		}
	})
}
