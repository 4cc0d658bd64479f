package message_test

import (
	"testing"
	"time"

	"orderflow.example/services/consumer/internal/message"
)

func TestAnOrdersKeyIsItsOwn(t *testing.T) {
	t.Parallel()
	here, there := message.Installation{15: 1}, message.Installation{15: 2}
	moment := time.Date(2026, 1, 7, 19, 48, 3, 123456000, time.UTC)
	first := message.OrderKey(here, 57, message.InstantOf(moment))
	// It must not change with a release: receivers remember it.
	if first != "order-57-22d37e83a2a7ce6a170ae929dcff3a53" {
		t.Errorf("the key of an order has changed: %s", first)
	}
	seen := map[string]string{first: "the order"}
	for what, key := range map[string]string{
		"another order":                        message.OrderKey(here, 58, message.InstantOf(moment)),
		"the id again, after a restore":        message.OrderKey(here, 57, message.InstantOf(moment.Add(time.Microsecond))),
		"another installation":                 message.OrderKey(there, 57, message.InstantOf(moment)),
		"an id and a moment that change hands": message.OrderKey(here, moment.UnixMicro(), message.InstantOf(time.UnixMicro(57))),
	} {
		if seen[key] != "" {
			t.Errorf("%s has the key of %s: %s", what, seen[key], key)
		}
		seen[key] = what
	}
}
