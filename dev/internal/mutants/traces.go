package mutants

// tracesMutants break what is promised about traces, and about the metrics that lead to them.
func tracesMutants() []Mutant {
	const (
		tracing = "kit/tracing/"
		spans   = consumer + "/internal/spans/spans.go"
	)
	kit := func(test string) Test { return goTest("kit", "./tracing", test) }
	whole := goTest("dev", "./e2e", "TestAnOrdersTraceIsReadFromEndToEnd")
	return []Mutant{
		{
			Breaks: "what a caller has decided not to record is recorded", Quick: true, By: kit("TestSampling"),
			Edits: []Edit{{tracing + "span.go", `case t == nil, t.parentBased && from.IsValid() && !from.IsSampled():`, `case t == nil:`}, {tracing + "tracing.go", `	if p.parentBased {
		s = sdk.ParentBased(s)
	}
`, ``}},
		},
		{
			Breaks: "a trace that is decided on begins as another one", By: kit("TestSampling"),
			Edits: []Edit{{tracing + "span.go", `	if id, is := ctx.Value(decision{}).(trace.TraceID); is {
		return id, newSpanID()
	}
	return newTraceID()`, `	return newTraceID()`}, {tracing + "span.go", `	if _, is := p.ParentContext.Value(decision{}).(trace.TraceID); is {
		return sdk.SamplingResult{Decision: sdk.RecordAndSample, Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState()}
	}
`, ``}},
		},
		{
			Breaks: "who has joined others is not told to them", By: kit("TestSpansArriveAsTheyWere"),
			Edits: []Edit{{tracing + "span.go", `		one.AddLink(trace.Link{SpanContext: span.SpanContext()})
`, `		_ = one
`}},
		},
		{
			Breaks: "spans are dropped in silence", By: kit("TestACollectorThatTakesNothing"),
			Edits: []Edit{{tracing + "bounded.go", `full := b.waiting.Add(1) > b.most`, `full := b.waiting.Add(1) < 0`}},
		},
		{
			Breaks: "the end waits for a collector that hangs", By: kit("TestABatchIsTriedAgain"),
			Edits: []Edit{{tracing + "tracing.go", `context.WithTimeout(context.Background(), flushLimit)`, `context.WithTimeout(context.Background(), time.Hour)`}},
		},
		{
			Breaks: "a batch that a busy collector has not taken is given up", By: kit("TestABatchIsTriedAgain"),
			Edits: []Edit{{tracing + "client.go", `if err == nil || !again {`, `if err == nil || !again || ctx.Err() == nil {`}},
		},
		{
			Breaks: "a header that cannot be read is shown", Quick: true, By: kit("TestWrongSettingsAreWarnedOf"),
			Edits: []Edit{{tracing + "settings.go", `p.warn(name, "***", "name=value`, `p.warn(name, headers, "name=value`}},
		},
		{
			Breaks: "the message bears the request's context and not its own", By: goTest(api, ".", "TestARequestIsTraced"),
			Edits: []Edit{{api + "/internal/httpapi/trace.go", `request.Traceparent, request.Span = tracing.Format(span.SpanContext()), span`, `request.Span = span`}},
		},
		{
			Breaks: "every order remembers a trace", By: goTest(api, ".", "TestATraceThatNobodyFollowsIsNotStored"),
			Edits: []Edit{{api + "/internal/orders/publish.sql", `like '%-01'`, `like '%-0_'`}},
		},
		{
			Breaks: "every message bears a trace", By: goTest(api, ".", "TestATraceThatNobodyFollowsIsNotStored"),
			Edits: []Edit{{api + "/internal/httpapi/trace.go", `	case t.followed:`, `	case true:`}},
		},
		{
			Breaks: "what the api does not sample is not said to be so", By: goTest(api, ".", "TestATraceThatNobodyFollowsIsNotStored"),
			Edits: []Edit{{api + "/internal/httpapi/trace.go", `	case t.decided:`, `	case false:`}},
		},
		{
			Breaks: "what the api does not sample is sampled by the consumer", By: goTest(consumer, "./internal/message", "TestATraceThatIsNotSampledStaysSo"),
			Edits: []Edit{{consumer + "/internal/message/message.go", `m.Traceparent = tracing.Unsampled()`, `_ = tracing.Unsampled()`}},
		},
		{
			Breaks: "a transaction has no span", By: goTest(api, ".", "TestRequestsThatShareATransactionAreLinked"),
			Edits: []Edit{{api + "/internal/orders/commit.go", `		if u.Span != nil {`, `		if u.Span != nil && len(joined) == 0 {`}},
		},
		{
			Breaks: "a delivery's span begins a trace of its own", By: whole,
			Edits: []Edit{{spans, `s.tracer.Begin(tracing.Parse(m.Traceparent), s.process`, `s.tracer.Begin(tracing.Parse(m.Traceparent[:0]), s.process`}},
		},
		{
			Breaks: "the receiver gets the context of the message and not of the call", By: whole,
			Edits: []Edit{{consumer + "/internal/webhook/span.go", `	call.Header.Set("Traceparent", tracing.Format(span.SpanContext()))
`, ``}},
		},
		{
			Breaks: "an attempt that failed looks like one that did not", By: whole,
			Edits: []Edit{{spans, `	case how.Failure != "":
		tracing.Fail(d.Span, string(how.Failure), how.Problem)
`, ``}},
		},
		{
			Breaks: "histograms have classic buckets only", By: goTest("kit", "./ops", "TestHistogramsAreOfBothKindsAndHaveExemplars"),
			Edits: []Edit{{"kit/ops/histogram.go", `	o.NativeHistogramBucketFactor = 1.1
`, ``}},
		},
	}
}
