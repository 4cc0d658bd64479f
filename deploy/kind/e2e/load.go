package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// audit is the load generator's account, as in its last line.
type audit struct{ Accepted, Completed, Dead, Lost, Duplicated int }

func (a audit) String() string {
	return fmt.Sprintf("accepted=%d completed=%d dead=%d lost=%d duplicated=%d", a.Accepted, a.Completed, a.Dead, a.Lost, a.Duplicated)
}

func (a audit) plus(b audit) audit {
	return audit{a.Accepted + b.Accepted, a.Completed + b.Completed, a.Dead + b.Dead, a.Lost + b.Lost, a.Duplicated + b.Duplicated}
}

func (a audit) since(b audit) audit {
	return audit{a.Accepted - b.Accepted, a.Completed - b.Completed, a.Dead - b.Dead, a.Lost - b.Lost, a.Duplicated - b.Duplicated}
}

var auditLine = regexp.MustCompile(`(?m)^audit: accepted=(\d+) completed=(\d+) dead=(\d+) lost=(\d+) duplicated=(\d+)$`)

// parseAudit sums the last lines of all generators whose log it is.
func parseAudit(log string) (audit, error) {
	matches := auditLine.FindAllStringSubmatch(log, -1)
	if matches == nil {
		return audit{}, errors.New("no audit in the log")
	}
	var sum audit
	for _, match := range matches {
		var numbers [5]int
		for i := range numbers {
			numbers[i], _ = strconv.Atoi(match[i+1]) // digits, by the expression
		}
		sum = sum.plus(audit{numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]})
	}
	return sum, nil
}

// load is a run of the load generator in the cluster: the chart's own Job.
type load struct {
	suite *suite
	job   string
	run   string // its id, with which all its idempotency keys begin
}

// start renders the chart's loadgen Job with these settings (below loadgen.) and creates it.
func (s *suite) start(ctx context.Context, scenario string, settings map[string]string) (*load, error) {
	all := maps.Clone(s.settings)
	all["loadgen.enabled"] = "true"
	all["loadgen.podAnnotations.scenario"] = scenario // other settings, another Job
	for key, value := range settings {
		all["loadgen."+key] = value
	}
	args := append([]string{"template", release, s.chart, "--show-only", "templates/loadgen-job.yaml"}, flags(all)...)
	manifest, err := s.cluster.helmRun(ctx, args...)
	if err != nil {
		return nil, err
	}
	if err := s.cluster.apply(ctx, manifest); err != nil {
		return nil, err
	}
	name := regexp.MustCompile(`(?m)^  name: (\S+)$`).FindStringSubmatch(manifest)
	if name == nil {
		return nil, errors.New("the chart's loadgen Job has no name")
	}
	var job struct{ Metadata struct{ UID string } }
	if err := s.cluster.get(ctx, &job, "job", name[1]); err != nil {
		return nil, err
	}
	return &load{suite: s, job: name[1], run: job.Metadata.UID}, nil
}

// flowing waits until orders of this run come in and are completed.
func (l *load) flowing(ctx context.Context) error {
	return eventually(ctx, time.Minute, "orders of "+l.job+" are completed", func(ctx context.Context) (bool, error) {
		if failed, err := l.failed(ctx); failed || err != nil {
			return false, final("%s failed before it began (%v)", l.job, err)
		}
		n, err := l.suite.count(ctx, "status = 'completed' and "+l.orders())
		return n >= 20, err
	})
}

// orders is the condition that finds this run's orders.
func (l *load) orders() string { return "starts_with(idempotency_key, '" + l.run + "-')" }

func (l *load) status(ctx context.Context) (succeeded, failed bool, err error) {
	var job struct {
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	if err := l.suite.cluster.get(ctx, &job, "job", l.job); err != nil {
		return false, false, err
	}
	for _, condition := range job.Status.Conditions {
		succeeded = succeeded || condition.Type == "Complete" && condition.Status == "True"
		failed = failed || condition.Type == "Failed" && condition.Status == "True"
	}
	return succeeded, failed, nil
}

func (l *load) failed(ctx context.Context) (bool, error) {
	_, failed, err := l.status(ctx)
	return failed, err
}

// wait for the Job, and take its audit into the sum. A Job that fails (its exit code is the audit's and the thresholds') is an
// error with the end of its log.
func (l *load) wait(ctx context.Context) (audit, error) {
	failed := false
	err := eventually(ctx, 4*time.Minute, l.job+" ends", func(ctx context.Context) (bool, error) {
		succeeded, broken, err := l.status(ctx)
		failed = broken
		return succeeded || broken, err
	})
	log, logErr := l.suite.cluster.kubectl(ctx, "logs", "--selector", "job-name="+l.job, "--tail=-1")
	if err := errors.Join(err, logErr); err != nil {
		return audit{}, fmt.Errorf("%w\n%s", err, tail(log, 15))
	}
	got, err := parseAudit(log)
	l.suite.total = l.suite.total.plus(got)
	if err != nil || failed {
		return got, errors.Join(err, fmt.Errorf("%s failed:\n%s", l.job, tail(log, 25)))
	}
	if got.Lost+got.Duplicated > 0 || got.Accepted != got.Completed+got.Dead {
		return got, fmt.Errorf("%s: %s", l.job, got)
	}
	return got, nil
}

// auditAgain lets a load generator outside the cluster audit the run by its id, through the api alone.
func (l *load) auditAgain(ctx context.Context) (audit, error) {
	var got audit
	err := l.suite.withAPI(ctx, func(url string) error {
		cmd := exec.CommandContext(ctx, l.suite.loadgen, "audit", "--run", l.run, "--api", url)
		log, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("loadgen audit: %w\n%s", err, tail(string(log), 15))
		}
		got, err = parseAudit(string(log))
		return err
	})
	l.suite.total.Lost += got.Lost
	l.suite.total.Duplicated += got.Duplicated
	return got, err
}

// terminationMessage is what the run left for `kubectl describe`.
func (l *load) terminationMessage(ctx context.Context) (string, error) {
	var list struct {
		Items []struct {
			Status struct {
				Containers []struct {
					State struct {
						Terminated struct{ Message string }
					}
				} `json:"containerStatuses"`
			}
		}
	}
	if err := l.suite.cluster.get(ctx, &list, "pods", "--selector", "job-name="+l.job); err != nil {
		return "", err
	}
	if len(list.Items) == 0 || len(list.Items[0].Status.Containers) == 0 {
		return "", errors.New("the Job has no pod")
	}
	return list.Items[0].Status.Containers[0].State.Terminated.Message, nil
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return "      | " + strings.Join(all[max(0, len(all)-lines):], "\n      | ")
}

// decode is for answers of the api.
func decode[T any](text []byte) (T, error) {
	var value T
	err := json.Unmarshal(text, &value)
	return value, err
}
