// Command serve runs the faulty API by hand, to see what loadgen makes of it:
//
//	go run ./internal/faultyapi/serve -drop 0.01 -duplicate 0.01 -reset 0.01 -unavailable 0.01 -stall-every 20s -stall-for 2s
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"orderflow.example/services/loadgen/internal/faultyapi"
)

func main() {
	s := &faultyapi.Server{}
	addr := flag.String("addr", "127.0.0.1:8000", "where to listen")
	f := &s.Faults
	flag.Float64Var(&f.Drop, "drop", 0, "share of orders forgotten after their 201")
	flag.Float64Var(&f.DuplicateRow, "duplicate", 0, "share of orders made twice")
	flag.Float64Var(&f.DuplicateEffect, "twice", 0, "share of orders processed twice")
	flag.Float64Var(&f.NoEffect, "no-effect", 0, "share of orders completed without having been processed")
	flag.Float64Var(&f.Dead, "dead", 0, "share of orders that end as dead")
	flag.Float64Var(&f.ResetCommitted, "reset", 0, "share of orders whose connection is reset after the commit")
	flag.Float64Var(&f.Unavailable, "unavailable", 0, "share of orders answered 503 first")
	flag.Float64Var(&f.Stuck, "stuck", 0, "share of orders never processed")
	flag.DurationVar(&f.RetryAfter, "retry-after", time.Second, "of a 503")
	flag.DurationVar(&f.StallEvery, "stall-every", 0, "how often it stalls")
	flag.DurationVar(&f.StallFor, "stall-for", 2*time.Second, "and for how long")
	flag.DurationVar(&f.Process, "process", 100*time.Millisecond, "from creation to completion")
	flag.BoolVar(&s.Habits.NoKeys, "no-keys", false, "does not show idempotency keys")
	flag.BoolVar(&s.Habits.NoEffects, "hide-effects", false, "does not show effects")
	flag.BoolVar(&s.Habits.IgnoresPrefix, "ignore-prefix", false, "does not know idempotency_key_prefix")
	flag.BoolVar(&s.Habits.NoListing, "no-listing", false, "has no GET /orders")
	flag.BoolVar(&s.Habits.NoQueue, "no-queue", false, "has no GET /queue")
	flag.Parse()
	if err := s.Start(*addr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "listening on", s.URL)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	<-signals
	counts, _ := json.MarshalIndent(s.Counts(), "", "  ") // plain numbers always marshal
	fmt.Println(string(counts))
	_ = s.Close() // the process ends anyway
}
