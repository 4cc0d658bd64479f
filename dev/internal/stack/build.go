// Package stack runs the whole of Orderflow on one machine: Postgres, the api, any number of consumers and the load generator, as
// processes built from this working copy. The demo, the end-to-end tests, the chaos suite and the benchmarks stand on it.
//
// It must know the services only as their users do: their commands, environment variables, ports, exit codes and what the contract
// says about the database. It imports nothing of theirs.
package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"orderflow.example/dev/internal/proc"
	"orderflow.example/dev/internal/session"
)

// Service is the name of a program: its folder below services/, and its binary.
type Service string

// The three services.
const (
	API      Service = "api"
	Consumer Service = "consumer"
	Loadgen  Service = "loadgen"
)

// Services are all of them.
var Services = []Service{API, Consumer, Loadgen}

// Binaries are the paths of the built programs.
type Binaries map[Service]string

// Root finds the top of the working copy, from the working directory upwards.
func Root() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working copy: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "services", string(API), "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not inside a working copy of Orderflow (no services/api/go.mod above it)", start)
		}
	}
}

// Build builds the services into the session's directory, each as its own module, with the flags of `make build` so that both share
// Go's build cache. Those that are in a given directory already are not built.
func Build(ctx context.Context, s *session.Session, root, built string, services ...Service) (Binaries, error) {
	if built != "" {
		return prebuilt(built, services...)
	}
	return BuildOverlaid(ctx, s, root, "", services...)
}

// BuildOverlaid is Build as a file for `go build -overlay` changes the sources; "" changes nothing.
func BuildOverlaid(ctx context.Context, s *session.Session, root, overlay string, services ...Service) (Binaries, error) {
	dir, err := s.Mkdir("bin")
	if err != nil {
		return nil, err
	}
	version := Version(ctx, root)
	binaries := Binaries{}
	errs := make([]error, len(services))
	var builds sync.WaitGroup
	for i, service := range services {
		target := filepath.Join(dir, string(service))
		binaries[service] = target
		builds.Go(func() { errs[i] = build(ctx, s, root, version, overlay, service, target) })
	}
	builds.Wait()
	return binaries, errors.Join(errs...)
}

func prebuilt(dir string, services ...Service) (Binaries, error) {
	binaries := Binaries{}
	for _, service := range services {
		path, err := filepath.Abs(filepath.Join(dir, string(service)))
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("the programs built already: %w", err)
		}
		binaries[service] = path
	}
	return binaries, nil
}

func build(ctx context.Context, s *session.Session, root, version, overlay string, service Service, target string) error {
	args := []string{"build", "-trimpath", "-ldflags", "-s -w -X main.version=" + version, "-o", target}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	var mu sync.Mutex
	var said []string
	compiler, err := proc.Start(s, proc.Spec{
		Name: "go build", Path: "go", Args: append(args, "."), Dir: filepath.Join(root, "services", string(service)),
		Env: proc.Environ("GOWORK=off", "CGO_ENABLED=0"),
		Lines: func(l proc.Line) {
			mu.Lock()
			defer mu.Unlock()
			if len(said) < 40 {
				said = append(said, l.Text)
			}
		},
	})
	if err != nil {
		return err
	}
	code, err := compiler.Wait(ctx)
	if err != nil {
		compiler.Kill()
		return err
	}
	if code != 0 {
		return fmt.Errorf("build services/%s:\n%s", service, strings.Join(said, "\n"))
	}
	return nil
}

// Version is what the binaries are stamped with: VERSION of the environment, or what git says.
func Version(ctx context.Context, root string) string {
	if v := os.Getenv("VERSION"); v != "" {
		return v
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return "dev" // a copy without git
	}
	return strings.TrimSpace(string(out))
}
