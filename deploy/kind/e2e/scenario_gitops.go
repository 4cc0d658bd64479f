package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// gitops: rendered without the cluster and applied on the server's side, twice: the second time changes nothing.
func gitops(ctx context.Context, s *suite) error {
	const name = "gitops"
	for secret, key := range map[string]string{"db-api": "password", "db-consumer": "password", "db-metrics": "password", "admin": "token"} {
		if _, err := s.cluster.kubectl(ctx, "create", "secret", "generic", name+"-orderflow-"+secret, "--from-literal="+key+"=from-a-vault-of-somebody"); err != nil {
			return err
		}
	}
	// The first release's server; its superuser makes the database, as an administrator would.
	for _, statement := range []string{
		`create role gitops_orderflow_owner login createrole password 'from-a-vault-of-somebody'`,
		`create database gitops owner gitops_orderflow_owner`,
	} {
		if _, err := s.sql(ctx, "postgres", statement); err != nil {
			return err
		}
	}
	if _, err := s.cluster.kubectl(ctx, "create", "secret", "generic", "gitops-database", "--from-literal=username=gitops_orderflow_owner", "--from-literal=password=from-a-vault-of-somebody"); err != nil {
		return err
	}
	settings := map[string]string{
		"image.tag":                       s.tag,
		"secrets.generate":                "false",
		"postgres.enabled":                "false",
		"externalDatabase.host":           release + "-postgres",
		"externalDatabase.existingSecret": "gitops-database",
		"database.name":                   "gitops",
		"api.replicas":                    "1",
		"consumer.replicas":               "1",
		"consumer.simulate.work":          "10ms",
		"loadgen.enabled":                 "true",
		"loadgen.ttlSecondsAfterFinished": "null",
		"networkPolicy.egress.enabled":    "true",
		"networkPolicy.api.access":        "listed",
	}
	args := append([]string{"template", name, s.chart, "--skip-tests"}, flags(settings)...)
	first, err := s.cluster.helmRun(ctx, args...)
	if err != nil {
		return err
	}
	if err := s.applyOnServer(ctx, first); err != nil {
		return err
	}
	if err := s.settled(ctx, name); err != nil {
		return err
	}
	job := regexp.MustCompile(`(?m)^  name: (gitops-orderflow-loadgen-\S+)$`).FindStringSubmatch(first)
	if job == nil {
		return errors.New("no load generator was rendered")
	}
	if _, err := (&load{suite: s, job: job[1]}).wait(ctx); err != nil {
		return err
	}
	before, err := s.generations(ctx, name)
	if err != nil {
		return err
	}
	second, err := s.cluster.helmRun(ctx, args...)
	if err != nil {
		return err
	}
	if first != second {
		return errors.New("two renderings differ")
	}
	if err := s.applyOnServer(ctx, second); err != nil {
		return err
	}
	after, err := s.generations(ctx, name)
	if err != nil {
		return err
	}
	if !maps.Equal(before, after) {
		for object, generation := range after {
			if before[object] != generation {
				return fmt.Errorf("the second apply changed %s: %s, then %s", object, before[object], generation)
			}
		}
		return fmt.Errorf("the second apply removed objects: %d, then %d", len(before), len(after))
	}
	say("rendered and applied twice: %d objects, none was changed the second time, and the load generator ran once", len(after))

	test, err := s.cluster.helmRun(ctx, append(args, "--show-only", "templates/test-orders.yaml")...)
	if err == nil {
		return fmt.Errorf("--skip-tests rendered the test: %s", test)
	}
	withTest := slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return arg == "--skip-tests" })
	if test, err = s.cluster.helmRun(ctx, append(withTest, "--show-only", "templates/test-orders.yaml")...); err != nil {
		return err
	}
	if err := s.applyOnServer(ctx, test, "--dry-run=server"); err != nil {
		return err
	}
	say("the test's pod passes a dry run on the server")
	_, err = s.cluster.kubectl(ctx, "delete", "deployments,jobs,poddisruptionbudgets,networkpolicies,services,serviceaccounts", "--selector", "app.kubernetes.io/instance="+name, "--wait=false")
	return err
}

func (s *suite) applyOnServer(ctx context.Context, manifests string, more ...string) error {
	args := append([]string{"--context", s.cluster.context, "--namespace", s.cluster.namespace, "apply", "--server-side", "--filename", "-"}, more...)
	_, err := output(ctx, strings.NewReader(manifests), "kubectl", args...)
	return err
}

// generations are the objects of a release with the number of times that their specification has changed. Those that a controller
// changes by itself settle first.
func (s *suite) generations(ctx context.Context, release string) (map[string]string, error) {
	var found map[string]string
	err := eventually(ctx, time.Minute, "the objects of "+release+" stay as they are", func(ctx context.Context) (bool, error) {
		var list struct {
			Items []struct {
				Kind     string
				Metadata struct {
					Name, UID  string
					Generation int
				}
			}
		}
		err := s.cluster.get(ctx, &list, "deployments,jobs,poddisruptionbudgets,networkpolicies,services,serviceaccounts,configmaps", "--selector", "app.kubernetes.io/instance="+release)
		if err != nil {
			return false, err
		}
		now := map[string]string{}
		for _, item := range list.Items {
			now[item.Kind+"/"+item.Metadata.Name] = fmt.Sprintf("%s, generation %d", item.Metadata.UID, item.Metadata.Generation)
		}
		same := maps.Equal(found, now) && len(now) > 0
		found = now
		return same, nil
	})
	return found, err
}
