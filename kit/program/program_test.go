package program_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"orderflow.example/kit/await"
	"orderflow.example/kit/env"
	"orderflow.example/kit/program"
	"orderflow.example/kit/testlog"
)

const asMain = "KIT_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		sample(func(ctx context.Context, call *program.Call) error {
			call.Log.Info("working")
			fmt.Fprintln(call.Stdout, "begun")
			<-ctx.Done()
			for range 5000 { // more than a pipe holds
				call.Log.Info("draining")
			}
			return nil
		}).Main()
	}
	goleak.VerifyTestMain(m)
}

// sample is a program with one command of its own, which is also what runs without a command.
func sample(command program.Command) *program.Program {
	return &program.Program{
		Name: "sample", Version: "1.2.3", Help: "sample: help\n", Table: func() string { return "| table |\n" },
		Flags: []program.Flag{{Name: "orders", Variable: "ORDERS"}, {Name: "rate", Variable: "RATE", Commands: []string{"", "run"}}},
		Commands: map[string]program.Command{
			"": command, "run": command, "audit": command,
		},
	}
}

func lookup(variables map[string]string) env.Lookup {
	return func(name string) (string, bool) {
		value, set := variables[name]
		return value, set
	}
}

func TestCommandsFlagsAndExitCodes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"version", 0, "1.2.3\n", ""},
		{"config", 0, "| table |\n", ""},
		{"config -v", 0, "| table |\n", ""},
		{"-h", 0, "sample: help\n", ""},
		{"--help", 0, "sample: help\n", ""},
		{"help", 0, "sample: help\n", ""},
		{"audit -h", 0, "sample: help\n", ""},
		{"dance", 2, "", `sample: unknown command "dance"`},
		{"--fast", 2, "", "sample: flag provided but not defined: -fast"},
		{"audit please", 2, "", `sample: unexpected argument "please"`},
		{"--rate 5 audit", 2, "", "sample: flag -rate is for: (no command), run"},
		{"audit --rate 5", 2, "", "sample: flag -rate is for: (no command), run"},
		{"-v=5", 2, "", "it takes no value"},
		{"--orders", 2, "", "flag needs an argument: -orders"},
		{"", 0, "[7] [] []", ""},
		{"-v", 0, "[7] [] [debug]", ""},
		{"audit", 0, "audit [7] [] []", ""},
		{"audit -v", 0, "audit [7] [] [debug]", ""},
		{"-v audit --orders 8", 0, "audit [8] [] [debug]", ""},
		{"--orders=8 -rate=5", 0, "[8] [5] []", ""},
		{"run --orders=", 0, "run [] [] []", ""},
	} {
		var stdout, stderr bytes.Buffer
		code := sample(func(_ context.Context, call *program.Call) error {
			orders, _ := call.Lookup("ORDERS")
			rate, _ := call.Lookup("RATE")
			level, _ := call.Lookup("LOG_LEVEL")
			fmt.Fprintf(call.Stdout, "%s [%s] [%s] [%s]", call.Command, orders, rate, level)
			return nil
		}).Run(t.Context(), strings.Fields(test.args), lookup(map[string]string{"ORDERS": "7"}), &stdout, &stderr, nil)
		if code != test.code || strings.TrimSpace(stdout.String()) != strings.TrimSpace(test.stdout) || !strings.Contains(stderr.String(), test.stderr) || strings.Count(stderr.String(), "\n") > 1 {
			t.Errorf("%s: %d\n%s\n%s", test.args, code, &stdout, &stderr)
		}
	}
}

func TestErrorsBecomeExitCodes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err    error
		code   int
		stderr string
	}{
		{nil, 0, ""},
		{fmt.Errorf("%w: PORT", env.ErrConfiguration), 2, "sample: wrong configuration: PORT\n"},
		{program.ExitError(99), 99, ""},
		{errors.New("broken"), 1, `"msg":"stopped by an error","error":"broken"`},
	} {
		var stdout, stderr testlog.Buffer
		code := sample(func(context.Context, *program.Call) error { return test.err }).Run(t.Context(), nil, lookup(nil), &stdout, &stderr, nil)
		if code != test.code || test.stderr == "" && stderr.String() != "" {
			t.Errorf("%v: %d %s", test.err, code, stderr.String())
		}
		await.True(t, "it says "+test.stderr, func() bool { return strings.Contains(stderr.String(), test.stderr) }) // the end waits a second for its log
	}
}

func TestTheFirstSignalEndsTheContext(t *testing.T) {
	t.Parallel()
	signals := make(chan os.Signal, 2)
	var stderr testlog.Buffer
	code := sample(func(ctx context.Context, call *program.Call) error {
		signals <- syscall.SIGTERM
		<-ctx.Done()
		if call.Twice.Err() != nil {
			t.Error("one signal counts as two")
		}
		return nil
	}).Run(t.Context(), nil, lookup(nil), &stderr, &stderr, signals)
	if code != 0 {
		t.Errorf("%d %s", code, stderr.String())
	}
	await.True(t, "the signal is in the log", func() bool { return strings.Contains(stderr.String(), "terminated") })
}

func TestTheSecondSignalExitsAtOnce(t *testing.T) {
	t.Parallel()
	signals, release, gone := make(chan os.Signal, 2), make(chan struct{}), make(chan struct{})
	p := sample(func(ctx context.Context, call *program.Call) error {
		defer close(gone)
		signals <- syscall.SIGTERM
		<-ctx.Done()
		signals <- syscall.SIGINT
		<-call.Twice.Done()
		<-release // it would drain for long
		return nil
	})
	var stderr testlog.Buffer
	if code := p.Run(t.Context(), nil, lookup(nil), &stderr, &stderr, signals); code != program.Fault {
		t.Errorf("exit code %d", code)
	}
	close(release)
	<-gone
}

func TestGraceLeavesTimeForLastWords(t *testing.T) {
	t.Parallel()
	signals := make(chan os.Signal, 2)
	signals <- syscall.SIGTERM
	signals <- syscall.SIGTERM
	p := sample(func(_ context.Context, call *program.Call) error {
		<-call.Twice.Done()
		return program.ExitError(130)
	})
	p.Grace = time.Minute
	var stderr testlog.Buffer
	if code := p.Run(t.Context(), nil, lookup(nil), &stderr, &stderr, signals); code != 130 {
		t.Errorf("exit code %d", code)
	}

	signals, release, gone := make(chan os.Signal, 2), make(chan struct{}), make(chan struct{})
	signals <- syscall.SIGTERM
	signals <- syscall.SIGTERM
	p = sample(func(context.Context, *program.Call) error {
		defer close(gone)
		<-release
		return nil
	})
	p.Grace, p.Aborted = time.Millisecond, 130
	if code := p.Run(t.Context(), nil, lookup(nil), &stderr, &stderr, signals); code != 130 {
		t.Errorf("exit code %d", code)
	}
	close(release)
	<-gone
}

// A log collector that hangs takes no more once its pipe is full. Nobody may wait for it: not the work, and not the end.
func TestALogThatNobodyReadsDoesNotHoldUpTheProcess(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	ctx, cancel := context.WithTimeout(t.Context(), await.Limit())
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), asMain+"=1")
	cmd.Stderr = write
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	begun := make([]byte, len("begun\n"))
	if _, err := io.ReadFull(stdout, begun); err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it did not end as it should: %v", err)
	}
}

// A log collector that has gone takes its end of the pipe along. By default the next line would end the process by SIGPIPE.
func TestALogThatCannotBeWrittenDoesNotEndTheProcess(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-v")
	cmd.Env = append(os.Environ(), asMain+"=1")
	cmd.Stderr = write
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	_ = read.Close() // the collector is gone
	begun := make([]byte, len("begun\n"))
	if _, err := io.ReadFull(stdout, begun); err != nil || string(begun) != "begun\n" {
		t.Errorf("%q, %v", begun, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it did not end as it should: %v", err)
	}
}
