package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
)

// withAPI calls use with the api's address, forwarded to a free port of this machine.
func (s *suite) withAPI(ctx context.Context, use func(url string) error) error {
	return s.forward(ctx, "service/"+release+"-api", 80, use)
}

var forwarding = regexp.MustCompile(`^Forwarding from 127\.0\.0\.1:(\d+)`)

// forward runs kubectl port-forward for as long as use takes.
func (s *suite) forward(ctx context.Context, target string, port int, use func(url string) error) error {
	ctx, stop := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, "kubectl", "--context", s.cluster.context, "--namespace", s.cluster.namespace,
		"port-forward", "--address", "127.0.0.1", target, fmt.Sprintf(":%d", port))
	var problems strings.Builder
	cmd.Stderr = &problems
	lines, err := cmd.StdoutPipe()
	if err != nil {
		stop()
		return err
	}
	if err := cmd.Start(); err != nil {
		stop()
		return err
	}
	defer func() {
		stop()
		_ = cmd.Wait() // killed by stop: always an error
	}()
	output := bufio.NewReader(lines)
	first, err := output.ReadString('\n')
	match := forwarding.FindStringSubmatch(first)
	if match == nil {
		return fmt.Errorf("port-forward %s: %w: %s%s", target, err, first, problems.String())
	}
	drained := make(chan struct{})
	go func() { // ends with the pipe, when kubectl does
		defer close(drained)
		_, _ = io.Copy(io.Discard, output)
	}()
	err = use("http://127.0.0.1:" + match[1])
	stop()
	<-drained
	return err
}

// call is one request to the api; an answer that is not a 2xx is an error.
func call(ctx context.Context, method, url, token, body string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode/100 != 2 {
		return text, fmt.Errorf("%s %s: %s: %s", method, url, answer.Status, text)
	}
	return text, nil
}
