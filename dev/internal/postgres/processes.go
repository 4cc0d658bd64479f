package postgres

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

// process is one line of the machine's list of processes.
type process struct {
	pid, parent int
	state       byte // R, S, T, Z, …
}

// processes lists what runs on the machine: from /proc where there is one (small images have no ps), else from ps.
func processes() ([]process, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err == nil && len(stats) > 0 {
		var list []process
		for _, path := range stats {
			data, err := os.ReadFile(path)
			if err != nil {
				continue // it has ended meanwhile
			}
			if p, ok := parseStat(data); ok {
				list = append(list, p)
			}
		}
		return list, nil
	}
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=,stat=").Output() //nolint:noctx // it does not wait for anything
	if err != nil {
		return nil, fmt.Errorf("list the machine's processes: %w", err)
	}
	var list []process
	for line := range strings.Lines(string(out)) {
		if p, ok := parseFields(strings.Fields(line)); ok {
			list = append(list, p)
		}
	}
	return list, nil
}

// parseStat reads Linux's /proc/PID/stat: "15 (any ( name) S 1 …".
func parseStat(data []byte) (process, bool) {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return process{}, false
	}
	rest := strings.Fields(string(data[end+1:]))
	if len(rest) < 2 {
		return process{}, false
	}
	return parseFields([]string{strings.TrimSpace(string(data[:open])), rest[1], rest[0]})
}

func parseFields(fields []string) (process, bool) {
	if len(fields) != 3 {
		return process{}, false
	}
	pid, err1 := strconv.Atoi(fields[0])
	parent, err2 := strconv.Atoi(fields[1])
	return process{pid, parent, fields[2][0]}, err1 == nil && err2 == nil
}

// childrenOf lists the processes that a process of ours has started.
func childrenOf(pid int) ([]int, error) {
	list, err := processes()
	if err != nil {
		return nil, err
	}
	var children []int
	for _, p := range list {
		if p.parent == pid {
			children = append(children, p.pid)
		}
	}
	return children, nil
}

// waitGone waits until killed processes are gone: Postgres does not start as long as one of the old ones is attached to the shared
// memory. A zombie is gone: where process 1 is not an init, it stays one.
func waitGone(pids []int) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
		list, err := processes()
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(list, func(p process) bool { return p.state != 'Z' && slices.Contains(pids, p.pid) }) {
			return nil
		}
	}
	return errors.New("processes of the killed server are still there after 10 s")
}
