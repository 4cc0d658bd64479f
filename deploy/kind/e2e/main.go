// E2e proves a release on a real cluster: it installs the chart into a namespace of its own, breaks things under load, and ends
// each scenario with the load generator's audit. It must never use a cluster that it was not told by name, nor reach into one but
// through kubectl and helm.
//
// Its last line is `e2e: scenarios=… passed=… lost=0 duplicated=0`; the exit code is 0 only when all passed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// scenario is one letter of the run. They build on each other: the first installs, the others find what it left.
type scenario struct {
	letter, name string
	run          func(context.Context, *suite) error
}

var scenarios = []scenario{
	{"a", "a stranger's install: ready, tested, and in the logs", install},
	{"b", "consumers 1 → 3 under load: each completes orders", scale},
	{"c", "a consumer and an api pod vanish under load", vanish},
	{"d", "rolling restart under load: no failed request, no order that sits out its visibility timeout", restart},
	{"e", "Postgres is deleted under load: all recovers, data kept", losePostgres},
	{"f", "poison ends in dead letters, and redrive works", poison},
	{"g", "upgrades restart what they should, and nothing else", upgrade},
	{"h", "uninstall, install: the kept volume is found again", reinstall},
	{"i", "webhooks to a receiver that loses answers, refuses and goes away: each order arrives", webhook},
	{"j", "a second release: external database, given secrets, autoscaler", neighbour},
	{"l", "every secret is changed under load, and back: no order is lost", rotation},
	{"m", "GitOps: rendered and applied twice, the second time changes nothing", gitops},
	{"n", "an autoscaler follows the queue, up and down", autoscale},
	{"o", "dumps under load, and one restored beside the database", backup},
	{"k", "what all that cost: memory, restarts; and the metrics that dashboard and alerts ask for", figures},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	s := &suite{}
	flags := flag.NewFlagSet("e2e", flag.ContinueOnError)
	flags.StringVar(&s.cluster.context, "context", "", "kubectl context")
	flags.StringVar(&s.cluster.namespace, "namespace", "orderflow-e2e", "namespace; made anew and deleted at the end")
	flags.StringVar(&s.cluster.helm, "helm", "helm", "helm binary")
	flags.StringVar(&s.loadgen, "loadgen", "bin/loadgen", "loadgen binary, for audits from outside")
	flags.StringVar(&s.chart, "chart", "deploy/helm/orderflow", "the chart")
	flags.StringVar(&s.tag, "tag", "", "tag of the images, which the cluster's nodes have")
	flags.StringVar(&s.postgresImage, "postgres-image", "", "Postgres image; empty: the chart's")
	flags.StringVar(&s.adapterImage, "adapter-image", "", "image of the metrics adapter (deploy/kind/e2e/adapter), which the nodes have")
	only := flags.String("only", "", "letters of the scenarios to run, as in a,d; a is always among them")
	keep := flags.Bool("keep", false, "leave the namespace")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if s.cluster.context == "" || s.tag == "" {
		return errors.New("-context and -tag are needed")
	}

	// A limit against hangs: twice what the slowest machine has needed.
	ctx, cancel := context.WithTimeout(ctx, 50*time.Minute)
	defer cancel()
	if err := s.cluster.freshNamespace(ctx); err != nil {
		return err
	}
	chosen := choose(*only)
	passed, err := s.play(ctx, chosen)
	if err != nil {
		s.cluster.diagnose()
	}
	if !*keep {
		// Also when interrupted: the next run wants a clean cluster.
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Minute)
		defer cancel()
		err = errors.Join(err, s.cluster.deleteNamespace(cleanup))
	}
	fmt.Printf("e2e: scenarios=%d passed=%d lost=%d duplicated=%d\n", len(chosen), passed, s.total.Lost, s.total.Duplicated)
	return err
}

func choose(only string) []scenario {
	if only == "" {
		return scenarios
	}
	letters := append(strings.Split(only, ","), "a")
	return slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool { return !slices.Contains(letters, s.letter) })
}

// play runs the scenarios until one fails: what comes after it would fail for its reasons.
func (s *suite) play(ctx context.Context, chosen []scenario) (passed int, err error) {
	begin := time.Now()
	for _, one := range chosen {
		start := time.Now()
		before := s.total
		fmt.Printf("\n(%s) %s\n", one.letter, one.name)
		if err := one.run(ctx, s); err != nil {
			fmt.Printf("    FAILED after %s: %v\n", seconds(time.Since(start)), err)
			return passed, fmt.Errorf("scenario %s: %w", one.letter, err)
		}
		passed++
		fmt.Printf("    %s in %s\n", s.total.since(before), seconds(time.Since(start)))
	}
	fmt.Printf("\nall %d scenarios in %s: %s\n", passed, seconds(time.Since(begin)), s.total)
	return passed, nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
