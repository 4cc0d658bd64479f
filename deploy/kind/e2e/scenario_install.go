package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// install: helm install as the README has it, without a setting (but for a Postgres of the run's); then with those of the run: helm test, the loadgen Job, the logs, who
// may do what, and who reaches whom.
func install(ctx context.Context, s *suite) error {
	start := time.Now()
	plain := append([]string{"install", release, s.chart}, flags(s.postgres())...)
	if _, err := s.cluster.helmRun(ctx, plain...); err != nil {
		return err
	}
	if err := s.settled(ctx, release); err != nil {
		return err
	}
	say("helm %s: all pods ready after %s", strings.Join(plain, " "), seconds(time.Since(start)))
	for service, line := range map[string]string{"api": `"msg":"serving"`, "consumer": `"msg":"Starting consumer for queue`} {
		log, err := s.cluster.kubectl(ctx, "logs", "deployment/"+release+"-"+service)
		if err != nil {
			return err
		}
		if !strings.Contains(log, line) {
			return fmt.Errorf("the logs of %s do not have %s:\n%s", service, line, tail(log, 5))
		}
	}
	say("kubectl logs deployment/%s-api and -consumer: both are at work", release)

	if err := s.upgrade(ctx, nil); err != nil {
		return err
	}
	tested, err := s.helmTest(ctx, release)
	if err != nil {
		return err
	}
	say("helm test: %s", tested)

	run, err := s.start(ctx, "a", map[string]string{"orders": "100", "parallelism": "2"})
	if err != nil {
		return err
	}
	got, err := run.wait(ctx)
	if err != nil {
		return err
	}
	say("loadgen Job of two pods: %s", got)
	made := number("orders completed of two load generators with 100 each", 200)
	if err := made(s.count(ctx, run.orders()+" and status = 'completed' and effects = 1")); err != nil {
		return err
	}
	for _, check := range []func(context.Context, *suite, *load) error{logs, roles, policies} {
		if err := check(ctx, s, run); err != nil {
			return err
		}
	}
	// From here on: quick work without simulated failures, logs that do not cost more than it, and patience: on a starved CI
	// machine a commit can take a second, which is not what the scenarios are about.
	return s.upgrade(ctx, map[string]string{
		"log.level": "info", "consumer.simulate.work": "20ms", "consumer.simulate.failures": "none", "api.requestTimeout": "5s",
	})
}

// logs: one order can be followed through all of them.
func logs(ctx context.Context, s *suite, run *load) error {
	id, err := s.sql(ctx, "orderflow", "select max(id) from orders where "+run.orders())
	if err != nil {
		return err
	}
	for _, component := range []string{"api", "consumer"} {
		log, err := s.cluster.kubectl(ctx, "logs", "--selector", "app.kubernetes.io/component="+component, "--tail=-1")
		if err != nil {
			return err
		}
		if !strings.Contains(log, `"order_id":`+id+",") {
			return fmt.Errorf("order %s is not in the logs of %s:\n%s", id, component, tail(log, 5))
		}
		for _, role := range []string{"owner", "api", "consumer", "metrics"} {
			password, err := s.secret(ctx, release+"-db-"+role, "password")
			if err != nil {
				return err
			}
			if strings.Contains(log, password) {
				return fmt.Errorf("the password of %s is in the logs of %s", role, component)
			}
		}
	}
	say("kubectl logs of api and consumer show order %s, and no password", id)
	return nil
}

// roles: each may do its part, and not the others'.
func roles(ctx context.Context, s *suite, _ *load) error {
	const (
		insert = "insert into orders (customer_name, product_name, quantity, price) values ('a', 'b', 1, 1)"
		ack    = "select pgmq.delete('order_queue', 1::bigint)"
	)
	for _, denied := range []struct{ role, what, statement string }{
		{"consumer", "insert an order", insert},
		{"consumer", "change what a customer ordered", "update orders set price = 0"},
		{"api", "acknowledge a message", ack},
		{"api", "lease a message", "select * from pgmq.read('order_queue', 1, 1)"},
		{"api", "complete an order", "update orders set status = 'completed'"},
		{"metrics", "insert an order", insert},
		{"metrics", "acknowledge a message", ack},
	} {
		err := s.sqlAs(ctx, denied.role, denied.statement)
		if err == nil || !strings.Contains(err.Error(), "permission denied") {
			return fmt.Errorf("role %s must not be allowed to %s: got %v", denied.role, denied.what, err) //nolint:errorlint // may be nil
		}
	}
	for role, statement := range map[string]string{
		"api": "select count(*) from orders", "consumer": ack, "metrics": "select count(*) from pgmq.q_order_queue",
	} {
		if err := s.sqlAs(ctx, role, statement); err != nil {
			return fmt.Errorf("role %s cannot do its part: %w", role, err)
		}
	}
	say("the consumer's role cannot insert orders, the api's cannot acknowledge, metrics only reads")
	return nil
}

// policies: a stranger's pod in the same namespace reaches neither Postgres nor, in the strictest mode, the api.
func policies(ctx context.Context, s *suite, _ *load) error {
	image, err := s.cluster.kubectl(ctx, "get", "pod", release+"-postgres-0", "--output", "jsonpath={.spec.containers[0].image}")
	if err != nil {
		return err
	}
	err = s.cluster.apply(ctx, fmt.Sprintf(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stranger"}, "spec": {
		"restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
		"securityContext": {"runAsNonRoot": true, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}},
		"containers": [{"name": "stranger", "image": %q, "command": ["sleep", "600"],
			"securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]}}`, image))
	if err != nil {
		return err
	}
	if _, err := s.cluster.kubectl(ctx, "wait", "--for=condition=Ready", "pod/stranger", "--timeout=60s"); err != nil {
		return err
	}
	reaches := func(ctx context.Context, host string, port int) bool {
		_, err := s.cluster.kubectl(ctx, "exec", "stranger", "--", "timeout", "2", "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%d", host, port))
		return err == nil
	}
	// Policies follow a new pod's address; they are soon there, not at once.
	err = eventually(ctx, 30*time.Second, "a stranger's pod reaches neither Postgres nor the api", func(ctx context.Context) (bool, error) {
		return !reaches(ctx, release+"-postgres", 5432) && !reaches(ctx, release+"-api", 80), nil
	})
	if err != nil {
		return err
	}
	err = eventually(ctx, 30*time.Second, "a stranger's pod reaches something, without which the policies have not been shown", func(ctx context.Context) (bool, error) {
		return reaches(ctx, "kubernetes.default", 443), nil
	})
	if err != nil {
		return err
	}
	_, err = s.cluster.kubectl(ctx, "delete", "pod", "stranger", "--wait=false")
	say("NetworkPolicies keep a stranger's pod from Postgres and from the api")
	return err
}
