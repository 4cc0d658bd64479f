package mutants

// metricsMutants make what is scraped differ from what the database says.
func metricsMutants() []Mutant {
	const write = consumer + "/internal/settle/write.go"
	by := goTest("dev", "./e2e", "TestMetricsAreWhatTheDatabaseSays")
	return []Mutant{
		{
			Breaks: "a retry is not counted", By: by,
			Edits: []Edit{{write, `		l.Metrics.Retried.Inc()
`, ``}},
		},
		{
			Breaks: "what is handed back is counted as processed", By: by,
			Edits: []Edit{{write, `		l.Metrics.Released.Inc()`, `		l.Metrics.Processed.Inc()`}},
		},
		{
			Breaks: "an attempt that fails is in the latencies of completed orders", By: by,
			Edits: []Edit{{write, `			if op == ending.Ack {
				ops.Observe(`, `			if op != ending.Release {
				ops.Observe(`}},
		},
		{
			Breaks: "an attempt that fails is not in the handlers' times", By: by,
			Edits: []Edit{{consumer + "/internal/worker/workers.go", `	ops.Observe(w.metrics.HandlerSeconds, took.Seconds(), d.TraceID())`, `	if err == nil {
		ops.Observe(w.metrics.HandlerSeconds, took.Seconds(), d.TraceID())
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
