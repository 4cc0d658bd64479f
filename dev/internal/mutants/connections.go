package mutants

// connectionMutants break what is promised about connections: which of them make room for others, and what of a client is read as one
// request.
func connectionMutants() []Mutant {
	const listen = "kit/listen/"
	kit := func(test string) Test { return goTest("kit", "./listen", test) }
	return []Mutant{
		{
			Breaks: "who has kept nobody waiting for long is closed for another", By: kit("TestOnlyWhoIsWaitedForLongEnoughIsEvicted"),
			Edits: []Edit{{listen + "conn.go", `now()-was&^stateMask > int64(longer) && `, ``}},
		},
		{
			Breaks: "who is worked for is closed for room in the budget", By: kit("TestOnlyWhoIsWaitedForLongEnoughIsEvicted"),
			Edits: []Edit{{listen + "conn.go", `return was&stateMask == waiting && now()`, `return now()`}},
		},
		{
			Breaks: "who was chosen is closed although he is worked for by now", By: kit("TestWhoIsWorkedForMeanwhileStays"),
			Edits: []Edit{{listen + "conn.go", `	if !c.state.CompareAndSwap(was, now()|evicted) {
		return false
	}`, `	c.state.Store(now() | evicted)`}},
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
			Breaks: "each way to notice a broken connection is news", By: goTest("kit", "./postgres", "TestEachErrorOfAnOutageIsNewsOnce"),
			Edits: []Edit{{"kit/postgres/refusal.go", `"): ended"`, `"$0"`}},
		},
	}
}
