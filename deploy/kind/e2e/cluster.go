package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// cluster is the way in: kubectl and helm, always with the context's and the namespace's name.
type cluster struct {
	context, namespace, helm string
}

// kubectl runs kubectl and returns its output. Errors have what it said.
func (c *cluster) kubectl(ctx context.Context, args ...string) (string, error) {
	return output(ctx, nil, "kubectl", append([]string{"--context", c.context, "--namespace", c.namespace}, args...)...)
}

// apply hands manifests to kubectl.
func (c *cluster) apply(ctx context.Context, manifests string) error {
	_, err := output(ctx, strings.NewReader(manifests), "kubectl", "--context", c.context, "--namespace", c.namespace, "apply", "--filename", "-")
	return err
}

// get decodes an object, or a list of them, as kubectl shows it.
func (c *cluster) get(ctx context.Context, into any, args ...string) error {
	text, err := c.kubectl(ctx, append([]string{"get", "--output", "json"}, args...)...)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), into)
}

func (c *cluster) helmRun(ctx context.Context, args ...string) (string, error) {
	return output(ctx, nil, c.helm, append([]string{"--kube-context", c.context, "--namespace", c.namespace}, args...)...)
}

func output(ctx context.Context, stdin *strings.Reader, name string, args ...string) (string, error) {
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	if stdin != nil {
		cmd.Stdin = stdin
	}
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(problems.String())
		if said == "" {
			said = strings.TrimSpace(out.String())
		}
		return out.String(), fmt.Errorf("%s %s: %w: %s", filepath.Base(name), verb(args), err, said)
	}
	return out.String(), nil
}

// verb leaves the flags that all commands share out of an error.
func verb(args []string) string {
	if len(args) > 4 {
		args = args[4:]
	}
	if len(args) > 3 {
		args = args[:3]
	}
	return strings.Join(args, " ")
}

// freshNamespace makes the namespace, with Pod Security "restricted" enforced; one that an interrupted run left goes first.
func (c *cluster) freshNamespace(ctx context.Context) error {
	if err := c.deleteNamespace(ctx); err != nil {
		return err
	}
	return c.apply(ctx, `{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "`+c.namespace+`", "labels": {
		"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"}}}`)
}

func (c *cluster) deleteNamespace(ctx context.Context) error {
	_, err := output(ctx, nil, "kubectl", "--context", c.context, "delete", "namespace", c.namespace, "--ignore-not-found", "--timeout=150s")
	return err
}

// diagnose prints what one needs to see after a failure.
func (c *cluster) diagnose() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join("deploy", "kind", "diagnose"), c.context, c.namespace)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: diagnose:", err)
	}
}

// eventually asks every half second until done says yes or fails for good; what it said last is in the error.
func eventually(ctx context.Context, within time.Duration, what string, done func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("not within %s: %s", seconds(within), what))
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		ok, err := done(ctx)
		if ok {
			return nil
		}
		if final := (*finalError)(nil); errors.As(err, &final) {
			return err
		}
		if err != nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}

// finalError ends eventually: asking again would not help.
type finalError struct{ error }

func final(format string, args ...any) error { return &finalError{fmt.Errorf(format, args...)} }

// pod is what is looked at of one.
type pod struct {
	Metadata struct {
		Name, UID string
		Labels    map[string]string
		Deletion  *time.Time `json:"deletionTimestamp"`
	}
	Status struct {
		Phase      string
		Conditions []struct{ Type, Status string }
		Containers []struct {
			Name         string
			RestartCount int
		} `json:"containerStatuses"`
	}
}

func (p pod) component() string { return p.Metadata.Labels["app.kubernetes.io/component"] }

func (p pod) ready() bool {
	for _, condition := range p.Status.Conditions {
		if condition.Type == "Ready" {
			return condition.Status == "True" && p.Metadata.Deletion == nil
		}
	}
	return false
}

func (p pod) restarts() int {
	n := 0
	for _, container := range p.Status.Containers {
		n += container.RestartCount
	}
	return n
}

// pods are the release's pods that serve: not those of Jobs and tests.
func (c *cluster) pods(ctx context.Context, release string, components ...string) ([]pod, error) {
	if len(components) == 0 {
		components = []string{"api", "consumer", "postgres"}
	}
	var list struct{ Items []pod }
	err := c.get(ctx, &list, "pods", "--selector",
		fmt.Sprintf("app.kubernetes.io/instance=%s,app.kubernetes.io/component in (%s)", release, strings.Join(components, ",")))
	return list.Items, err
}
