package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/kit/testdb"
)

const typedToken = "an-admin-token-that-is-long"

// browser is a client that keeps cookies and says where its forms come from.
type browser struct {
	t       *testing.T
	s       *service
	client  *http.Client
	headers map[string]string
}

func (s *service) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t: t, s: s, client: &http.Client{Jar: jar, Timeout: patience, Transport: transport}, headers: map[string]string{"Origin": s.url}}
}

func (b *browser) do(method, path string, form url.Values) answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.s.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range b.headers {
		req.Header.Set(name, value)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(raw)}
}

func (b *browser) get(path string) answer { return b.do(http.MethodGet, path, nil) }

// post sends a form, with the session's secret unless another one is given.
func (b *browser) post(path string, fields ...string) answer {
	b.t.Helper()
	form := url.Values{"csrf": {b.csrf()}}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.do(http.MethodPost, path, form)
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]*)"`)

// csrf is what the forms of the overview bear.
func (b *browser) csrf() string {
	b.t.Helper()
	if found := csrfField.FindStringSubmatch(b.get("/").body); found != nil {
		return found[1]
	}
	return ""
}

func (b *browser) signIn(token string) answer {
	b.t.Helper()
	return b.do(http.MethodPost, "/ui/sign-in", url.Values{"token": {token}})
}

func (b *browser) cookie() *http.Cookie {
	at, _ := url.Parse(b.s.url)
	for _, c := range b.client.Jar.Cookies(at) {
		return c
	}
	return nil
}

func TestChangingTakesASessionOfAnAdmin(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t), "ADMIN_TOKEN": typedToken})
	actions := []string{"/ui/pause", "/ui/resume", "/ui/dead-letters/redrive", "/ui/dead-letters/1/redrive", "/ui/dead-letters/1/delete"}
	stranger := s.browser(t)
	for _, action := range actions {
		if a := stranger.post(action); a.status != http.StatusUnauthorized {
			t.Errorf("%s without a session: %d", action, a.status)
		}
	}
	if a := stranger.signIn("wrong"); a.status != http.StatusUnauthorized || stranger.cookie() != nil || !strings.Contains(a.body, "not a token that is known") {
		t.Errorf("a wrong token: %d\n%s", a.status, a.body)
	}
	b := s.browser(t)
	if a := b.signIn(typedToken); a.status != http.StatusOK || !strings.Contains(a.body, "Sign out") {
		t.Fatalf("signing in: %d\n%s", a.status, a.body)
	}
	if strings.Contains(b.cookie().Value, typedToken) {
		t.Error("the cookie has the token")
	}
	// A bearer token opens what is to be seen. For changing things there is the API.
	bearer := s.browser(t)
	bearer.headers["Authorization"] = "Bearer " + typedToken
	if a := bearer.post("/ui/pause"); a.status != http.StatusUnauthorized {
		t.Errorf("with a bearer token: %d", a.status)
	}
	for name, spoil := range map[string]func(*browser) answer{
		"without the form's secret":  func(b *browser) answer { return b.post("/ui/pause", "csrf", "") },
		"with another secret":        func(b *browser) answer { return b.post("/ui/pause", "csrf", b.csrf()+"x") },
		"from another site":          func(b *browser) answer { b.headers["Origin"] = "https://evil.example"; return b.post("/ui/pause") },
		"from another site, as told": func(b *browser) answer { b.headers["Sec-Fetch-Site"] = "cross-site"; return b.post("/ui/pause") },
		"from a sibling":             func(b *browser) answer { b.headers["Sec-Fetch-Site"] = "same-site"; return b.post("/ui/pause") },
		"from nowhere":               func(b *browser) answer { delete(b.headers, "Origin"); return b.post("/ui/pause") },
		"from a page without origin": func(b *browser) answer { b.headers["Origin"] = "null"; return b.post("/ui/pause") },
	} {
		b := s.browser(t)
		b.signIn(typedToken)
		if a := spoil(b); a.status != http.StatusForbidden {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	if a := b.get("/queue"); !strings.Contains(a.body, `"running"`) {
		t.Errorf("the queue was paused by what was refused: %s", a.body)
	}
	if a := b.post("/ui/pause", "reason", "<b>moving</b>"); a.status != http.StatusOK || !strings.Contains(a.body, "&lt;b&gt;moving&lt;/b&gt;") || strings.Contains(a.body, "<b>moving") {
		t.Errorf("pausing: %d\n%s", a.status, a.body)
	}
	await.True(t, "the queue is paused", func() bool { return strings.Contains(b.get("/queue").body, `"paused"`) })
	if a := b.post("/ui/resume"); a.status != http.StatusOK {
		t.Errorf("resuming: %d", a.status)
	}
	await.True(t, "the queue is not paused", func() bool { return !strings.Contains(b.get("/queue").body, `"paused"`) })
	old := b.cookie().Value
	if a := b.post("/ui/sign-out"); strings.Contains(a.body, "Sign out") || b.cookie() != nil {
		t.Errorf("after signing out: %d\n%s", a.status, a.body)
	}
	// Whatever somebody makes of a cookie is no session.
	for i, value := range []string{old + "A", old[:len(old)-1], "", "%%%", strings.Repeat("A", len(old)), "B" + old[1:], strings.Repeat("x", 4000)} {
		b := s.browser(t)
		b.headers["Cookie"] = "orderflow_session=" + value
		if a := b.get("/"); strings.Contains(a.body, "Sign out") {
			t.Errorf("cookie %d is a session", i)
		}
	}
}

func TestTheSessionsCookieIsKeptFromOthers(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t), "ADMIN_TOKEN": typedToken})
	form := url.Values{"token": {typedToken}}.Encode()
	signIn := func(origin string, headers ...string) string {
		return s.raw(t, "POST /ui/sign-in HTTP/1.1\r\nHost: x\r\nOrigin: "+origin+"\r\nContent-Type: application/x-www-form-urlencoded\r\n"+strings.Join(headers, "")+
			fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(form), form)).header.Get("Set-Cookie")
	}
	plain, tls := signIn("http://x"), signIn("http://x", "X-Forwarded-Proto: https\r\n")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "path=/", "expires="} {
		if !strings.Contains(plain, want) {
			t.Errorf("no %s in %s", want, plain)
		}
	}
	if strings.Contains(strings.ToLower(plain), "secure") || !strings.Contains(strings.ToLower(tls), "secure") {
		t.Errorf("without TLS %s, with it %s", plain, tls)
	}
	// Behind a proxy the page's host is the one that the browser has asked for.
	const proxied = "X-Forwarded-Host: orders.example\r\n"
	if signIn("https://orders.example", proxied) == "" {
		t.Error("behind a proxy nobody can sign in")
	}
	for origin, header := range map[string]string{"https://evil.example": "", "https://another.example": proxied} {
		if cookie := signIn(origin, header); cookie != "" {
			t.Errorf("a page of %s signs its visitors in: %s", origin, cookie)
		}
	}
}

// Every replica that has the token accepts the session, and none that has it no more.
func TestSessionsAreTheTokens(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	one := started(t, map[string]string{"DATABASE_URL": db, "ADMIN_TOKEN": typedToken})
	both := started(t, map[string]string{"DATABASE_URL": db, "ADMIN_TOKEN": "another-token-as-long, " + typedToken})
	other := started(t, map[string]string{"DATABASE_URL": db, "ADMIN_TOKEN": "another-token-as-long"})
	b := one.browser(t)
	b.signIn(typedToken)
	value := b.cookie().Value
	for s, want := range map[*service]bool{one: true, both: true, other: false} {
		b := s.browser(t)
		b.headers["Cookie"] = "orderflow_session=" + value
		if in := strings.Contains(b.get("/").body, "Sign out"); in != want {
			t.Errorf("signed in: %t, want %t", in, want)
		}
	}
}

func TestWithAPITokensNothingIsShownWithoutOne(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t), "API_TOKENS": "a-reader-token-of-length", "ADMIN_TOKEN": typedToken})
	s.place(t, "/orders", `{"customer_name":"Secret Customer","product_name":"p","quantity":1,"price":1}`, "Authorization", "Bearer a-reader-token-of-length")
	stranger := s.browser(t)
	for _, path := range []string{"/", "/ui/orders", "/ui/orders/1", "/ui/dead-letters"} {
		if a := stranger.get(path); !strings.Contains(a.body, `name="token"`) || strings.Contains(a.body, "Secret Customer") {
			t.Errorf("%s shows a stranger: %d\n%s", path, a.status, a.body)
		}
	}
	if a := stranger.get("/events"); a.status != http.StatusUnauthorized {
		t.Errorf("the stream: %d", a.status)
	}
	reader := s.browser(t)
	reader.signIn("a-reader-token-of-length")
	if a := reader.get("/ui/orders/1"); a.status != http.StatusOK || !strings.Contains(a.body, "Secret Customer") {
		t.Errorf("a reader sees %d\n%s", a.status, a.body)
	}
	if a := reader.post("/ui/pause"); a.status != http.StatusUnauthorized {
		t.Errorf("a reader pauses: %d", a.status)
	}
	s.watch(t, "Authorization", "Bearer a-reader-token-of-length").next("snapshot", &overview{})
	// Where somebody goes after signing in is a page of ours.
	for given, want := range map[string]string{"ui/orders/1?x=1": "/ui/orders/1", "https://evil.example/": "/", "//evil.example": "/", "\\\\evil.example": "/", "ui/../../x": "/", "javascript:alert(1)": "/"} {
		b := s.browser(t)
		at := ""
		b.client.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
			at = req.URL.Path
			if req.URL.Host != strings.TrimPrefix(s.url, "http://") {
				at = req.URL.String()
			}
			return nil
		}
		b.do(http.MethodPost, "/ui/sign-in", url.Values{"token": {typedToken}, "next": {given}})
		if at != want {
			t.Errorf("next=%s leads to %s", given, at)
		}
	}
}

func TestWrongTokensAreSlowedDownAndTheRightOneIsNotLockedOut(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t), "ADMIN_TOKEN": typedToken})
	b := s.browser(t)
	// How many are looked at, and when again, is tested where time is given.
	await.True(t, "a wrong token is not looked at any more", func() bool {
		a := b.signIn("wrong")
		if a.status == http.StatusTooManyRequests && a.header.Get("Retry-After") == "" {
			t.Error("it is not said when to try again")
		}
		return a.status == http.StatusTooManyRequests
	})
	await.True(t, "the right token is looked at again", func() bool { return b.signIn(typedToken).status == http.StatusOK && b.cookie() != nil })
	// Whoever has a session keeps it, and the API's calls have their own rule.
	for range 20 {
		s.browser(t).signIn("wrong")
	}
	if a := b.post("/ui/pause"); a.status != http.StatusOK {
		t.Errorf("with a session: %d", a.status)
	}
}

func TestDeadLettersAreRedrivenAfterADryRun(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db, "ADMIN_TOKEN": typedToken})
	admin := testdb.Connect(t, db)
	for i := range 4 {
		s.place(t, "/orders", orderJSON(i))
	}
	execute(t, admin, `
		with m as (delete from pgmq.q_order_queue returning msg_id, message)
		select pgmq.send('order_queue_dlq', m.message, jsonb_build_object('orderflow-dead', jsonb_build_object(
			'reason', case when m.msg_id < 4 then 'max_attempts' else 'permanent' end, 'error', 'warehouse ' || m.msg_id || ' <script>alert(1)</script>', 'msg_id', m.msg_id)))
		from m order by m.msg_id`)
	execute(t, admin, `update orders set status = 'dead', dead_at = clock_timestamp()`)
	b := s.browser(t)
	b.signIn(typedToken)
	page := b.get("/ui/dead-letters?reason=max_attempts").body
	for _, want := range []string{"max_attempts", "permanent", "warehouse 3 &lt;script&gt;", "letter-1", "letter-3"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s:\n%s", want, page)
		}
	}
	if strings.Contains(page, "letter-4") || strings.Contains(page, "<script>alert") {
		t.Errorf("the page is\n%s", page)
	}
	for text, want := range map[string]string{"WAREHOUSE 2": "letter-2", "4": "letter-4", "customer 1": "letter-2"} {
		page := b.get("/ui/dead-letters?text=" + url.QueryEscape(text)).body
		if strings.Count(page, `id="letter-`) != 1 || !strings.Contains(page, want) {
			t.Errorf("text %s finds\n%s", text, page)
		}
	}
	plan := b.post("/ui/dead-letters/redrive", "reason", "max_attempts", "dry_run", "yes").body
	upTo := regexp.MustCompile(`name="up_to" value="(\d+)"`).FindStringSubmatch(plan)
	if upTo == nil || !strings.Contains(plan, "Redrive 3<") || count(t, db, `select count(*) from pgmq.q_order_queue`) != 0 {
		t.Fatalf("the dry run:\n%s", plan)
	}
	// What nobody has been shown, or has not confirmed, is not moved.
	for _, fields := range [][]string{{"confirm", "yes"}, {"confirm", "yes", "up_to", "0"}, {"up_to", upTo[1]}} {
		b.post("/ui/dead-letters/redrive", append(fields, "reason", "max_attempts")...)
	}
	if n := count(t, db, `select count(*) from pgmq.q_order_queue`); n != 0 {
		t.Fatalf("%d messages are in the queue before a plan was confirmed", n)
	}
	// What has died since is not moved by what was shown.
	execute(t, admin, `select pgmq.send('order_queue_dlq', '{"order_id": 99}', '{"orderflow-dead": {"reason": "max_attempts"}}')`)
	if a := b.post("/ui/dead-letters/redrive", "reason", "max_attempts", "up_to", upTo[1], "confirm", "yes"); !strings.Contains(a.body, "3 dead letters are back in the queue") {
		t.Errorf("the redrive: %d\n%s", a.status, a.body)
	}
	if n := count(t, db, `select count(*) from pgmq.q_order_queue`); n != 3 {
		t.Errorf("%d messages are in the queue", n)
	}
	execute(t, admin, `update orders set status = 'completed', dead_at = null where id = 4`)
	if a := b.post("/ui/dead-letters/redrive", "reason", "permanent", "up_to", "4", "confirm", "yes"); !strings.Contains(a.body, "Others were left") {
		t.Errorf("the redrive of an order that is not dead: %d\n%s", a.status, a.body)
	}
	execute(t, admin, `update orders set status = 'dead', dead_at = clock_timestamp() where id = 4`)
	if a := b.get("/ui/orders/4").body; !strings.Contains(a, "/ui/dead-letters/4/redrive") || !strings.Contains(a, "warehouse") && !strings.Contains(a, "Given up") {
		t.Errorf("the page of a dead order:\n%s", a)
	}
	if a := b.post("/ui/dead-letters/4/redrive"); !strings.Contains(a.body, "1 dead letter is back") {
		t.Errorf("one redrive: %d\n%s", a.status, a.body)
	}
	if a := b.post("/ui/dead-letters/4/redrive"); a.status != http.StatusNotFound {
		t.Errorf("a second one: %d", a.status)
	}
	if a := b.post("/ui/dead-letters/5/delete"); !strings.Contains(a.body, "is deleted") || count(t, db, `select count(*) from pgmq.q_order_queue_dlq`) != 0 {
		t.Errorf("deleting: %d\n%s", a.status, a.body)
	}
}

func TestOrdersAreFoundByWhatIsKnownOfThem(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t)})
	s.place(t, "/orders", `{"customer_name":"Ann <b>B</b>","product_name":"p","quantity":1,"price":1}`, "Idempotency-Key", "key-7")
	s.place(t, "/orders", orderJSON(2))
	b := s.browser(t)
	for query, want := range map[string]string{
		"q=1": "Order 1", "q=1&by=id": "Order 1", "q=" + url.QueryEscape("Ann <b>B</b>"): "Ann &lt;b&gt;B&lt;/b&gt;", "q=key-": "Ann &lt;b&gt;B&lt;/b&gt;",
		"q=Customer+2&by=customer": "Customer 2", "": "Customer 2", "status=pending": "Customer 2",
	} {
		if a := b.get("/ui/orders?" + query); a.status != http.StatusOK || !strings.Contains(a.body, want) || strings.Contains(a.body, "<b>B") {
			t.Errorf("%s: %d\n%s", query, a.status, a.body)
		}
	}
	for query, status := range map[string]int{"q=%00%ff%fe": 200, "q=" + strings.Repeat("9", 400): 200, "cursor=nonsense": 422, "status=nonsense": 200, "q=99&by=id": 200} {
		if a := b.get("/ui/orders?" + query); a.status != status {
			t.Errorf("%s: %d", query, a.status)
		}
	}
	for path, status := range map[string]int{"/ui/orders/99": 404, "/ui/orders/x": 404, "/ui/orders/99999999999999999999": 404, "/ui/nothing": 404, "/ui/dead-letters?text=%00%ff": 200, "/ui/static/nothing": 404} {
		if a := b.get(path); a.status != status {
			t.Errorf("%s: %d, want %d", path, a.status, status)
		}
	}
	if a := b.post("/ui/pause"); a.status != http.StatusForbidden || !strings.Contains(a.body, "ADMIN_TOKEN") {
		t.Errorf("without an admin token: %d", a.status)
	}
	for _, path := range []string{"/", "/ui/orders", "/ui/orders/1", "/ui/dead-letters", "/ui/nothing"} {
		a := b.get(path)
		for name, want := range map[string]string{
			"Content-Security-Policy": "frame-ancestors 'none'", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store",
		} {
			if !strings.Contains(a.header.Get(name), want) {
				t.Errorf("%s: %s is %q", path, name, a.header.Get(name))
			}
		}
		if strings.Contains(a.header.Get("Content-Security-Policy"), "unsafe") {
			t.Errorf("%s allows what is unsafe", path)
		}
	}
}

// However many look, the database is asked once a second; and when nobody does, not for them.
func TestManyViewersAskTheDatabaseOnce(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db, "MAX_CONNECTIONS": "400"})
	var streams []*stream
	for range 50 {
		streams = append(streams, s.watch(t))
	}
	moments := map[time.Time]bool{}
	for range 4 {
		for _, v := range streams {
			var n struct {
				AsOf time.Time `json:"as_of"`
			}
			v.next("snapshot", &n)
			moments[n.AsOf] = true
		}
	}
	// Each sees what all see, of which there is about one a second of the database's clock, however long the viewers take to come: were they looked up
	// one by one, there would be two hundred.
	all := slices.SortedFunc(maps.Keys(moments), time.Time.Compare)
	seconds := all[len(all)-1].Sub(all[0]).Seconds()
	if len(all) > 3+int(seconds/0.9) { // what is shown once more is less than 0.9 s old
		t.Errorf("50 viewers were shown %d different moments of %.1f s in 4 snapshots each", len(all), seconds)
	}
}

func TestThereAreOnlySoManyViewersAndTheyKeepNobodyOut(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t), "MAX_CONNECTIONS": "16"})
	s.place(t, "/orders", orderJSON(0)) // the writer has its connection now
	for range 4 {
		if v := s.watch(t); v.resp.StatusCode != http.StatusOK {
			t.Fatalf("a viewer is answered %d", v.resp.StatusCode)
		}
	}
	if v := s.watch(t); v.resp.StatusCode != http.StatusServiceUnavailable || v.resp.Header.Get("Retry-After") == "" {
		t.Errorf("one too many is answered %d", v.resp.StatusCode)
	}
	if a := s.post(t, "/orders", orderJSON(1)); a.status != http.StatusCreated {
		t.Errorf("an order is answered %d", a.status)
	}
}

func TestStreamsEndWhenTheServiceDoes(t *testing.T) {
	t.Parallel()
	// Longer than this test waits: a service that waits for its viewers does not exit.
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t), "DRAIN_TIMEOUT": "10m"})
	v := s.watch(t)
	v.next("snapshot", &overview{})
	s.stop()
	for v.event() != "bye" {
	}
	s.wait(t)
}

func TestTheStreamSaysThatTheDatabaseIsAwayAndGoesOn(t *testing.T) {
	t.Parallel()
	proxy := testdb.Proxy(t, testdb.New(t))
	s := started(t, map[string]string{"DATABASE_URL": proxy.URL, "ADMIN_TOKEN": typedToken})
	b := s.browser(t)
	b.signIn(typedToken)
	v := s.watch(t)
	v.next("snapshot", &overview{})
	proxy.Refuse()
	var away struct{ Reason string }
	v.next("away", &away)
	if away.Reason == "" {
		t.Error("it does not say why")
	}
	// A viewer may learn it before the monitor does, whose word the pages go by.
	await.True(t, "the outage to be known", func() bool {
		a := b.post("/ui/pause")
		if a.status != http.StatusServiceUnavailable {
			t.Fatalf("pausing meanwhile: %d\n%s", a.status, a.body)
		}
		return strings.Contains(a.body, "cannot be used at the moment: database is away. Nothing was changed")
	})
	if a := s.get(t, "/"); a.status != http.StatusOK || !strings.Contains(a.body, "database is away") {
		t.Errorf("the page: %d\n%s", a.status, a.body)
	}
	proxy.Accept()
	v.next("snapshot", &overview{})
}

// Of a form whose answer was lost on its way, nobody knows whether it has been done; of one that never left, everybody.
func TestWhoChangesSomethingIsToldWhetherItMayHaveBeenDone(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	proxy := testdb.Proxy(t, db)
	s := started(t, map[string]string{"DATABASE_URL": proxy.URL, "ADMIN_TOKEN": typedToken})
	b := s.browser(t)
	b.signIn(typedToken)
	told := func(words, state string) {
		t.Helper()
		if a := b.post("/ui/pause"); a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, words) {
			t.Errorf("want %q, got %d\n%s", words, a.status, a.body)
		}
		await.True(t, "what became of it", func() bool {
			a := s.get(t, "/queue")
			return a.status == http.StatusOK && a.json(t)["consuming"].(map[string]any)["state"] == state
		})
	}
	rename := func(from, to string) {
		t.Helper()
		if _, err := testdb.Connect(t, db).Exec(t.Context(), `alter function orderflow.`+from+`(text, text, text) rename to `+to); err != nil {
			t.Fatal(err)
		}
	}
	rename("pause", "set_aside")
	told("Nothing was changed", "running")
	rename("set_aside", "pause")
	proxy.TrapFunc(func(text string) bool { return strings.Contains(text, "orderflow.pause(") }, pgproxy.Unanswered)
	told("may have been done", "paused")
}

func TestWithoutADashboardTheRootLeadsToTheDocumentation(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db, "DASHBOARD": "off"})
	if root, page := s.get(t, "/"), s.get(t, "/docs"); root.body != page.body {
		t.Errorf("GET / is %d", root.status)
	}
	for _, path := range []string{"/events", "/ui/orders"} {
		if a := s.get(t, path); a.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}
