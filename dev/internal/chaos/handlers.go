package chaos

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The consumer's handlers. Every fault can be run with each: what the promise is must not depend on what is done with an order.
const (
	HandlerSimulate = "simulate"
	HandlerWebhook  = "webhook" // to a receiver that accounts for what arrived
)

// Handlers are those that Plan.Handler may name.
var Handlers = []string{HandlerSimulate, HandlerWebhook}

// handler is the one that this fault is run with.
func (r *Rig) handler() string { return cmp.Or(r.fault.Handler, r.plan.Handler, HandlerSimulate) }

// share of the calls that fail once where the simulation fails for every second message: low enough that nobody takes the receiver
// for one that is down.
const failing = "500:20%"

// startHandler starts what the handler calls. env are the consumers' settings: what they say of simulated work, the receiver does.
func (r *Rig) startHandler(ctx context.Context, env []string) error {
	if r.handler() != HandlerWebhook {
		return nil
	}
	var faults []string
	for _, kv := range env {
		switch name, value, _ := strings.Cut(kv, "="); {
		case name == "SIMULATE_WORK" && value != "0":
			faults = append(faults, "slow:100%:"+value)
		case name == "SIMULATE_FAILURES" && value != "none":
			faults = append(faults, failing)
		}
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
	return append(env, r.receiver.Deliveries()...)
}
