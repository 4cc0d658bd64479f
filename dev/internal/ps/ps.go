// Package ps lists the machine's processes, with or without a ps command: small images have none.
package ps

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Process is one process of the machine, of whatever user.
type Process struct {
	PID, Parent int
	State       byte // R, S, T, Z, …
	Command     string
}

// List lists what runs on the machine: from Linux's /proc where there is one, else from the ps command.
func List() ([]Process, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err == nil && len(stats) > 0 {
		var list []Process
		for _, path := range stats {
			stat, err := os.ReadFile(path)
			if err != nil {
				continue // it has ended meanwhile
			}
			p, ok := parseStat(stat)
			if !ok {
				continue
			}
			if command, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline")); err == nil {
				p.Command = strings.TrimSpace(string(bytes.ReplaceAll(command, []byte{0}, []byte{' '})))
			}
			list = append(list, p)
		}
		return list, nil
	}
	out, err := exec.Command("ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,args=").Output() //nolint:noctx // it does not wait for anything
	if err != nil {
		return nil, fmt.Errorf("list the machine's processes: %w", err)
	}
	var list []Process
	for line := range strings.Lines(string(out)) {
		if p, ok := parseFields(strings.Fields(line)); ok {
			list = append(list, p)
		}
	}
	return list, nil
}

// parseStat reads Linux's /proc/PID/stat: "15 (any ( name) S 1 …".
func parseStat(data []byte) (Process, bool) {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return Process{}, false
	}
	rest := strings.Fields(string(data[end+1:]))
	if len(rest) < 2 {
		return Process{}, false
	}
	return parseFields([]string{strings.TrimSpace(string(data[:open])), rest[1], rest[0]})
}

// parseFields reads number, parent, state and, if there is one, the command.
func parseFields(fields []string) (Process, bool) {
	if len(fields) < 3 {
		return Process{}, false
	}
	pid, err1 := strconv.Atoi(fields[0])
	parent, err2 := strconv.Atoi(fields[1])
	return Process{pid, parent, fields[2][0], strings.Join(fields[3:], " ")}, err1 == nil && err2 == nil
}

// Children lists the processes that a process has started.
func Children(pid int) ([]int, error) {
	list, err := List()
	if err != nil {
		return nil, err
	}
	var children []int
	for _, p := range list {
		if p.Parent == pid {
			children = append(children, p.PID)
		}
	}
	return children, nil
}

// Running says which of the processes have not ended. A zombie has: where process 1 is not an init, it stays one.
func Running(pids ...int) ([]Process, error) {
	list, err := List()
	return slices.DeleteFunc(list, func(p Process) bool { return p.State == 'Z' || !slices.Contains(pids, p.PID) }), err
}

// WaitGone waits, up to a minute, until processes that were killed have ended.
func WaitGone(pids []int) error {
	return wait(pids, "killed processes are still there", func(Process) bool { return false })
}

// WaitStopped waits, up to a minute, until a process that was sent SIGSTOP has stopped, or has ended: until then it may still make children.
func WaitStopped(pid int) error {
	return wait([]int{pid}, "a process that was told to stop goes on", func(p Process) bool { return p.State == 'T' })
}

// wait waits until each of the processes has ended, or is as it should be.
func wait(pids []int, otherwise string, as func(Process) bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		running, err := Running(pids...)
		if err != nil {
			return err
		}
		if running = slices.DeleteFunc(running, as); len(running) == 0 {
			return nil
		}
	}
	return errors.New(otherwise + " after a minute")
}
