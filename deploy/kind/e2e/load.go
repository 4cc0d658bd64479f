package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// audit is the load generator's account, as in its report.
type audit struct{ Accepted, Completed, Dead, Lost, Duplicated int }

// report is what the load generator writes for programs: in full into a file, and shortened as its container's termination message.
type report struct {
	Faults []string
	Audit  *audit // nil: it was ended before there was one
	// Receiver is the account of the webhooks' receiver, where there is one.
	Receiver *received
}

func (a audit) String() string {
	return fmt.Sprintf("accepted=%d completed=%d dead=%d lost=%d duplicated=%d", a.Accepted, a.Completed, a.Dead, a.Lost, a.Duplicated)
}

func (a audit) plus(b audit) audit {
	return audit{a.Accepted + b.Accepted, a.Completed + b.Completed, a.Dead + b.Dead, a.Lost + b.Lost, a.Duplicated + b.Duplicated}
}

func (a audit) since(b audit) audit {
	return audit{a.Accepted - b.Accepted, a.Completed - b.Completed, a.Dead - b.Dead, a.Lost - b.Lost, a.Duplicated - b.Duplicated}
}

// sum adds up what some load generators came to.
func sum(reports []report) (total audit, err error) {
	audits := 0
	for _, r := range reports {
		if r.Audit != nil {
			total = total.plus(*r.Audit)
			audits++
		}
	}
	if audits == 0 {
		return audit{}, errors.New("no load generator has left an audit")
	}
	return total, nil
}

// reports are those that the load generators in some pods have left as their termination messages.
func (c *cluster) reports(ctx context.Context, selector string) ([]report, error) {
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct {
				Containers []struct {
					State struct {
						Terminated struct{ Message string }
					}
				} `json:"containerStatuses"`
			}
		}
	}
	if err := c.get(ctx, &list, "pods", "--selector", selector); err != nil {
		return nil, err
	}
	var reports []report
	for _, pod := range list.Items {
		for _, container := range pod.Status.Containers {
			message := container.State.Terminated.Message
			if message == "" { // it was killed before it could say anything
				continue
			}
			r, err := decode[report]([]byte(message))
			if err != nil {
				return nil, fmt.Errorf("the termination message of pod %s is no report: %w: %s", pod.Metadata.Name, err, message)
			}
			reports = append(reports, r)
		}
	}
	return reports, nil
}

// helmTest runs `helm test` for a release, and returns the audit of its pod.
func (s *suite) helmTest(ctx context.Context, release string) (audit, error) {
	if log, err := s.cluster.helmRun(ctx, "test", release, "--logs", "--timeout", "2m"); err != nil {
		return audit{}, fmt.Errorf("%w\n%s", err, tail(log, 15))
	}
	reports, err := s.cluster.reports(ctx, "app.kubernetes.io/component=test,app.kubernetes.io/instance="+release)
	if err != nil {
		return audit{}, err
	}
	got, err := sum(reports)
	s.total = s.total.plus(got)
	return got, err
}

// load is a run of the load generator in the cluster: the chart's own Job.
type load struct {
	suite   *suite
	job     string
	run     string        // its id, with which all its idempotency keys begin
	length  time.Duration // of the sending; 0: as long as its orders take
	excused string        // its faults may have this in them; empty: it may have none
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
	length, err := time.ParseDuration(cmp.Or(settings["duration"], "0s"))
	return &load{suite: s, job: name[1], run: job.Metadata.UID, length: length}, err
}

// flowing waits until orders of this run come in and are completed.
func (l *load) flowing(ctx context.Context) error {
	return eventually(ctx, 3*time.Minute, "orders of "+l.job+" are completed", func(ctx context.Context) (bool, error) {
		_, failed, err := l.status(ctx)
		if err != nil {
			return false, err
		}
		if failed {
			return false, final("%s failed before it began", l.job)
		}
		n, err := l.suite.count(ctx, "status = 'completed' and "+l.orders())
		return n >= 20, err
	})
}

// outlasts waits until another order of this run comes in: what was done before that was done under load. Where none comes any more, it has
// shown nothing.
func (l *load) outlasts(ctx context.Context, what string) error {
	before, err := l.suite.count(ctx, l.orders())
	if err != nil {
		return err
	}
	return eventually(ctx, time.Minute, "orders of "+l.job+" come in after "+what, func(ctx context.Context) (bool, error) {
		succeeded, failed, err := l.status(ctx)
		if failed || err != nil {
			return failed, err // wait says why
		}
		n, err := l.suite.count(ctx, l.orders())
		if n == before && succeeded {
			return false, final("%s outlasted the load, so it has shown nothing", what)
		}
		return n > before, err
	})
}

// underLoad shows that the system stands a step under load: it begins when orders of a run are completed, and more have to come in after it.
// Where the run is over by then, as on a busy machine, both come again, with one of twice the length.
func (s *suite) underLoad(ctx context.Context, scenario, what string, settings map[string]string, step func() error) (*load, audit, error) {
	const tries = 4
	length, err := time.ParseDuration(settings["duration"])
	if err != nil {
		return nil, audit{}, err
	}
	settings = maps.Clone(settings)
	for try := 1; ; try++ {
		settings["duration"] = length.String()
		run, err := s.start(ctx, fmt.Sprint(scenario, try), settings)
		if err != nil {
			return nil, audit{}, err
		}
		if err := run.flowing(ctx); err != nil {
			return nil, audit{}, err
		}
		if err := step(); err != nil {
			return nil, audit{}, err
		}
		over := run.outlasts(ctx, what)
		got, err := run.wait(ctx)
		if err != nil || over == nil {
			return run, got, err
		}
		if !errors.As(over, new(*finalError)) || try == tries {
			return nil, audit{}, over
		}
		say("%v: again, with %s of load", over, seconds(2*length))
		length *= 2
	}
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

// wait for the Job, and take its audit into the sum. A Job that fails (its exit code is the audit's and the thresholds') is an
// error with the end of its log.
func (l *load) wait(ctx context.Context) (audit, error) {
	failed := false
	err := eventually(ctx, l.length+4*time.Minute, l.job+" ends", func(ctx context.Context) (bool, error) {
		succeeded, broken, err := l.status(ctx)
		failed = broken
		return succeeded || broken, err
	})
	if err != nil {
		return audit{}, fmt.Errorf("%w\n%s", err, l.log(ctx))
	}
	reports, err := l.suite.cluster.reports(ctx, "job-name="+l.job)
	if err != nil {
		return audit{}, err
	}
	got, err := sum(reports)
	l.suite.total = l.suite.total.plus(got)
	if err != nil || failed && !l.excuses(reports) {
		return got, errors.Join(err, fmt.Errorf("%s failed: %v\n%s", l.job, reports, l.log(ctx)))
	}
	if got.Lost+got.Duplicated > 0 || got.Accepted != got.Completed+got.Dead {
		return got, fmt.Errorf("%s: %s", l.job, got)
	}
	return got, nil
}

// excuses says whether a run has failed for nothing but what it may.
func (l *load) excuses(reports []report) bool {
	faults := 0
	for _, r := range reports {
		for _, fault := range r.Faults {
			if l.excused == "" || !strings.Contains(fault, l.excused) {
				return false
			}
			faults++
		}
	}
	return faults > 0
}

// log is the end of what the run has logged, for people.
func (l *load) log(ctx context.Context) string {
	text, err := l.suite.cluster.kubectl(ctx, "logs", "--selector", "job-name="+l.job, "--tail=25")
	if err != nil {
		return err.Error()
	}
	return tail(text, 25)
}

// auditAgain lets a load generator outside the cluster audit the run by its id, through the api alone.
func (l *load) auditAgain(ctx context.Context) (audit, error) {
	file, err := os.CreateTemp("", "report-*.json")
	if err != nil {
		return audit{}, err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // it is in the directory for temporary files
	if err := file.Close(); err != nil {
		return audit{}, err
	}
	err = l.suite.withAPI(ctx, func(url string) error {
		log, err := exec.CommandContext(ctx, l.suite.loadgen, "audit", "--run", l.run, "--api", url, "--json", file.Name()).CombinedOutput()
		if err != nil {
			return fmt.Errorf("loadgen audit: %w\n%s", err, tail(string(log), 15))
		}
		return nil
	})
	if err != nil {
		return audit{}, err
	}
	text, err := os.ReadFile(file.Name())
	if err != nil {
		return audit{}, err
	}
	r, err := decode[report](text)
	if err != nil {
		return audit{}, err
	}
	got, err := sum([]report{r})
	l.suite.total.Lost += got.Lost
	l.suite.total.Duplicated += got.Duplicated
	return got, err
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return "      | " + strings.Join(all[max(0, len(all)-lines):], "\n      | ")
}

// decode reads JSON.
func decode[T any](text []byte) (T, error) {
	var value T
	err := json.Unmarshal(text, &value)
	return value, err
}
