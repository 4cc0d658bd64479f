package mutants

// probeMutants break the port of metrics and probes, and what the programs do with signals, and what settings they start with.
func probeMutants() []Mutant {
	const ops = "kit/ops/ops.go"
	port := func(name string) Test { return goTest("kit", "./ops", name) }
	return []Mutant{
		{
			Breaks: "a probe's no is answered 200", By: port("TestProbesAnswerInJSONWithTheirReason"),
			Edits: []Edit{{ops, "		if !ok {\n			status, word", "		if !ok && details == nil {\n			status, word"}},
		},
		{
			Breaks: "liveness is readiness", By: port("TestProbesAnswerInJSONWithTheirReason"),
			Edits: []Edit{{ops, `"GET /livez", answer(o.Alive)`, `"GET /livez", answer(o.Ready)`}},
		},
		{
			Breaks: "a proxy may keep a probe's answer", By: port("TestProbesAnswerInJSONWithTheirReason"),
			Edits: []Edit{{ops, `		w.Header().Set("Cache-Control", "no-store")` + "\n", ``}},
		},
		{
			Breaks: "who begins a head on the second port may stay", By: port("TestAHeadHasADeadline"),
			Edits: []Edit{{ops, "			ReadHeaderTimeout: 10 * time.Second,\n			ReadTimeout:       30 * time.Second,\n", ""}},
		},
		{
			Breaks: "a program does not end while somebody takes a profile", By: port("TestStoppingWaitsForNobody"),
			Edits: []Edit{{ops, "context.Background(), 500*time.Millisecond", "context.Background(), time.Hour"}},
		},
		{
			Breaks: "a heartbeat that hangs is no reason to restart", By: goTest("services/consumer", "./internal/worker", "TestAHeartbeatThatHangsIsAReasonToRestart"),
			Edits: []Edit{{"services/consumer/internal/worker/alive.go", `		{c.steps.heartbeat, "the heartbeat has not moved for "},` + "\n", ``}},
		},
		{
			Breaks: "an effect's transaction that hangs is no reason to restart", By: goTest("services/consumer", "./internal/worker", "TestALaneWhoseWorkHangsIsAReasonToRestart"),
			Edits: []Edit{{"services/consumer/internal/worker/alive.go", `			return false, "a transaction with the work of orders`, `			return true, "a transaction with the work of orders`}},
		},
		{
			Breaks: "whoever reaches the port of metrics sees what a consumer has in memory", By: goTest("services/consumer", ".", "TestTheProfilerIsServedWhereItIsAskedFor"),
			Edits: []Edit{{"services/consumer/internal/app/consume.go", `Profiler: s.Pprof`, `Profiler: true`}},
		},
		{
			Breaks: "a consumer with a database says that it has none", By: goTest("services/consumer", ".", "TestItConsumesUntilASignalAndSpeaksAsTheExampleDoes"),
			Edits: []Edit{{"services/consumer/internal/app/consume.go", `map[bool]float64{true: 1}[ok]`, `map[bool]float64{false: 1}[ok]`}},
		},
		{
			Breaks: "what the doctor finds is not on the dashboard", By: goTest("services/consumer", ".", "TestItConsumesUntilASignalAndSpeaksAsTheExampleDoes"),
			Edits: []Edit{{"services/consumer/internal/app/consume.go", `published.Go(func() { publisher.Run(publishing) })`, `_, _ = publisher, publishing`}},
		},
		{
			Breaks: "what the doctor finds at the start is on the dashboard for ever", By: goTest("services/consumer", "./internal/doctor", "TestWhatIsFoundIsPublishedAgainAndAgain"),
			Edits: []Edit{{"services/consumer/internal/doctor/publish.go", `		timer.Reset(p.every + rand.N(p.every/10))` + "\n", ``}, {"services/consumer/internal/doctor/publish.go", `	"math/rand/v2"` + "\n", ``}},
		},
		{
			Breaks: "the doctor takes itself for a consumer", By: goTest("services/consumer", ".", "TestTheDoctorCountsConsumersOnly"),
			Edits: []Edit{{"services/consumer/internal/pg/server.go", `"orderflow-command "`, `"orderflow-consumer "`}},
		},
		{
			Breaks: "consumers whose sessions DATABASE_URL names are called missing", By: goTest("services/consumer", ".", "TestTheDoctorCountsConsumersOnly"),
			Edits: []Edit{{"services/consumer/internal/doctor/findings.go", `	case f.Renamed && f.Consumers == 0: // or this session alone is called so
		return "DATABASE_URL, or PGAPPNAME, gives sessions a name of its own"
`, ``}},
		},
		{
			Breaks: "the doctor's exit code says that all is well", By: goTest("services/consumer", ".", "TestTheDoctorCountsConsumersOnly"),
			Edits: []Edit{{"services/consumer/internal/app/doctor.go", `if !doctor.Healthy(findings) {`, `if false {`}},
		},
		{
			Breaks: "no alert comes of what the doctor finds", By: goTest("services/consumer", "./internal/doctor", "TestTheMetricsSayWhatIsFound"),
			Edits: []Edit{{"services/consumer/internal/doctor/collector.go", `			advice = 1`, `			advice = 0`}},
		},
		{
			Breaks: "the metrics say that vacuum is not held back", By: goTest("services/consumer", "./internal/doctor", "TestTheMetricsSayWhatIsFound"),
			Edits: []Edit{{"services/consumer/internal/doctor/collector.go", `gauge(xminSeconds, longest[kind], kind)`, `gauge(xminSeconds, 0, kind)`}},
		},
		{
			Breaks: "a setting of the pipeline's is another's", By: goTest("services/consumer", "./internal/app", "TestThePipelineHasEachSettingOnce"),
			Edits: []Edit{{"services/consumer/internal/app/consume.go", `Max: s.BackoffMax,`, `Max: s.BackoffBase,`}},
		},
		{
			Breaks: "a setting of the pipeline's is nobody's", By: goTest("services/consumer", "./internal/app", "TestThePipelineHasEachSettingOnce"),
			Edits: []Edit{{"services/consumer/internal/app/consume.go", `Prefetch:       s.Prefetch,`, `Prefetch:       0,`}},
		},
		{
			Breaks: "a drain may take as long as somebody writes", By: goTest(api, "./internal/config", "TestEveryNumberHasBounds"),
			Edits: []Edit{{api + "/internal/config/config.go", `	env.Between(p, "DRAIN_TIMEOUT", c.DrainTimeout, 0, 10*time.Minute)`, ``}},
		},
		{
			Breaks: "any number of connections is taken", By: goTest(api, "./internal/config", "TestEveryNumberHasBounds"),
			Edits: []Edit{{api + "/internal/config/config.go", `	env.Between(p, "MAX_CONNECTIONS", c.MaxConnections, 16, 1_000_000)`, ``}},
		},
		{
			Breaks: "orders may be kept for less than no time", By: goTest(api, "./internal/config", "TestEveryNumberHasBounds"),
			Edits: []Edit{{api + "/internal/config/config.go", `	checkRetention(p, "ORDER_RETENTION", c.OrderRetention)`, ``}},
		},
		{
			Breaks: "a consumer takes any number of attempts", By: goTest("services/consumer", "./internal/config", "TestEveryNumberHasBounds"),
			Edits: []Edit{{"services/consumer/internal/config/check.go", `	env.Between(p, "MAX_ATTEMPTS", c.MaxAttempts, 1, 1000)`, ``}},
		},
		{
			Breaks: "the api is ready while it ends", By: goTest(api, ".", "TestShutdownGoesOnServingForAWhile"),
			Edits: []Edit{{api + "/serve.go", "	p.server.Drain()\n", ""}},
		},
		{
			Breaks: "the api ends before the world has taken note", By: goTest(api, ".", "TestShutdownGoesOnServingForAWhile"),
			Edits: []Edit{{api + "/serve.go", "time.Sleep(p.cfg.ShutdownDelay)", "time.Sleep(0)"}},
		},
		{
			Breaks: "the writer ends before the requests that wait for it", By: goTest(api, ".", "TestShutdownAnswersWhatIsUnderWay"),
			Edits: []Edit{{api + "/serve.go", "	p.server.Drain()\n", "	p.server.Drain()\n	stopWriter()\n"}},
		},
	}
}
