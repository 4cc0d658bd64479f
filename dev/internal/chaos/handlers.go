package chaos

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"orderflow.example/dev/internal/stack"
)

// The consumer's handlers. Every fault can be run with each: what the promise is must not depend on what is done with an order.
const (
	HandlerSimulate = "simulate"
	HandlerWebhook  = "webhook" // to a receiver that accounts for what arrived
	HandlerSQL      = "sql"     // a function that writes a row for each order, in the transaction of the ack
)

// Handlers are those that Plan.Handler may name.
var Handlers = []string{HandlerSimulate, HandlerWebhook, HandlerSQL}

// handler is the one that this fault is run with.
func (r *Rig) handler() string { return cmp.Or(r.fault.Handler, r.plan.Handler, HandlerSimulate) }

// someFail is the share of the calls that fail where the simulation fails for every second message: low enough that nobody takes the
// receiver for one that is down.
const someFail = "500:20%"

// mostInTransaction is how long a call of the function takes at most, whatever the simulation would: it is about many orders at once, and the
// consumer makes transactions small when calls are slow.
const mostInTransaction = 10 * time.Millisecond

// mostAlone is the same where many orders fail, and so nearly all end up in a transaction of their own.
const mostAlone = time.Millisecond

// startHandler starts what the handler calls. env are the consumers' settings: what they say of simulated work, the handler does.
func (r *Rig) startHandler(ctx context.Context, env []string) error {
	work, failing := simulated(env)
	switch r.handler() {
	case HandlerWebhook:
		return r.startReceiver(ctx, work, failing)
	case HandlerSQL:
		most := mostInTransaction
		if failing {
			most = mostAlone
		}
		return stack.CreateEffects(ctx, r.databaseURL, min(work, most), failing)
	}
	return nil
}

// simulated is what a consumer's settings say of the simulation: how long an order takes, and whether some fail.
func simulated(env []string) (work time.Duration, failing bool) {
	for _, kv := range env {
		switch name, value, _ := strings.Cut(kv, "="); name {
		case "SIMULATE_WORK":
			work, _ = time.ParseDuration(value) // the last one counts; ours are sound
		case "SIMULATE_FAILURES":
			failing = value != "none"
		}
	}
	return work, failing
}

func (r *Rig) startReceiver(ctx context.Context, work time.Duration, failing bool) error {
	var faults []string
	if work > 0 {
		faults = append(faults, "slow:100%:"+work.String())
	}
	if failing {
		faults = append(faults, someFail)
	}
	r.usually = strings.Join(faults, ",")
	settings := []string{"RECEIVER_FAULTS=" + r.usually, "SEED=" + strconv.FormatUint(r.plan.Seed, 10)}
	if r.fault.Handler == HandlerWebhook { // it may be killed; to the other faults its disk would be one more part that can be slow
		dir, err := r.suite.Session.Mkdir("receiver")
		if err != nil {
			return err
		}
		settings = append(settings, "RECEIVER_STATE="+filepath.Join(dir, "ids"))
	}
	var err error
	if r.receiver, err = r.stack.StartReceiver(ctx, r.api, "receiver", settings...); err != nil {
		return fmt.Errorf("start the receiver: %w", err)
	}
	r.expect(r.receiver)
	return nil
}

// handled are a consumer's settings with the handler that the fault is run with, in the simulation's place.
func (r *Rig) handled(env []string) []string {
	if r.handler() == HandlerSimulate {
		return env
	}
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.HasPrefix(kv, "SIMULATE_") })
	if r.handler() == HandlerSQL {
		return append(env, stack.InTransaction()...)
	}
	return append(env, r.receiver.Deliveries()...)
}
