package mutants

// kitMutants break what the services share: how they get to the database, accept connections, read settings, and tell metrics and traces.
func kitMutants() []Mutant {
	const (
		address    = "kit/postgres/address.go"
		parameters = "kit/postgres/parameters.go"
		mistakes   = "kit/postgres/mistakes.go"
		route      = "kit/postgres/route.go"
		listener   = "kit/listen/listener.go"
	)
	postgres := func(test string) Test { return goTest("kit", "./postgres", test) }
	listen := func(test string) Test { return goTest("kit", "./listen", test) }
	return []Mutant{
		{
			Breaks: "who connects stays where a name led before it moved", By: postgres("TestWhoConnectsFollowsANameThatMoved"),
			Edits: []Edit{{route, `err == nil && r.names[host] == ""`, `err != nil && r.names[host] == ""`}},
		},
		{
			Breaks: "a connection that works is given up when the name server is away", By: postgres("TestANameThatMovesIsFollowed"),
			Edits: []Edit{{route, `		found, err := lookup(ctx, host)
		if err != nil || len(found) == 0 {
			return false
		}
		r.note`, `		found, _ := lookup(ctx, host)
		r.note`}},
		},
		{
			Breaks: "while nobody takes writes each attempt waits for the silent host", By: postgres("TestASilentHostIsPassedOverWhileNoneTakesWrites"),
			Edits: []Edit{{route, `return r.others(address) && time.Now().Before(r.passed[address])`, `return false`}},
		},
		{
			Breaks: "a host that refuses once is not asked for seconds", By: postgres("TestASilentHostIsPassedOverWhileNoneTakesWrites"),
			Edits: []Edit{{route, `r.lost(address, ctx.Err() != nil)`, `r.lost(address, true)`}},
		},
		{
			Breaks: "a server that does not tell its timeline is not used", By: postgres("TestAServerThatDoesNotTellItsTimelineIsUsed"),
			Edits: []Edit{{route, `	if errors.As(err, new(*pgconn.PgError)) {
		results, err = conn.Exec(ctx, lookLittleSQL).ReadAll()
	}
`, ``}},
		},
		{
			Breaks: "servers behind one name are one", By: postgres("TestADistrustedServerComesLastBehindOneName"),
			Edits: []Edit{{route, `		if ip != host {
			return true`, `		if ip != host {
			return false`}},
		},
		{
			Breaks: "connections to a server that does not finish what it is asked to are kept", By: postgres("TestADistrustedServerComesLast"),
			Edits: []Edit{{route, `return !time.Now().Before(r.distrusted[address])`, `return address != ""`}},
		},
		{
			Breaks: "an address that leads to a standby is stayed at",
			By:     goTest("dev", "./internal/postgres", "TestAnAddressThatLeadsToAnotherServerIsFollowed"),
			Edits:  []Edit{{route, `	case state.standby:`, `	case false:`}},
		},
		{
			Breaks: "a server that takes writes no more hides the others", By: postgres("TestAServerThatOnlyReadsIsTheLastResort"),
			Edits: []Edit{{route, `		delete(r.distrusted, address) // this once
		if r.at.Address == address {
			r.at = Server{}
		}
`, `		delete(r.distrusted, address) // this once
`}},
		},
		{
			Breaks: "a server that is silent after the handshake is waited for without end", By: postgres("TestAServerThatFallsSilentAfterTheHandshakeIsGivenUp"),
			Edits: []Edit{{"kit/postgres/session.go", `limited, cancel := context.WithTimeout(ctx, config.ConnectTimeout)`, `limited, cancel := context.WithCancel(ctx)`}},
		},
		{
			Breaks: "a certificate that nobody accepts is an outage", By: postgres("TestACertificateThatIsNotAcceptedIsARefusal"),
			Edits: []Edit{{"kit/postgres/refusal.go", `return "database's certificate is not accepted"`, `return ""`}},
		},
		{
			Breaks: "a host that has an address has no name", By: postgres("TestAHostWithAnAddressKeepsItsName"),
			Edits: []Edit{{address, `r.finish(namesHosts(base))`, `r.finish(false)`}},
		},
		{
			Breaks: "the first host is spoken to in any version of TLS", By: postgres("TestVersionsOfTLS"),
			Edits: []Edit{{parameters, "	limit(config.TLSConfig)\n", ``}},
		},
		{
			Breaks: "a host is looked up with the password behind it", By: postgres("TestWhatCannotBeReadIsRefusedWithoutItsPassword"),
			Edits: []Edit{{mistakes, `strings.ContainsFunc(way.Host, noHost)`, `strings.ContainsFunc(way.Host, unicode.IsSpace)`}},
		},
		{
			Breaks: "a database is shown with the password behind it", By: postgres("TestWhatCannotBeReadIsRefusedWithoutItsPassword"),
			Edits: []Edit{{mistakes, `"database": config.Database`, `"database": ""`}},
		},
		{
			Breaks: "a user goes on with the password", By: postgres("TestWhatCannotBeReadIsRefusedWithoutItsPassword"),
			Edits: []Edit{{mistakes, `"user": config.User`, `"user": ""`}},
		},
		{
			Breaks: "a URL's parameter goes on with the password", By: postgres("TestWhatCannotBeReadIsRefusedWithoutItsPassword"),
			Edits: []Edit{{address, `if runsOn(key, value, false) {`, `if len(key) == 0 {`}},
		},
		{
			Breaks: "one of a host's addresses is dropped without a word", By: postgres("TestHostAddressesAreNotLookedUp"),
			Edits: []Edit{{parameters, `if len(hosts) != len(r.addrs) {`, `if len(hosts) > len(r.addrs) {`}},
		},
		{
			Breaks: "a setting with a dot has the brackets that Rails puts around it", By: postgres("TestParametersOfOtherClients"),
			Edits: []Edit{{parameters, `r.settings[key] = value
		return nil`, `r.settings["variables["+key+"]"] = value
		return nil`}},
		},
		{
			Breaks: "a setting goes on with the password", By: postgres("TestWhatCannotBeReadIsRefusedWithoutItsPassword"),
			Edits: []Edit{{mistakes, `nextPart.MatchString(value) ||`, ``}},
		},
		{
			Breaks: "a wrong value is shown with the password behind it", By: postgres("TestWhatCannotBeReadIsRefusedWithoutItsPassword"),
			Edits: []Edit{{parameters, `case plain.MatchString(value):`, `case plain != nil:`}},
		},
		{
			Breaks: "of several wrong parameters none is named", By: postgres("TestWhatIsWrongWithAnAddressIsNamed"),
			Edits: []Edit{{mistakes, `if !given {`, `if !given || value != "" {`}},
		},
		{
			Breaks: "a list of ports is at fault for another parameter", By: postgres("TestWhatIsWrongWithAnAddressIsNamed"),
			Edits: []Edit{{mistakes, `			alone["host"] = hosts //`, `			_ = hosts //`}},
		},
		{
			Breaks: "a newline belongs to a password", By: postgres("TestWhatIsWrongWithAnAddressIsNamed"),
			Edits: []Edit{{mistakes, `if secret.Trim(config.Password) == config.Password {`, `if secret.Trim(config.Password) == config.Password || config.Password != os.Getenv("PGPASSWORD") {`}},
		},
		{
			Breaks: "half a password with a space is shown", By: goTest("kit", "./env", "TestAddressesAreMasked"),
			Edits: []Edit{{"kit/env/mask.go", `(?:[^;]*;.*|'`, `(?:'`}},
		},
		{
			Breaks: "a server that has vanished is waited for as long as the system likes", By: postgres("TestTheAddressSaysHowLongSilenceMayLast"),
			Edits: []Edit{{address, "	config.DialFunc = a.keep.Dial\n", ``}},
		},
		{
			Breaks: "after a long shortage nobody is accepted for hours", By: listen("TestAShortageIsLookedAtEachSecond"),
			Edits: []Edit{{listener, `const longestWait = time.Second`, `const longestWait = time.Hour`}},
		},
		{
			Breaks: "the kernel keeps as much as it likes for who takes nothing", By: listen("TestBuffersOfConnectionsAreBounded"),
			Edits: []Edit{{"kit/listen/buffers_unix.go", "		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, send),\n", ``}},
		},
		{
			Breaks: "after a shortage each connection is news", By: listen("TestPassingErrorsAreWaitedOutAndSaidOnce"),
			Edits: []Edit{{listener, "		s.failed = 0\n", ``}},
		},
		{
			Breaks: "what is wrong with a secret is said with it", By: goTest("kit", "./env", "TestWhatIsWrongWithASecretIsSaidWithoutIt"),
			Edits: []Edit{{"kit/env/problems.go", `if strings.Contains(why, value) {`, `if false {`}},
		},
		{
			Breaks: "what is no number is within all bounds", By: goTest("kit", "./env", "TestBetween"),
			Edits: []Edit{{"kit/env/problems.go", `if cmp.Less(value, least) || cmp.Less(most, value) {`, `if value < least || most < value {`}},
		},
		{
			Breaks: "a secret that is written over with one as long is not read again", By: goTest("kit", "./secret", "TestEachChangeOfAFileIsAnotherVersion"),
			Edits: []Edit{{"kit/secret/version.go", ` && v.info.ModTime().Equal(other.info.ModTime())`, ``}},
		},
		{
			Breaks: "a secret that takes the place of one like it is not read again", By: goTest("kit", "./secret", "TestEachChangeOfAFileIsAnotherVersion"),
			Edits: []Edit{{"kit/secret/version.go", `os.SameFile(v.info, other.info) && `, ``}},
		},
		{
			Breaks: "a crowd ends a probe that is being answered", By: goTest("kit", "./ops", "TestWhoIsBeingAnsweredStays"),
			Edits: []Edit{{"kit/ops/ops.go", "			ConnState:         listen.Track,\n", ``}},
		},
		{
			Breaks: "a metric that fails hides all the others", By: goTest("kit", "./ops", "TestAMetricThatFailsHidesNoOther"),
			Edits: []Edit{{"kit/ops/ops.go", `promhttp.ContinueOnError`, `promhttp.HTTPErrorOnError`}},
		},
		{
			Breaks: "spans and their secret headers go wherever a collector says", By: goTest("kit", "./tracing", "TestSpansAreNotTakenElsewhere"),
			Edits: []Edit{{"kit/tracing/client.go", "			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },\n", ``}},
		},
	}
}
