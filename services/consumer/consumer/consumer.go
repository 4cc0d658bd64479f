// Package consumer makes a consumer of Orderflow's orders of a handler of your own:
//
//	func main() {
//		consumer.Main(consumer.HandlerFunc(func(ctx context.Context, o *consumer.Order) error {
//			return ship(ctx, o.ID, o.ProductName, o.Quantity)
//		}))
//	}
//
// The program is the shipped one but for what is done with an order: the same environment variables, commands (doctor, pause, …),
// probes, metrics, retries, dead letters and drain. HANDLER and what belongs to the built-in handlers is not looked at.
//
// What a handler does in another system can happen more than once, when the process dies in between; [Order.Key] is the same each time.
// What it does in the database of the queue, through [Order.InAck], happens exactly once.
package consumer

import (
	"cmp"
	"context"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow.example/kit/logging"
	"orderflow.example/services/consumer/internal/app"
)

// Version is what `version`, the log and the metrics say. Set it in an init function or with -ldflags.
var Version = "dev"

// Metrics is where a handler registers metrics of its own. METRICS_PORT serves them beside the program's, whose names begin with orderflow_, go_
// and process_.
var Metrics prometheus.Registerer = metrics

var metrics = prometheus.NewRegistry()

// Handler processes one order. nil means done: the order is completed and its message deleted, in one transaction with what
// [Order.InAck] has queued. An error means another attempt after a backoff, until MAX_ATTEMPTS, unless it was made with [Permanent],
// [RetryAfter], [NotBefore], [Unavailable] or [Throttled]. A panic is an error. Handle is called from CONCURRENCY goroutines at once.
//
// Handle must end soon after ctx does; [context.Cause] says why: [ErrTimeout], [ErrLeaseLost], [ErrLeaseExpired] or [ErrDraining]. One
// that goes on regardless keeps its worker until it returns, and its message is tried elsewhere.
type Handler interface {
	Handle(ctx context.Context, o *Order) error
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(ctx context.Context, o *Order) error

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, o *Order) error { return f(ctx, o) }

// Main is the whole program: it reads the command line and the environment, ends with SIGTERM or SIGINT after a drain (at once with a
// second one), and exits with 0, 1 for a fault or 2 for a wrong configuration. It does not return.
func Main(h Handler) { of(h).Program().Main() }

// Run consumes until ctx ends, then drains and returns. It is what Main does, for programs with a command line and signals of their own: settings
// come from the environment, the log goes to standard error. An error that is not nil is a wrong configuration, in one line that says what
// to change, or says that leases were left behind to expire.
func Run(ctx context.Context, h Handler) error {
	level, _ := os.LookupEnv("LOG_LEVEL")
	format, _ := os.LookupEnv("LOG_FORMAT")
	a := of(h)
	settings, err := a.Load(os.LookupEnv)
	if err != nil {
		return err
	}
	return a.Consume(ctx, settings, logging.New(os.Stderr, level, cmp.Or(format, "auto")))
}

func of(h Handler) *app.App { return &app.App{Version: Version, Handler: adapter{h}, Metrics: metrics} }
