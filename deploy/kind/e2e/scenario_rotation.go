package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"strconv"
	"time"
)

// rotation: every secret that the README says how to change is changed under load, forward and back, and no order is lost.
func rotation(ctx context.Context, s *suite) error {
	run, err := s.start(ctx, "l", map[string]string{"rate": "20", "duration": "240s"})
	if err != nil {
		return err
	}
	if err := run.flowing(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context, *suite) error{drawnPasswords, rolledBack, givenPassword, changedToken, drawnCertificate} {
		if err := step(ctx, s); err != nil {
			return err
		}
	}
	got, err := run.wait(ctx)
	if err == nil {
		say("the load that ran meanwhile: %s", got)
	}
	return err
}

// drawnPasswords: a Secret that the chart has drawn is deleted, and the upgrade draws another.
func drawnPasswords(ctx context.Context, s *suite) error {
	for _, role := range []string{"api", "consumer", "owner"} {
		name := release + "-db-" + role
		before, err := s.secret(ctx, name, "password")
		if err != nil {
			return err
		}
		if _, err := s.cluster.kubectl(ctx, "delete", "secret", name); err != nil {
			return err
		}
		if err := s.upgrade(ctx, nil); err != nil {
			return fmt.Errorf("%s's new password: %w", role, err)
		}
		after, err := s.secret(ctx, name, "password")
		if err != nil {
			return err
		}
		if after == before {
			return fmt.Errorf("%s's password is what it was", role)
		}
		if err := s.takes(ctx, role); err != nil {
			return err
		}
		say("%s's password: deleted, drawn anew, and the database takes it", role)
	}
	return nil
}

// takes waits until the database takes what a role's Secret says.
func (s *suite) takes(ctx context.Context, role string) error {
	return eventually(ctx, 2*time.Minute, "the database takes "+role+"'s password", func(ctx context.Context) (bool, error) {
		err := s.sqlAs(ctx, role, "select 1")
		return err == nil, err
	})
}

// rolledBack: the Secrets go back with the release, the owner's too.
func rolledBack(ctx context.Context, s *suite) error {
	now, err := s.secret(ctx, release+"-db-owner", "password")
	if err != nil {
		return err
	}
	if _, err := s.cluster.helmRun(ctx, "rollback", release, "--wait", "--timeout", "3m"); err != nil {
		return err
	}
	before, err := s.secret(ctx, release+"-db-owner", "password")
	if err != nil {
		return err
	}
	if now == before {
		return fmt.Errorf("helm rollback left the owner's password as it was")
	}
	if err := s.takes(ctx, "owner"); err != nil {
		return err
	}
	say("helm rollback: the owner's password is the former one, in the database too")
	return s.settled(ctx, release)
}

// givenPassword: the content of a Secret changes, the api is restarted for its migration, and no consumer is.
func givenPassword(ctx context.Context, s *suite) error {
	before, err := s.identities(ctx, "consumer")
	if err != nil {
		return err
	}
	if err := s.change(ctx, release+"-db-consumer", "password", "changed by hand, with 'quotes' and spaces"); err != nil {
		return err
	}
	if _, err := s.cluster.kubectl(ctx, "rollout", "restart", "deployment/"+release+"-api"); err != nil {
		return err
	}
	if _, err := s.cluster.kubectl(ctx, "rollout", "status", "deployment/"+release+"-api", "--timeout=3m"); err != nil {
		return err
	}
	if err := s.takes(ctx, "consumer"); err != nil {
		return err
	}
	// Those that are open would hide a consumer that knows the old password only.
	if _, err := s.sql(ctx, "postgres", "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'orderflow_consumer'"); err != nil {
		return err
	}
	if err := eventually(ctx, 2*time.Minute, "consumers are back with the new password", func(ctx context.Context) (bool, error) {
		text, err := s.sql(ctx, "postgres", "select count(distinct application_name) from pg_stat_activity where usename = 'orderflow_consumer'")
		if err != nil {
			return false, err
		}
		n, err := strconv.Atoi(text)
		return n >= len(before), err
	}); err != nil {
		return err
	}
	if err := s.settled(ctx, release); err != nil {
		return err
	}
	after, err := s.identities(ctx, "consumer")
	if err != nil {
		return err
	}
	if !maps.Equal(before, after) {
		return fmt.Errorf("consumers were restarted: %v, then %v", before, after)
	}
	say("a Secret's content changed: consumers connect with the new password, and none was restarted")
	return nil
}

// changedToken: the admin's token changes in its Secret, and the running api follows.
func changedToken(ctx context.Context, s *suite) error {
	before, err := s.identities(ctx, "api")
	if err != nil {
		return err
	}
	const token = "another-token-of-the-admins"
	if err := s.change(ctx, release+"-admin", "token", token); err != nil {
		return err
	}
	err = eventually(ctx, 3*time.Minute, "the api takes the new admin token", func(ctx context.Context) (bool, error) {
		// Anew each time: a refused request ends its connection, and kubectl then forwards no more.
		err := s.withAPI(ctx, func(url string) error {
			_, err := call(ctx, "POST", url+"/dead-letters/redrive", token, `{"all": true, "dry_run": true}`)
			return err
		})
		return err == nil, err
	})
	if err != nil {
		return err
	}
	after, err := s.identities(ctx, "api")
	if err != nil {
		return err
	}
	if !maps.Equal(before, after) {
		return fmt.Errorf("the api was restarted: %v, then %v", before, after)
	}
	say("the admin's token: changed in its Secret, and the running api follows")
	return nil
}

// drawnCertificate: another authority, and every pod verifies by it.
func drawnCertificate(ctx context.Context, s *suite) error {
	if _, err := s.cluster.kubectl(ctx, "delete", "secret", release+"-postgres-tls"); err != nil {
		return err
	}
	before, err := s.identities(ctx, "postgres")
	if err != nil {
		return err
	}
	if err := s.upgrade(ctx, nil); err != nil {
		return err
	}
	after, err := s.identities(ctx, "postgres")
	if err != nil {
		return err
	}
	if !maps.Equal(before, after) {
		return fmt.Errorf("a new certificate has restarted Postgres: %v, then %v", before, after)
	}
	say("a new certificate and authority: Postgres loads it without a restart, the services verify by it")
	return nil
}

// change writes a key of a Secret, as a person or a tool does. Kubernetes renews the files in pods within a minute or two.
func (s *suite) change(ctx context.Context, secret, key, value string) error {
	patch := fmt.Sprintf(`{"data": {%q: %q}}`, key, base64.StdEncoding.EncodeToString([]byte(value)))
	_, err := s.cluster.kubectl(ctx, "patch", "secret", secret, "--patch", patch)
	return err
}
