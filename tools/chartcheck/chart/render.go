// Package chart renders the chart as Helm does, without a cluster, into typed objects; its tests are the checks that every
// rendering has to pass. It must never know better than Kubernetes: what an object may hold is decided by the API's types,
// what a pod may do by the admission controller's own policy.
package chart

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

// Object is one rendered object. Typed is nil for kinds that Kubernetes does not have itself.
type Object struct {
	Template string
	Fields   *unstructured.Unstructured
	Typed    runtime.Object
}

// String names the object in a test's message.
func (o Object) String() string {
	return fmt.Sprintf("%s/%s (%s)", o.Fields.GetKind(), o.Fields.GetName(), o.Template)
}

// Release is what Helm knows of an installation.
type Release struct {
	Name, Namespace string
	Values          map[string]any
	Upgrade         bool                  // not its first installation
	Cluster         engine.ClientProvider // where templates look things up; nil: nowhere, as in `helm template`
}

// strict refuses unknown and duplicate fields, as `kubectl apply --validate=strict` does.
var strict = serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()

// Render renders the chart in dir, values checked against the schema.
func Render(dir string, release Release) ([]Object, error) {
	loaded, err := loader.Load(dir)
	if err != nil {
		return nil, err
	}
	return render(loaded, release)
}

func render(chart *chart.Chart, release Release) ([]Object, error) {
	options := chartutil.ReleaseOptions{
		Name: release.Name, Namespace: release.Namespace, Revision: 1, IsInstall: !release.Upgrade, IsUpgrade: release.Upgrade,
	}
	values, err := chartutil.ToRenderValues(chart, release.Values, options, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	var files map[string]string
	if release.Cluster == nil {
		files, err = engine.Render(chart, values)
	} else {
		files, err = engine.RenderWithClientProvider(chart, values, release.Cluster)
	}
	if err != nil {
		return nil, err
	}
	var (
		objects  []Object
		problems []error
	)
	for name, text := range files {
		if strings.HasSuffix(name, ".txt") {
			continue
		}
		found, err := decode(filepath.Base(name), text)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
		}
		objects = append(objects, found...)
	}
	slices.SortFunc(objects, func(a, b Object) int { return strings.Compare(a.String(), b.String()) })
	return objects, errors.Join(problems...)
}

func decode(template, text string) ([]Object, error) {
	var (
		objects  []Object
		problems []error
	)
	documents := yaml.NewDocumentDecoder(io.NopCloser(strings.NewReader(text)))
	defer documents.Close()
	buffer := make([]byte, 1<<20)
	for {
		n, err := documents.Read(buffer)
		if errors.Is(err, io.EOF) {
			return objects, errors.Join(problems...)
		}
		if err != nil {
			return objects, err
		}
		document := bytes.TrimSpace(buffer[:n])
		object := Object{Template: template, Fields: &unstructured.Unstructured{}}
		if err := yaml.Unmarshal(document, &object.Fields.Object); err != nil {
			return objects, err
		}
		if len(object.Fields.Object) == 0 {
			continue // nothing but comments
		}
		if scheme.Scheme.Recognizes(object.Fields.GroupVersionKind()) {
			object.Typed, _, err = strict.Decode(document, nil, nil)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", object, err))
			}
		}
		objects = append(objects, object)
	}
}

// PodTemplate is the pod that an object makes.
func PodTemplate(object runtime.Object) (corev1.PodTemplateSpec, bool) {
	switch o := object.(type) {
	case *appsv1.Deployment:
		return o.Spec.Template, true
	case *appsv1.StatefulSet:
		return o.Spec.Template, true
	case *batchv1.Job:
		return o.Spec.Template, true
	case *corev1.Pod:
		return corev1.PodTemplateSpec{ObjectMeta: o.ObjectMeta, Spec: o.Spec}, true
	default:
		return corev1.PodTemplateSpec{}, false
	}
}

// Containers are all containers of a pod, those that run before it included.
func Containers(pod corev1.PodSpec) []corev1.Container {
	return slices.Concat(pod.InitContainers, pod.Containers)
}
