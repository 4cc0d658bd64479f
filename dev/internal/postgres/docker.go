package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"orderflow.example/dev/internal/ports"
	"orderflow.example/dev/internal/session"
)

// Image is the PostgreSQL with the PGMQ extension that the chart deploys too. POSTGRES_IMAGE names another one with the contract of
// the official image.
const Image = "ghcr.io/pgmq/pg18-pgmq:v1.13.0@sha256:2dd8ac92a1c0eb121d6ea5b12b3f7c015813ae58945a940451d4683afd5a19c2"

// How long Docker may take. A machine that reaches no registry must learn it in seconds; one on a slow line may pull as long as
// there is progress.
const (
	engineTimeout    = 5 * time.Second
	pullFirstAnswer  = 20 * time.Second
	pullStall        = 60 * time.Second
	pullTimeout      = 10 * time.Minute
	containerTimeout = 60 * time.Second
)

// container is a private server in a container of the local Docker engine.
type container struct {
	session *session.Session
	name    string
	paused  bool
}

// startContainer runs a private server in a container. Every command has its bound, so that an engine that hangs is an attempt that
// failed.
func startContainer(ctx context.Context, opts Options) (*Server, error) {
	if _, err := exec.LookPath("docker"); err != nil {
		return nil, errors.New("no docker command in PATH")
	}
	if host := os.Getenv("DOCKER_HOST"); host != "" && !strings.HasPrefix(host, "unix://") {
		return nil, fmt.Errorf("the engine of DOCKER_HOST=%s is not on this machine", host)
	}
	version, err := docker(ctx, engineTimeout, nil, "version", "--format", "{{.Server.Version}}")
	if err != nil {
		return nil, fmt.Errorf("no engine answers: %w", err)
	}
	image := Image
	if other := os.Getenv("POSTGRES_IMAGE"); other != "" {
		image = other
	}
	if _, err := docker(ctx, engineTimeout, nil, "image", "inspect", "--format", "{{.Id}}", image); err != nil {
		opts.Say("pulling %s (Docker %s)", image, version)
		if err := pull(ctx, image); err != nil {
			return nil, fmt.Errorf("pull %s: %w", image, err)
		}
	}

	c := &container{session: opts.Session, name: "orderflow-dev-" + strings.ToLower(NewPassword()[:10])}
	password := NewPassword()
	for try := 0; ; try++ {
		port, err := ports.Free()
		if err != nil {
			return nil, err
		}
		opts.Session.Track(session.Container, c.name)
		args := []string{
			"create", "--name", c.name, "--publish", "127.0.0.1:" + strconv.Itoa(port) + ":5432",
			"--env", "POSTGRES_PASSWORD", "--shm-size", "256m", image, "postgres",
		}
		for _, s := range settings(opts) {
			if slices.ContainsFunc([]string{"listen_addresses=", "unix_socket_directories="}, func(p string) bool { return strings.HasPrefix(s, p) }) {
				continue // inside, it listens for the engine, and the image's own script connects by the socket
			}
			args = append(args, "-c", s)
		}
		// By its name the variable comes from our environment: a password in the arguments is there for all to see.
		_, err = docker(ctx, containerTimeout, []string{"POSTGRES_PASSWORD=" + password}, args...)
		server := &Server{Source: "a container of " + image, url: privateURL(port, password), own: c}
		if err == nil {
			err = server.Start(ctx)
		}
		if err == nil {
			return server, nil
		}
		err = errors.Join(err, c.remove(context.WithoutCancel(ctx)))
		if !ports.Taken(port) || try == 5 {
			return nil, err
		}
	}
}

func (c *container) start(ctx context.Context) error {
	_, err := docker(ctx, containerTimeout, nil, "start", c.name)
	return err
}

// stop sends the image's stop signal, SIGINT: a fast shutdown.
func (c *container) stop(ctx context.Context) error {
	if err := c.resume(ctx); err != nil {
		return err
	}
	_, err := docker(ctx, containerTimeout, nil, "stop", "--time", strconv.Itoa(int(fastGrace.Seconds())), c.name)
	return err
}

func (c *container) crash(ctx context.Context) error {
	c.paused = false
	_, err := docker(ctx, containerTimeout, nil, "kill", "--signal", "KILL", c.name)
	return err
}

func (c *container) pause(ctx context.Context) error {
	_, err := docker(ctx, containerTimeout, nil, "pause", c.name)
	c.paused = err == nil
	return err
}

func (c *container) resume(ctx context.Context) error {
	if !c.paused {
		return nil
	}
	_, err := docker(ctx, containerTimeout, nil, "unpause", c.name)
	c.paused = err != nil
	return err
}

func (c *container) remove(ctx context.Context) error {
	_, err := docker(ctx, containerTimeout, nil, "rm", "--force", "--volumes", c.name)
	if err != nil && !strings.Contains(err.Error(), "No such container") {
		return err
	}
	c.session.Untrack(session.Container, c.name)
	return nil
}

func (c *container) failure() error {
	ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
	defer cancel()
	running, err := docker(ctx, engineTimeout, nil, "inspect", "--format", "{{.State.Running}}", c.name)
	if err != nil || running == "true" {
		return nil // no news is no failure: the wait for the server has its own bound
	}
	out, _ := exec.CommandContext(ctx, "docker", "logs", "--tail", "15", c.name).CombinedOutput() // said or not, it has failed
	return fmt.Errorf("the container has ended:\n%s", strings.TrimSpace(string(out)))
}

// docker runs one docker command, bounded, and returns what it printed.
func docker(ctx context.Context, bound time.Duration, env []string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = append(os.Environ(), env...)
	// In a group of its own: Ctrl-C is for us, who then remove the container in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return "", fmt.Errorf("docker %s: no answer within %v", args[0], bound)
	}
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && len(exit.Stderr) > 0 {
			return "", errors.New(lastLine(string(exit.Stderr)))
		}
		return "", fmt.Errorf("docker %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// pull pulls an image as long as Docker reports progress.
func pull(ctx context.Context, image string) error {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", "pull", image)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	// The first line comes when the registry has answered, the others with each layer.
	stalled := time.AfterFunc(pullFirstAnswer, cancel)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		stalled.Reset(pullStall)
	}
	stalled.Stop()
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return errors.New("the registry does not answer")
	case err != nil && stderr.Len() > 0:
		return errors.New(lastLine(stderr.String()))
	}
	return err
}
