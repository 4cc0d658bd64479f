package mutants

func webhookMutants() []Mutant {
	const consumer = "services/consumer"
	const dir = consumer + "/internal/webhook/"
	test := func(name string) Test { return goTest(consumer, "./internal/webhook", name) }
	said := goTest(consumer, "./internal/handler", "TestErrorsSayWhatTheirFailureMeansThroughWrapping")
	return []Mutant{
		{
			Breaks: "a webhook answered with any 4xx is final", By: test("TestAnAnswerDecidesAboutTheRetry"), Quick: true,
			Edits: []Edit{{dir + "answer.go", `case status == http.StatusGone:`, `case status/100 == 4:`}},
		},
		{
			Breaks: "a choice of answers is done", By: test("TestAnAnswerDecidesAboutTheRetry"),
			Edits: []Edit{{dir + "answer.go", `status < 300 {`, `status <= 300 {`}},
		},
		{
			Breaks: "most calls of a webhook make a connection anew", By: test("TestDeadConnectionsOfHTTP1CostOneAttempt"),
			Edits: []Edit{{dir + "client.go", `		MaxIdleConnsPerHost:    s.Concurrency,
`, ``}},
		},
		{
			Breaks: "a redirect of a webhook is followed", By: test("TestAnAnswerDecidesAboutTheRetry"),
			Edits: []Edit{{dir + "client.go", `CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },`, ``}},
		},
		{
			Breaks: "a limit of requests uses up attempts", By: test("TestAnAnswerDecidesAboutTheRetry"),
			Edits: []Edit{{dir + "answer.go", `case status == http.StatusTooManyRequests, `, `case `}},
		},
		{
			Breaks: "a webhook's 503 asks for patience without saying so", By: test("TestAnAnswerDecidesAboutTheRetry"),
			Edits: []Edit{{dir + "answer.go", `status == http.StatusServiceUnavailable && asked:`, `status == http.StatusServiceUnavailable:`}},
		},
		{
			Breaks: "a webhook can stop everything for a day", By: test("TestAnAnswerDecidesAboutTheRetry"),
			Edits: []Edit{{dir + "answer.go", `min(after, longestPatience)`, `min(after, longestRetryAfter)`}},
		},
		{
			Breaks: "an order that a webhook refuses counts as an outage", By: test("TestAnAnswerDecidesAboutTheRetry"),
			Edits: []Edit{{dir + "answer.go", `if !isAboutTheOrder(status) {`, `if true {`}},
		},
		{
			Breaks: "a webhook that lets nobody in is no outage", By: test("TestAnAnswerDecidesAboutTheRetry"),
			Edits: []Edit{{dir + "answer.go", `case http.StatusUnauthorized, `, `case `}},
		},
		{
			Breaks: "a webhook's signature leaves out the time", By: test("TestSignaturesAreThePublishedOnes"), Quick: true,
			Edits: []Edit{{dir + "keys.go", `signed = strconv.AppendInt(signed, at.Unix(), 10)`, `signed = strconv.AppendInt(signed, 0, 10)`}},
		},
		{
			Breaks: "a webhook is signed with the first key alone", By: test("TestALibraryVerifiesEachKeysSignature"),
			Edits: []Edit{{dir + "keys.go", `for i, key := range k {
		if i > 0 {`, `for i, key := range k[:1] {
		if i > 0 {`}},
		},
		{
			Breaks: "a webhook's secret may be short", By: test("TestWhatIsNoKeyIsRefusedWithoutBeingShown"),
			Edits: []Edit{{dir + "keys.go", `len(secret) < shortestSecret || `, ``}},
		},
		{
			Breaks: "an Ed25519 key may have somebody else's public half", By: test("TestWhatIsNoKeyIsRefusedWithoutBeingShown"),
			Edits: []Edit{{dir + "keys.go", `!bytes.Equal(private, raw)`, `bytes.Equal(nil, raw)`}},
		},
		{
			Breaks: "a webhook's headers may be the user's", By: test("TestHeadersOfTheUsersOwn"),
			Edits: []Edit{{dir + "headers.go", `case taken[name], strings.HasPrefix(name, "Webhook-"):`, `case taken[name]:`}},
		},
		{
			Breaks: "every attempt has a webhook-id of its own", By: test("TestTheIdIsTheOrdersAndNoAttempts"),
			Edits: []Edit{{dir + "webhook.go", `m.OrderKey(), w.now()`, `m.OrderKey()+strconv.Itoa(m.Attempt), w.now()`}},
		},
		{
			Breaks: "a webhook tells the order's data without saying what they are", By: test("TestADeliveryIsAStandardWebhook"),
			Edits: []Edit{{dir + "webhook.go", `body := payload(m)`, `body := m.Body`}},
		},
		{
			Breaks: "a dead connection of HTTP/2 is not found out", By: test("TestADeadConnectionOfHTTP2CostsOneAttemptOfWhatIsOnIt"),
			Edits: []Edit{{dir + "client.go", `SendPingTimeout: silence,`, `SendPingTimeout: 0,`}},
		},
		{
			Breaks: "each dead connection of HTTP/1.1 costs an attempt", By: test("TestDeadConnectionsOfHTTP1CostOneAttempt"),
			Edits: []Edit{{dir + "webhook.go", `			s.http.CloseIdleConnections()
`, ``}},
		},
		{
			Breaks: "an idle connection that the receiver closes costs an attempt", By: test("TestAnIdleConnectionThatTheReceiverClosesCostsNoAttempt"),
			Edits: []Edit{{dir + "webhook.go", `	call.Header["Idempotency-Key"] = nil
`, ``}},
		},
		{
			Breaks: "changed certificates are not read", By: test("TestTheClientsCertificateIsReadAgainWhenItsFilesChange"),
			Edits: []Edit{{dir + "sender.go", `if found.equal(s.made) {`, `if true || found.equal(s.made) {`}},
		},
		{
			Breaks: "a webhook's keys are not read again", By: test("TestKeysAreReplacedWithoutADeliveryThatIsRefused"),
			Edits: []Edit{{dir + "settings.go", `{s.Files.Keys, func`, `{"", func`}},
		},
		{
			Breaks: "a webhook's headers are not read again", By: test("TestTheAddressAndTheHeadersAreReadAgainWhenTheirFilesChange"),
			Edits: []Edit{{dir + "settings.go", `{s.Files.Headers, func`, `{"", func`}},
		},
		{
			Breaks: "the program forgets where a webhook's keys were read", By: goTest(consumer, "./internal/config", "TestWhatStoodInAFileCanBeReadAgain"),
			Edits: []Edit{{consumer + "/internal/config/webhook.go", `Keys: p.File("WEBHOOK_SECRETS"), `, ``}},
		},
		{
			Breaks: "the program forgets a webhook's headers", By: goTest(consumer, ".", "TestOrdersAreDeliveredAsStandardWebhooks"),
			Edits: []Edit{{consumer + "/internal/app/consume.go", `Headers: s.Headers, `, ``}},
		},
		{
			Breaks: "connections are kept that the old certificates made", By: test("TestTheReceiversAuthorityIsReadAgainWhenItsFileChanges"),
			Edits: []Edit{{dir + "sender.go", `	s.now = next
`, ``}},
		},
		{
			Breaks: "a webhook's address is told to the order", By: test("TestAReceiverThatHangsOrIsGoneIsTriedAgain"),
			Edits: []Edit{{dir + "webhook.go", `err = failed.Err`, `err = failed`}, {dir + "redactor.go", `add(u.User.String(), password)`, `add(password[:0])`}, {dir + "redactor.go", `			add(values...)
`, ``}},
		},
		{
			Breaks: "a receiver's answer tells the order our secrets", By: test("TestNoSecretComesBackByWayOfAnAnswer"),
			Edits: []Edit{{dir + "redactor.go", `add(h.Value)
		_, credentials`, `_, credentials`}},
		},
		{
			Breaks: "a receiver's answer tells the order the path of a secret address", By: test("TestNoPartOfASecretAddressComesBack"),
			Edits: []Edit{{dir + "redactor.go", `add(u.EscapedPath(), u.Path)`, `add(u.EscapedPath())`}},
		},
		{
			Breaks: "a receiver's answer tells the order a token of an address's path", By: test("TestNoPartOfASecretAddressComesBack"),
			Edits: []Edit{{dir + "redactor.go", `add(part, plain)`, `add(part)`}},
		},
		{
			Breaks: "a receiver's answer tells the order a secret in which it is cut off", By: test("TestASecretThatIsCutOffDoesNotComeBack"),
			Edits: []Edit{{dir + "redactor.go", `		text = r.withoutBegun(text)
`, ``}},
		},
		{
			Breaks: "of two secrets that begin alike the rest of one is told", By: test("TestASecretThatIsCutOffDoesNotComeBack"),
			Edits: []Edit{{dir + "redactor.go", `cmp.Compare(len(b), len(a))`, `cmp.Compare(len(a), len(b))`}},
		},
		{
			Breaks: "the environment's proxy is passed by", By: test("TestTheEnvironmentsProxyIsUsed"),
			Edits: []Edit{{dir + "client.go", `		Proxy: http.ProxyFromEnvironment,
`, ``}},
		},
		{
			Breaks: "the default attempts end within a day", By: goTest(consumer, "./internal/config", "TestTheDefaultsLastForADay"),
			Edits: []Edit{{consumer + "/internal/config/config.go", `envconfig:"MAX_ATTEMPTS" default:"40"`, `envconfig:"MAX_ATTEMPTS" default:"35"`}},
		},
		{
			Breaks: "a handler's deadline is the order's fault", By: said,
			Edits: []Edit{{consumer + "/internal/handler/errors.go", ` || errors.Is(err, ErrTimeout)`, ``}},
		},
		{
			Breaks: "what is final is an outage, too", By: said,
			Edits: []Edit{{consumer + "/internal/handler/errors.go", `if IsPermanent(err) {
		return false`, `if IsPermanent(err) && false {
		return false`}},
		},
		{
			Breaks: "data may stay unacknowledged for as long as the kernel likes", By: goTest("kit", "./dial", "TestASocketIsToldHowLongSilenceMayLast"),
			Edits: []Edit{{"kit/dial/dial.go", `Control:         k.limitUnacknowledged,`, ``}},
		},
	}
}
