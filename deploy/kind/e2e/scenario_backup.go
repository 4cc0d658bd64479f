package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// backup: the CronJob's job runs while orders come in, twice, and one dump is kept. The dump is restored beside the database: it holds completed
// orders, none of them twice, and each pending order with its message.
func backup(ctx context.Context, s *suite) error {
	// kind's class binds a volume when a pod uses it: helm, which waits for the claim, is not to wait for the first dump.
	if err := s.upgrade(ctx, map[string]string{
		"backup.enabled": "true", "backup.schedule": "0 0 31 2 *" /* never by itself */, "backup.keep": "1", "backup.storage.size": "1Gi",
	}); err != nil {
		return err
	}
	run, err := s.start(ctx, "o", map[string]string{"rate": "60", "duration": "20s"})
	if err != nil {
		return err
	}
	if err := run.flowing(ctx); err != nil {
		return err
	}
	const name = release + "-backup"
	for _, job := range []string{"backup-first", "backup-second"} {
		if job == "backup-second" {
			if _, err := s.cluster.kubectl(ctx, "wait", "--for=condition=complete", "--timeout=2m", "job/backup-first"); err != nil {
				return s.jobFailed(ctx, "backup-first", err)
			}
		}
		if _, err := s.cluster.kubectl(ctx, "create", "job", job, "--from=cronjob/"+name); err != nil {
			return err
		}
	}
	if _, err := s.cluster.kubectl(ctx, "wait", "--for=condition=complete", "--timeout=2m", "job/backup-second"); err != nil {
		return s.jobFailed(ctx, "backup-second", err)
	}
	listing, err := s.cluster.kubectl(ctx, "logs", "job/backup-second")
	if err != nil {
		return err
	}
	if n := strings.Count(listing, ".dump"); n != 1 || strings.Contains(listing, ".part") {
		return fmt.Errorf("of the dumps one was to be kept:\n%s", listing)
	}
	say("two dumps under load, the later one is kept")

	if _, err := s.sql(ctx, "postgres", "create database restored owner orderflow_owner"); err != nil {
		return err
	}
	if err := s.restoreJob(ctx, name); err != nil {
		return err
	}
	out, err := s.sql(ctx, "restored", `
		select count(*) filter (where status = 'completed' and effects = 1), count(*) filter (where effects > 1),
			count(*) filter (where status = 'pending' and not exists (select from pgmq.q_order_queue q where q.msg_id = o.message_id))
		from orders o`)
	if err != nil {
		return err
	}
	var figures []int
	for text := range strings.SplitSeq(out, "|") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("unexpected %q: %w", out, err)
		}
		figures = append(figures, n)
	}
	if figures[0] == 0 || figures[1] != 0 || figures[2] != 0 {
		return fmt.Errorf("restored: completed|twice|without a message: %s", out)
	}
	say("restored beside it: %d completed orders, none twice, none without its message", figures[0])
	if _, err := s.sql(ctx, "postgres", "drop database restored"); err != nil {
		return err
	}
	_, err = run.wait(ctx)
	return err
}

// restoreJob runs the CronJob's own pod with pg_restore in the place of pg_dump.
func (s *suite) restoreJob(ctx context.Context, cronjob string) error {
	var made struct {
		Spec struct {
			JobTemplate struct{ Spec map[string]any }
		}
	}
	if err := s.cluster.get(ctx, &made, "cronjob", cronjob); err != nil {
		return err
	}
	spec := made.Spec.JobTemplate.Spec
	pod, _ := spec["template"].(map[string]any)["spec"].(map[string]any)
	containers, _ := pod["containers"].([]any)
	if len(containers) != 1 {
		return errors.New("the CronJob's pod has not one container")
	}
	container, _ := containers[0].(map[string]any)
	container["command"] = []string{"sh", "-euc", `
		PGPASSWORD=$(cat "$PGPASSWORD_FILE"); export PGPASSWORD
		pg_restore --exit-on-error --no-owner --no-comments --dbname="$(printf %s "$DATABASE_URL" | sed 's,/orderflow?,/restored?,')" /backups/orderflow-*.dump`}
	manifest, err := json.Marshal(map[string]any{
		"apiVersion": "batch/v1", "kind": "Job", "metadata": map[string]any{"name": "restore"}, "spec": spec,
	})
	if err != nil {
		return err
	}
	if err := s.cluster.apply(ctx, string(manifest)); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if _, err := s.cluster.kubectl(limited, "wait", "--for=condition=complete", "--timeout=2m", "job/restore"); err != nil {
		return s.jobFailed(ctx, "restore", err)
	}
	return nil
}

// jobFailed adds what a Job's pods said to an error.
func (s *suite) jobFailed(ctx context.Context, job string, err error) error {
	text, _ := s.cluster.kubectl(ctx, "logs", "job/"+job, "--tail=20") // it may have none
	return fmt.Errorf("%s: %w\n%s", job, err, text)
}
