package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
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
	if err != nil {
		return err
	}
	say("the load that ran meanwhile: %s", got)
	return webhookKeys(ctx, s)
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

// webhookKeys: what signs deliveries is replaced while they are made, in a Secret whose content changes and in one that the chart draws anew.
// With the new key beside the old one in between, not one delivery is refused. A key that is drawn anew costs a while, and no order.
func webhookKeys(ctx context.Context, s *suite) error {
	err := s.upgrade(ctx, map[string]string{"receiver.enabled": "true", "consumer.handler": "webhook", "consumer.backoff.max": "2s"})
	if err != nil {
		return err
	}
	const secret, key = release + "-receiver", "secrets"
	former, err := s.secret(ctx, secret, key)
	if err != nil {
		return err
	}
	forged, err := s.forged(ctx)
	if err != nil {
		return err
	}
	const other = "whsec_YW5vdGhlciBrZXkgZm9yIHdlYmhvb2tzLCBub3QgZHJhd24="
	for n, step := range []struct {
		keys string
		hold int
	}{{former + " " + other, 2}, {other, 1}, {other + "," + former, 2}, {former, 1}} {
		run, err := s.start(ctx, fmt.Sprintf("l-webhook-%d", n), map[string]string{"rate": "20", "duration": "30s"})
		if err != nil {
			return err
		}
		if err := run.flowing(ctx); err != nil {
			return err
		}
		if err := s.change(ctx, secret, key, step.keys); err != nil {
			return err
		}
		if err := s.keysHold(ctx, step.hold); err != nil {
			return err
		}
		if _, err := run.wait(ctx); err != nil {
			return err
		}
	}
	now, err := s.forged(ctx)
	if err != nil {
		return err
	}
	if err := expect("deliveries that were refused while keys were replaced", now, forged); err != nil {
		return err
	}
	say("the webhook's key: another beside it, then that alone, and back: no delivery was refused")

	if _, err := s.cluster.kubectl(ctx, "delete", "secret", secret); err != nil {
		return err
	}
	if err := s.upgrade(ctx, nil); err != nil {
		return err
	}
	drawn, err := s.secret(ctx, secret, key)
	if err != nil {
		return err
	}
	if drawn == former {
		return errors.New("the webhook's key is what it was")
	}
	run, err := s.start(ctx, "l-webhook-drawn", map[string]string{"orders": "200"})
	if err != nil {
		return err
	}
	run.excused = "forged" // whoever has the new key first signs, or verifies, otherwise than the others for a while
	got, err := run.wait(ctx)
	if err != nil {
		return err
	}
	if err := expect("dead orders of a key that was drawn anew", got.Dead, 0); err != nil {
		return err
	}
	say("the webhook's key: deleted and drawn anew: each order has arrived")
	return s.upgrade(ctx, map[string]string{"receiver.enabled": "false", "consumer.handler": "simulate", "consumer.backoff.max": "2h"})
}

// keysHold waits until every consumer signs with so many keys, and the receiver knows as many.
func (s *suite) keysHold(ctx context.Context, want int) error {
	pods, err := s.cluster.pods(ctx, release, "consumer", "receiver")
	if err != nil {
		return err
	}
	for _, p := range pods {
		// Kubernetes renews the files of a pod when it looks at it again: within a minute or so, or when something about it changes.
		if _, err := s.cluster.kubectl(ctx, "annotate", "--overwrite", "pod/"+p.Metadata.Name, "secret-changed="+strconv.Itoa(want)); err != nil {
			return err
		}
	}
	for _, p := range pods {
		metric, port := "orderflow_consumer_webhook_keys", 9101
		if p.component() == "receiver" {
			metric, port = "orderflow_receiver_keys", 9102
		}
		err := eventually(ctx, 3*time.Minute, fmt.Sprintf("%s has %d keys", p.Metadata.Name, want), func(ctx context.Context) (bool, error) {
			var text []byte
			err := s.forward(ctx, "pod/"+p.Metadata.Name, port, func(url string) (err error) {
				text, err = call(ctx, "GET", url+"/metrics", "", "")
				return err
			})
			return bytes.Contains(text, fmt.Appendf(nil, "\n%s %d\n", metric, want)), err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// forged is how many deliveries the receiver has refused for their signature.
func (s *suite) forged(ctx context.Context) (n int, err error) {
	err = s.atReceiver(ctx, func(url string) error {
		text, err := call(ctx, "GET", url+"/account?run=none", "", "") // whatever the orders are
		if err != nil {
			return err
		}
		account, err := decode[struct{ Requests struct{ Forged int } }](text)
		n = account.Requests.Forged
		return err
	})
	return n, err
}

// change writes a key of a Secret, as a person or a tool does. Kubernetes renews the files in pods within a minute or two.
func (s *suite) change(ctx context.Context, secret, key, value string) error {
	patch := fmt.Sprintf(`{"data": {%q: %q}}`, key, base64.StdEncoding.EncodeToString([]byte(value)))
	_, err := s.cluster.kubectl(ctx, "patch", "secret", secret, "--patch", patch)
	return err
}
