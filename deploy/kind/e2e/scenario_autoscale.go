package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"
)

// The load below asks for about two and a half pods: 30 places a pod, half a second an order, 150 orders a second.
const (
	fewestPods = 1
	mostPods   = 4
)

// autoscale: a HorizontalPodAutoscaler follows the queue's depth, which handlers that wait never show as CPU: up under load, down
// after it, and no order is lost on the way.
func autoscale(ctx context.Context, s *suite) error {
	if s.adapterImage == "" {
		return errors.New("-adapter-image is needed")
	}
	remove, err := s.adapter(ctx)
	defer remove()
	if err != nil {
		return err
	}
	kept := maps.Clone(s.settings)
	if err := s.upgrade(ctx, map[string]string{
		"networkPolicy.api.from[0].podSelector.matchLabels.app": "adapter",
		"consumer.replicas":                                                "null",
		"consumer.simulate.work":                                           "500ms",
		"consumer.autoscaling.mode":                                        "hpa",
		"consumer.autoscaling.minReplicas":                                 fmt.Sprint(fewestPods),
		"consumer.autoscaling.maxReplicas":                                 fmt.Sprint(mostPods),
		"consumer.autoscaling.hpa.scaleDownStabilizationSeconds":           "15",
		"consumer.autoscaling.hpa.metrics[0].type":                         "External",
		"consumer.autoscaling.hpa.metrics[0].external.metric.name":         "orderflow_queue_depth",
		"consumer.autoscaling.hpa.metrics[0].external.target.type":         "AverageValue",
		"consumer.autoscaling.hpa.metrics[0].external.target.averageValue": "100",
	}); err != nil {
		return err
	}
	if err := s.consumers(ctx, "the autoscaler takes the spare consumers away", func(n int) bool { return n == fewestPods }); err != nil {
		return err
	}
	run, err := s.start(ctx, "n", map[string]string{"rate": "150", "duration": "75s"})
	if err != nil {
		return err
	}
	if err := s.consumers(ctx, "consumers are added under load", func(n int) bool { return n >= fewestPods+2 }); err != nil {
		return err
	}
	say("the queue's depth adds consumers")
	got, err := run.wait(ctx)
	if err != nil {
		return err
	}
	if err := s.consumers(ctx, "consumers are taken away after it", func(n int) bool { return n == fewestPods }); err != nil {
		return err
	}
	say("and an empty queue takes them away: %s", got)
	s.settings = kept
	return s.upgrade(ctx, nil)
}

// consumers waits until the Deployment asks for a number of pods.
func (s *suite) consumers(ctx context.Context, what string, right func(int) bool) error {
	return eventually(ctx, 4*time.Minute, what, func(ctx context.Context) (bool, error) {
		var deployment struct{ Spec struct{ Replicas int } }
		if err := s.cluster.get(ctx, &deployment, "deployment", release+"-consumer"); err != nil {
			return false, err
		}
		return right(deployment.Spec.Replicas), fmt.Errorf("there are %d", deployment.Spec.Replicas)
	})
}

// adapter runs the metrics adapter and registers it with the cluster, of which there can be one.
func (s *suite) adapter(ctx context.Context) (remove func(), err error) {
	const service = "v1beta1.external.metrics.k8s.io"
	remove = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		_, _ = s.cluster.kubectl(ctx, "delete", "apiservice", service, "--ignore-not-found") // the namespace goes, this would stay
	}
	labels := map[string]any{"app": "adapter"}
	object := func(kind, version, name string, rest map[string]any) map[string]any {
		rest["apiVersion"], rest["kind"], rest["metadata"] = version, kind, map[string]any{"name": name, "labels": labels}
		return rest
	}
	list, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{
		object("Pod", "v1", "adapter", map[string]any{"spec": map[string]any{
			"automountServiceAccountToken": false,
			"securityContext":              map[string]any{"runAsNonRoot": true, "seccompProfile": map[string]any{"type": "RuntimeDefault"}},
			"containers": []any{map[string]any{
				"name": "adapter", "image": s.adapterImage, "env": []any{map[string]any{"name": "API_URL", "value": "http://" + release + "-api"}},
				"readinessProbe":  map[string]any{"tcpSocket": map[string]any{"port": 6443}},
				"securityContext": map[string]any{"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": map[string]any{"drop": []string{"ALL"}}},
			}},
		}}),
		object("Service", "v1", "adapter", map[string]any{"spec": map[string]any{"selector": labels, "ports": []any{map[string]any{"port": 443, "targetPort": 6443}}}}),
		object("APIService", "apiregistration.k8s.io/v1", service, map[string]any{"spec": map[string]any{
			"group": "external.metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100, "insecureSkipTLSVerify": true,
			"service": map[string]any{"name": "adapter", "namespace": s.cluster.namespace},
		}}),
	}})
	if err != nil {
		return remove, err
	}
	if err := s.cluster.apply(ctx, string(list)); err != nil {
		return remove, err
	}
	if _, err := s.cluster.kubectl(ctx, "wait", "--for=condition=Available", "apiservice/"+service, "--timeout=90s"); err != nil {
		return remove, err
	}
	return remove, nil
}
