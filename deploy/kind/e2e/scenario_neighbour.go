package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// neighbour: a second release in the same namespace, as others will have it: a database that runs elsewhere (here: the first
// release's server), Secrets that somebody made, an autoscaler, limited egress. The first one does not notice.
func neighbour(ctx context.Context, s *suite) error {
	before, err := s.identities(ctx)
	if err != nil {
		return err
	}
	// A password with everything that could break a URL, a shell or YAML.
	const password = `p@ss:w/o'r"d?&#%$(x)`
	if _, err := s.sql(ctx, "postgres", "create role shop login createrole password $$"+password+"$$"); err != nil {
		return err
	}
	if _, err := s.sql(ctx, "postgres", "create database shop owner shop"); err != nil {
		return err
	}
	for name, literals := range map[string][]string{
		"shop-database": {"user=shop", "pass=" + password},
		"shop-api":      {"password=" + password},
		"shop-token":    {"bearer=let me in"},
	} {
		args := []string{"create", "secret", "generic", name}
		for _, literal := range literals {
			args = append(args, "--from-literal="+literal)
		}
		if _, err := s.cluster.kubectl(ctx, args...); err != nil {
			return err
		}
	}
	const name = "neighbour"
	settings := map[string]string{
		"image.tag":                          s.tag,
		"postgres.enabled":                   "false",
		"externalDatabase.host":              release + "-postgres",
		"externalDatabase.existingSecret":    "shop-database",
		"externalDatabase.usernameKey":       "user",
		"externalDatabase.passwordKey":       "pass",
		"externalDatabase.sslmode":           "disable",
		"database.name":                      "shop",
		"database.roles.api.existingSecret":  "shop-api",
		"api.adminToken.existingSecret":      "shop-token",
		"api.adminToken.key":                 "bearer",
		"api.replicas":                       "1",
		"queue.name":                         "Shop-Orders",
		"consumer.autoscaling.mode":          "hpa",
		"consumer.autoscaling.hpa.targetCPU": "75",
		"consumer.autoscaling.minReplicas":   "2",
		"consumer.simulate.work":             "10ms",
		"networkPolicy.egress.enabled":       "true",
		"networkPolicy.api.access":           "listed",
	}
	args := append([]string{"install", name, s.chart, "--wait", "--timeout", "3m"}, flags(settings)...)
	if _, err := s.cluster.helmRun(ctx, args...); err != nil {
		return err
	}
	if err := s.settled(ctx, name); err != nil {
		return err
	}
	say("a second release is ready, on a database of its own")
	got, err := s.helmTest(ctx, name)
	if err != nil {
		return err
	}
	say("its helm test: %s", got)

	hpa, err := s.cluster.kubectl(ctx, "get", "hpa", name+"-orderflow-consumer", "--output", "jsonpath={.spec.minReplicas}-{.spec.maxReplicas}")
	if err != nil {
		return err
	}
	if err := expect("bounds of the autoscaler", hpa, "2-10"); err != nil {
		return err
	}
	rows, err := s.sql(ctx, "shop", `select count(*) from orders; select count(*) from pg_tables where tablename = 'q_shop-orders'`)
	if err != nil {
		return err
	}
	if err := expect("its orders and its queue", strings.Join(strings.Fields(rows), " "), fmt.Sprintf("%d 1", got.Accepted)); err != nil {
		return err
	}
	if err := s.rolledOnly(ctx, before, nil); err != nil {
		return errors.Join(errors.New("the first release was touched"), err)
	}
	_, err = s.cluster.helmRun(ctx, "uninstall", name, "--wait", "--timeout", "2m")
	say("the first release was not touched")
	return err
}
