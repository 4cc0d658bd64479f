package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// sql runs a statement as the superuser in the Postgres pod.
func (s *suite) sql(ctx context.Context, database, statement string) (string, error) {
	out, err := s.cluster.kubectl(ctx, "exec", release+"-postgres-0", "--",
		"psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "-v", "ON_ERROR_STOP=1",
		"--username", "postgres", "--dbname", database, "--command", statement)
	return strings.TrimSpace(out), err
}

// sqlAs runs a statement as one of the roles, over TCP with the password of its Secret.
func (s *suite) sqlAs(ctx context.Context, role, statement string) error {
	password, err := s.secret(ctx, release+"-db-"+role, "password")
	if err != nil {
		return err
	}
	_, err = s.cluster.kubectl(ctx, "exec", release+"-postgres-0", "--", "env", "PGPASSWORD="+password,
		"psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "-v", "ON_ERROR_STOP=1",
		"--host", "127.0.0.1", "--username", "orderflow_"+role, "--dbname", "orderflow", "--command", statement)
	return err
}

// count counts orders.
func (s *suite) count(ctx context.Context, where string) (int, error) {
	out, err := s.sql(ctx, "orderflow", "select count(*) from orders where "+where)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(out)
}

// completedBy counts a run's orders by the pod that completed them.
func (s *suite) completedBy(ctx context.Context, l *load) (map[string]int, error) {
	out, err := s.sql(ctx, "orderflow", "select processed_by, count(*) from orders where status = 'completed' and "+l.orders()+" group by 1")
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for line := range strings.Lines(out) {
		name, n, _ := strings.Cut(strings.TrimSpace(line), "|")
		if counts[name], err = strconv.Atoi(n); err != nil {
			return nil, fmt.Errorf("unexpected %q: %w", line, err)
		}
	}
	return counts, nil
}

func (s *suite) secret(ctx context.Context, name, key string) (string, error) {
	var secret struct{ Data map[string]string }
	if err := s.cluster.get(ctx, &secret, "secret", name); err != nil {
		return "", err
	}
	value, err := base64.StdEncoding.DecodeString(secret.Data[key])
	return string(value), err
}
