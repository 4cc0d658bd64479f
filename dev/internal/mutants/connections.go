package mutants

// connectionMutants break what is promised about connections: which of them make room for others, and what of a client is read as one
// request.
func connectionMutants() []Mutant {
	const listen = "kit/listen/"
	const http1 = api + "/internal/http1/"
	kit := func(test string) Test { return goTest("kit", "./listen", test) }
	framing := func(test string) Test { return goTest(api, "./internal/http1", test) }
	return []Mutant{
		{
			Breaks: "who has kept nobody waiting for long is closed for another", By: kit("TestOnlyWhoIsWaitedForLongEnoughIsEvicted"),
			Edits: []Edit{{listen + "conn.go", `now()-was&^(stateMask|turnMask) > int64(longer) && `, ``}},
		},
		{
			Breaks: "who is worked for is closed for room in the budget", By: kit("TestOnlyWhoIsWaitedForLongEnoughIsEvicted"),
			Edits: []Edit{{listen + "conn.go", `return was&stateMask == waiting && now()`, `return now()`}},
		},
		{
			Breaks: "who was chosen is closed although he is worked for by now", By: kit("TestWhoIsWorkedForMeanwhileStays"),
			Edits: []Edit{{listen + "conn.go", ` || !c.state.CompareAndSwap(was, now()|evicted) {
		return false
	}`, ` {
		return false
	}
	c.state.Store(now() | evicted)`}},
		},
		{
			Breaks: "who is worked for on the second port is closed", By: kit("TestStatesOfAServer"),
			Edits: []Edit{{listen + "conn.go", `	case http.StateActive:
		c.Busy()`, `	case http.StateActive:`}},
		},
		{
			Breaks: "with an idle one those that are under way are closed, too", By: kit("TestSeveralMakeRoomAtATime"),
			Edits: []Edit{{listen + "room.go", `		if closed > 0 {
			return closed
		}`, `		if closed >= n {
			return closed
		}`}},
		},
		{
			Breaks: "one connection makes room at a time, however many there are", By: kit("TestSeveralMakeRoomAtATime"),
			Edits: []Edit{{listen + "room.go", `max(1, l.most/64)`, `max(1, l.most/1000)`}},
		},
		{
			Breaks: "that the limit was reached is said again and again", By: kit("TestSeveralMakeRoomAtATime"),
			Edits: []Edit{{listen + "room.go", `len(l.conns) < l.most*3/4`, `len(l.conns) < l.most`}},
		},
		{
			Breaks: "idle connections keep their descriptors in a shortage", By: kit("TestAShortageEndsIdleConnections"),
			Edits: []Edit{{listen + "listener.go", `			l.closeLongest(l.share()) // descriptors that nobody uses
`, ``}},
		},
		{
			Breaks: "descriptors that others need are taken for connections", By: kit("TestTheLimitOfOpenFilesBoundsConnections"),
			Edits: []Edit{{listen + "bound.go", `most <= limit-reserved`, `most <= limit`}},
		},
		{
			Breaks: "a closed listener goes on waiting for room", By: kit("TestAClosedListenerWaitsForNothing"),
			Edits: []Edit{{listen + "listener.go", `l.closeOnce.Do(func() { close(l.closed) })`, `l.closeOnce.Do(func() {})`}},
		},
		{
			Breaks: "who has just come is closed for the next newcomer", By: kit("TestWhoHasJustComeStays"),
			Edits: []Edit{{listen + "room.go", `!evictable(state) || state >= aged:`, `!evictable(state) || aged == 0:`}},
		},
		{
			Breaks: "that the server got no processor is taken for a newcomer's silence", By: kit("TestWhomTheServerKeepsWaitingStays"),
			Edits: []Edit{{listen + "conn.go", `|| ready(c.Conn, was&turnMask == writing) ||`, `||`}},
		},
		{
			Breaks: "that the server got no processor is taken for the silence of who has been read", By: kit("TestWhomTheServerKeepsWaitingStays"),
			Edits: []Edit{{listen + "conn.go", `	n, err := c.Conn.Read(b)
	c.turn(serving)
`, `	n, err := c.Conn.Read(b)
`}},
		},
		{
			Breaks: "who is asked for more need not say anything", By: kit("TestWhomTheServerIsAboutToHearStays"),
			Edits: []Edit{{listen + "conn.go", `	c.turn(reading)
`, ``}},
		},
		{
			Breaks: "that the server got no processor is taken for a client's that does not take its answer", By: kit("TestOnlyWhoTakesNothingIsLateForAnAnswer"),
			Edits: []Edit{{listen + "conn.go", `|| ready(c.Conn, was&turnMask == writing) ||`, `|| ready(c.Conn, false) ||`}},
		},
		{
			Breaks: "who does not take an answer keeps its connection", By: kit("TestOnlyWhoTakesNothingIsLateForAnAnswer"),
			Edits: []Edit{{listen + "conn.go", `	c.turn(writing)
`, ``}},
		},
		{
			Breaks: "each way to notice a broken connection is news", By: goTest("kit", "./postgres", "TestEachErrorOfAnOutageIsNewsOnce"),
			Edits: []Edit{{"kit/postgres/refusal.go", `"): ended"`, `"$0"`}},
		},
		{
			Breaks: "a request without a host is one", By: framing("TestWhatIsNoRequestIsRefused"),
			Edits: []Edit{{http1 + "head.go", `case seen.host == 0 && !h.http10:`, `case seen.host < 0:`}},
		},
		{
			Breaks: "chunks go with HTTP/1.0", By: framing("TestWhatIsNoRequestIsRefused"),
			Edits: []Edit{{http1 + "head.go", `seen.coding > 0 && (seen.length > 0 || h.http10)`, `seen.coding > 0 && seen.length > 0`}},
		},
		{
			Breaks: "chunks go with a length", By: framing("TestWhatIsNoRequestIsRefused"),
			Edits: []Edit{{http1 + "head.go", `seen.coding > 0 && (seen.length > 0 || h.http10)`, `seen.coding > 0 && h.http10`}},
		},
		{
			Breaks: "any coding is chunked", By: framing("TestWhatIsNoRequestIsRefused"),
			Edits: []Edit{{http1 + "head.go", `case seen.coding > 0 && !h.chunked:`, `case seen.coding > 9 && !h.chunked:`}},
		},
		{
			Breaks: "of two lengths the last counts", By: framing("TestWhatIsNoRequestIsRefused"),
			Edits: []Edit{{http1 + "head.go", `if *count++; *count > 1 {`, `if *count++; *count > 2 {`}},
		},
		{
			Breaks: "a key in a trailer is read over", By: framing("TestWhatIsNoRequestIsRefused"),
			Edits: []Edit{{http1 + "chunked.go", `"Idempotency-Key", "Keep-Alive"`, `"Keep-Alive"`}},
		},
		{
			Breaks: "trailers have no bound", By: framing("TestWhatIsNoRequestIsRefused"),
			Edits: []Edit{{http1 + "chunked.go", `		left -= len(line) + len(crlf)
`, ``}},
		},
		{
			Breaks: "what is longer than its chunk is read over", By: framing("TestWhatIsNoRequestIsRefused"),
			Edits: []Edit{{http1 + "chunked.go", `c.readLine(len(crlf), errChunk)`, `c.readLine(maxChunkLine, errChunk)`}},
		},
		{
			Breaks: "a client that may go on is not told so on a connection that was idle", By: framing("TestTheDeadlineOfAnAnswerEndsWithIt"),
			Edits: []Edit{{http1 + "conn.go", `	if err := c.mayWrite(); err != nil {
		return err
	}
`, ``}},
		},
		{
			Breaks: "a client that was slow is not told so on a connection that was idle", By: framing("TestTheDeadlineOfAnAnswerEndsWithIt"),
			Edits: []Edit{{http1 + "conn.go", `	_ = c.mayWrite() //`, `	//`}},
		},
		{
			Breaks: "what is refused on a connection that was idle is never answered", By: goTest(api, "./internal/httpapi", "TestAnAnswerLongAgoDoesNotSilenceAConnection"),
			Edits: []Edit{{http1 + "conn.go", `time.Now().Add(speakTime)`, `time.Now().Add(-speakTime)`}},
		},
		{
			Breaks: "the server sees that there were to be trailers", By: framing("TestHowABodyWasSentIsNotHandedOn"),
			Edits: []Edit{{http1 + "head.go", `	case is(name, "Trailer"):
		h.rewrite = true
`, `	case is(name, "Trailer"):
`}},
		},
	}
}
