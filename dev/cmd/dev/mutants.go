package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"orderflow.example/dev/internal/mutants"
	"orderflow.example/dev/internal/stack"
)

// mutantLimit bounds one test; each takes seconds, and on a busy machine minutes.
const mutantLimit = 10 * time.Minute

// runMutants breaks the program in small ways and sees whether the tests notice: MUTANTS (quick, or words; all without), MUTANT_JOBS.
// It needs what the tests need: run it by with-postgres.
func runMutants(ctx context.Context, env *environment, _ []string) (int, error) {
	chosen, err := mutants.Select(os.Getenv("MUTANTS"))
	if err != nil {
		return exitUsage, err
	}
	jobs := max(1, runtime.NumCPU()/2)
	if text := os.Getenv("MUTANT_JOBS"); text != "" {
		if jobs, err = strconv.Atoi(text); err != nil || jobs < 1 {
			return exitUsage, fmt.Errorf("MUTANT_JOBS=%q: must be a whole number from 1", text)
		}
	}
	root, err := stack.Root()
	if err != nil {
		return exitFault, err
	}
	dir, err := env.session.Mkdir("mutants")
	if err != nil {
		return exitFault, err
	}
	env.say("mutants: %d, each after its package's tests without it", len(chosen))
	r := mutants.Runner{Root: root, Dir: dir, Jobs: jobs, Limit: mutantLimit, Say: env.say}
	outcomes, err := r.Run(ctx, chosen)
	if err != nil {
		return exitFault, err
	}
	if !mutants.Table(env.stdout, outcomes) {
		return exitFault, nil
	}
	return 0, nil
}
