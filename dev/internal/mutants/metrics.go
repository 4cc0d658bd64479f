package mutants

// metricsMutants make what is scraped differ from what the database says.
func metricsMutants() []Mutant {
	const worker = consumer + "/internal/worker/"
	by := goTest("dev", "./e2e", "TestMetricsAreWhatTheDatabaseSays")
	return []Mutant{
		{
			Breaks: "a retry is not counted", By: by,
			Edits: []Edit{{worker + "write.go", `		l.metrics.Retried.Inc()
`, ``}},
		},
		{
			Breaks: "what is handed back is counted as processed", By: by,
			Edits: []Edit{{worker + "write.go", `		l.metrics.Released.Inc()`, `		l.metrics.Processed.Inc()`}},
		},
		{
			Breaks: "an attempt that fails is in the latencies of completed orders", By: by,
			Edits: []Edit{{worker + "write.go", `			if o == opAck {
				ops.Observe(`, `			if o != opRelease {
				ops.Observe(`}},
		},
		{
			Breaks: "an attempt that fails is not in the handlers' times", By: by,
			Edits: []Edit{{worker + "workers.go", `	ops.Observe(w.metrics.HandlerSeconds, took.Seconds(), d.traceID())`, `	if err == nil {
		ops.Observe(w.metrics.HandlerSeconds, took.Seconds(), d.traceID())
	}`}},
		},
		{
			Breaks: "a repetition is counted as an order", By: by,
			Edits: []Edit{{api + "/internal/orders/commit.go", `		if outcomes[i].fresh {`, `		if outcomes[i].err == nil {`}},
		},
		{
			Breaks: "a batch is counted as one order", By: by,
			Edits: []Edit{{api + "/internal/orders/commit.go", `			orders += len(u.Orders)`, `			orders += min(1, len(u.Orders))`}},
		},
	}
}
