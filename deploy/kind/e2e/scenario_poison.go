package main

import (
	"context"
	"fmt"
	"maps"
	"time"
)

// deadLetters is the api's list of them.
type deadLetters struct {
	Letters []struct {
		MsgID  int64  `json:"msg_id"`
		Reason string `json:"reason"`
	} `json:"dead_letters"`
}

// poison: messages that can never work are set aside beside orders that do; orders that were given up are redriven.
func poison(ctx context.Context, s *suite) error {
	token, err := s.secret(ctx, release+"-admin", "token")
	if err != nil {
		return err
	}
	run, err := s.start(ctx, "f", map[string]string{"orders": "200"})
	if err != nil {
		return err
	}
	_, err = s.sql(ctx, "orderflow", `
		select pgmq.send('order_queue', '"not an object"'), pgmq.send('order_queue', '[1, 2]'), pgmq.send('order_queue', '{}'),
			pgmq.send('order_queue', '{"order_id": "one"}'),
			pgmq.send('order_queue', '{"order_id": 999999999, "customer_name": "c", "product_name": "p", "quantity": 1, "price": 1.00,
				"created_at": "2026-01-07T19:48:03.123456+00:00"}')`)
	if err != nil {
		return err
	}
	if _, err := run.wait(ctx); err != nil {
		return err
	}
	want := map[string]int{"not_an_object": 2, "bad_message": 2, "unknown_order": 1}
	if err := s.withAPI(ctx, func(url string) error { return setAside(ctx, url, token, want) }); err != nil {
		return err
	}

	// One attempt, and half of the orders fail it: they are dead letters.
	if err := s.upgrade(ctx, map[string]string{"consumer.maxAttempts": "1", "consumer.simulate.failures": "example"}); err != nil {
		return err
	}
	if run, err = s.start(ctx, "f-dead", map[string]string{"orders": "40", "thresholds": "dead>0"}); err != nil {
		return err
	}
	got, err := run.wait(ctx)
	if err != nil {
		return err
	}
	if got.Dead == 0 || got.Completed == 0 {
		return fmt.Errorf("with one attempt, half of the orders should be dead: %s", got)
	}
	if err := s.upgrade(ctx, map[string]string{"consumer.maxAttempts": "20", "consumer.simulate.failures": "none"}); err != nil {
		return err
	}
	if err := s.withAPI(ctx, func(url string) error { return redrive(ctx, url, token, got.Dead) }); err != nil {
		return err
	}
	err = eventually(ctx, time.Minute, "the redriven orders are completed", func(ctx context.Context) (bool, error) {
		n, err := s.count(ctx, run.orders()+" and status = 'completed' and effects = 1")
		return n == got.Accepted, err
	})
	if err != nil {
		return err
	}
	again, err := run.auditAgain(ctx)
	if err != nil {
		return err
	}
	say("%d dead orders redriven: %s", got.Dead, again)
	return expect("orders completed after the redrive", again.Completed, got.Accepted)
}

// setAside waits for the dead letters, by reason, and deletes them.
func setAside(ctx context.Context, url, token string, want map[string]int) error {
	var list deadLetters
	err := eventually(ctx, time.Minute, fmt.Sprintf("dead letters %v", want), func(ctx context.Context) (bool, error) {
		text, err := call(ctx, "GET", url+"/dead-letters?limit=100", "", "")
		if err != nil {
			return false, err
		}
		if list, err = decode[deadLetters](text); err != nil {
			return false, err
		}
		found := map[string]int{}
		for _, letter := range list.Letters {
			found[letter.Reason]++
		}
		return maps.Equal(found, want), fmt.Errorf("there are %v", found)
	})
	if err != nil {
		return err
	}
	say("poison is set aside, by reason: %v", want)
	if _, err := call(ctx, "DELETE", fmt.Sprintf("%s/dead-letters/%d", url, list.Letters[0].MsgID), "", ""); err == nil {
		return fmt.Errorf("a dead letter was deleted without the token")
	}
	for _, letter := range list.Letters {
		if _, err := call(ctx, "DELETE", fmt.Sprintf("%s/dead-letters/%d", url, letter.MsgID), token, ""); err != nil {
			return err
		}
	}
	return nil
}

// redrive puts all dead letters back, after a look at how many that would be.
func redrive(ctx context.Context, url, token string, want int) error {
	for _, body := range []string{`{"all": true, "dry_run": true}`, `{"all": true}`} {
		text, err := call(ctx, "POST", url+"/dead-letters/redrive", token, body)
		if err != nil {
			return err
		}
		answer, err := decode[struct{ Matched int }](text)
		if err != nil {
			return err
		}
		if err := expect("dead letters matched by "+body, answer.Matched, want); err != nil {
			return err
		}
	}
	return nil
}
