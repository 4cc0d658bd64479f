package webhook_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/webhook"
)

func TestAnAnswerDecidesAboutTheRetry(t *testing.T) {
	t.Parallel()
	date := time.Now().Add(30 * time.Minute).UTC().Format(http.TimeFormat)
	const minutes = 25 * time.Minute // of the 30 some are over when they are looked at
	for name, test := range map[string]struct {
		status     int
		retryAfter string
		ok         bool
		permanent  bool
		down       bool          // it says nothing about the order
		asked      bool          // it asks for patience
		least      time.Duration // of the delay asked for; 0: none is asked for
	}{
		"200":                        {status: 200, ok: true},
		"204":                        {status: 204, ok: true},
		"299":                        {status: 299, ok: true},
		"300":                        {status: 300, down: true},
		"301":                        {status: 301, down: true},
		"302":                        {status: 302, down: true},
		"304":                        {status: 304, down: true},
		"307":                        {status: 307, down: true},
		"308":                        {status: 308, down: true},
		"400":                        {status: 400},
		"401, a rotated secret":      {status: 401, down: true},
		"403":                        {status: 403, down: true},
		"404, during a deploy":       {status: 404, down: true},
		"405":                        {status: 405, down: true},
		"407":                        {status: 407, down: true},
		"408":                        {status: 408, down: true},
		"409, still at work on it":   {status: 409},
		"409, and says how long":     {status: 409, retryAfter: "7", least: 7 * time.Second},
		"410, wants no more":         {status: 410, permanent: true},
		"410, and says when":         {status: 410, retryAfter: "7", permanent: true},
		"413":                        {status: 413},
		"421":                        {status: 421, down: true},
		"422":                        {status: 422},
		"425":                        {status: 425},
		"426":                        {status: 426, down: true},
		"429":                        {status: 429, down: true, asked: true},
		"429, seconds":               {status: 429, retryAfter: "7", down: true, asked: true, least: 7 * time.Second},
		"429, nonsense":              {status: 429, retryAfter: "7.5", down: true, asked: true},
		"429, longer than it may be": {status: 429, retryAfter: "7200", down: true, asked: true, least: time.Hour},
		"499":                        {status: 499},
		"500":                        {status: 500, down: true},
		"500, seconds":               {status: 500, retryAfter: "7200", down: true, least: 2 * time.Hour},
		"500, longer than it may be": {status: 500, retryAfter: "999999", down: true, least: 24 * time.Hour},
		"502":                        {status: 502, down: true},
		"503":                        {status: 503, down: true},
		"503, seconds":               {status: 503, retryAfter: " 120 ", down: true, asked: true, least: 2 * time.Minute},
		"503, at once":               {status: 503, retryAfter: "0", down: true, asked: true},
		"503, date":                  {status: 503, retryAfter: date, down: true, asked: true, least: minutes},
		"503, a date that is over":   {status: 503, retryAfter: "Thu, 01 Jan 1970 00:00:00 GMT", down: true, asked: true},
		"503, longer than it may be": {status: 503, retryAfter: "999999", down: true, asked: true, least: time.Hour},
		"503, nonsense":              {status: 503, retryAfter: "soon", down: true},
		"503, negative":              {status: 503, retryAfter: "-5", down: true},
		"503, an overflow":           {status: 503, retryAfter: "99999999999999999999", down: true, asked: true, least: time.Hour},
		"500, an overflow":           {status: 500, retryAfter: "4294967296", down: true, least: 24 * time.Hour},
		"504":                        {status: 504, down: true},
		"599":                        {status: 599, down: true},
		"600":                        {status: 600, down: true},
	} {
		calls := 0
		w := open(t, webhook.Settings{URL: receiver(t, func(w http.ResponseWriter, _ *http.Request) {
			calls++
			if test.retryAfter != "" {
				w.Header().Set("Retry-After", test.retryAfter)
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(test.status)
			if test.status != 204 && test.status != 304 {
				_, _ = io.WriteString(w, "the reason\nin words")
			}
		})})
		err := w.Handle(t.Context(), order())
		patience, asked := handler.AsksForPatience(err)
		if (err == nil) != test.ok || handler.IsPermanent(err) != test.permanent || handler.IsUnavailable(err) != test.down || asked != test.asked {
			t.Errorf("%s: %v, permanent %t, unavailable %t, asks for patience %t", name, err, handler.IsPermanent(err), handler.IsUnavailable(err), asked)
		}
		if err != nil && test.status != 304 && !strings.Contains(err.Error(), "the reason in words") {
			t.Errorf("%s: %v does not quote the answer", name, err)
		}
		after := handler.Delay(err, time.Second) - time.Second
		if after < test.least || after > test.least+10*time.Minute || test.asked && patience != after {
			t.Errorf("%s: retry %s after the backoff, patience for %s", name, after, patience)
		}
		if calls != 1 {
			t.Errorf("%s: %d calls", name, calls)
		}
	}
}

// A receiver may repeat what it was sent, in what goes to the order and to the log.
func TestNoSecretComesBackByWayOfAnAnswer(t *testing.T) {
	t.Parallel()
	headers, err := webhook.ParseHeaders("Authorization: Bearer geheim-1\nX-Key: geheim-2\nX-Region: eu")
	if err != nil {
		t.Fatal(err)
	}
	address := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "neither "+r.Header.Get("Authorization")+" nor "+r.Header.Get("X-Key")+" may, nor ge")
		_, _ = io.WriteString(w, "heim-2 or geheim-1 in eu; "+r.URL.RawQuery+" "+r.URL.Query().Get("q")+"\x00\x1b[31m\xff")
	})
	w := open(t, webhook.Settings{URL: address + "/?token=geheim-3&q=geheim%2F4", Headers: headers})
	text := w.Handle(t.Context(), order()).Error()
	if strings.Contains(text, "geheim") || !strings.Contains(text, "webhook answered 403 Forbidden: neither *** nor *** may") || !strings.Contains(text, "in eu") {
		t.Error(text)
	}
	if !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\x1b\n") {
		t.Errorf("%q", text)
	}
}

// Where whoever has the address may call, all of its path is a secret. A receiver that has nothing there names it, as a rule.
func TestNoPartOfASecretAddressComesBack(t *testing.T) {
	t.Parallel()
	for path, token := range map[string]string{
		"/hooks/T0K3NT0K3N":                       "T0K3NT0K3N",
		"/hooks/T0K3N%2FT0%C3%A43N/post":          "T0K3N/T0ä3N",
		"/hooks/notifications/geheimgeheimgeheim": "geheimgeheimgeheim",
	} {
		w := open(t, webhook.Settings{URL: strings.Replace(receiver(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "Cannot POST "+r.URL.EscapedPath()+" or "+r.URL.Path+": of the hooks for notifications none is "+token+" of "+r.Header.Get("Authorization"))
		}), "http://", "http://T0K3N:T0K3N1@", 1) + path})
		text := w.Handle(t.Context(), order()).Error()
		if strings.Contains(text, "T0") || strings.Contains(text, "geheim") || strings.Contains(text, "VDBLM") ||
			!strings.Contains(text, "404 Not Found: Cannot POST *** or ***: of the hooks for notifications none is *** of Basic ***") {
			t.Errorf("%s: %s", path, text)
		}
	}
}

// Where the excerpt of an answer ends within a secret, no part of it is shown.
func TestASecretThatIsCutOffDoesNotComeBack(t *testing.T) {
	t.Parallel()
	const secret = "Bearer gehäim-1"
	headers, err := webhook.ParseHeaders("X-Key: 123456\nX-Keys: 123456789")
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < len(secret); n++ {
		cut := "no " + strings.Repeat(" ", 509-n) + secret
		for body, want := range map[string]string{
			cut + strings.Repeat(".", 100_000): "no",
			cut + ".":                          "no",
			"no 123456789 " + secret:           "no *** ***",
			"no Bear":                          "no Bear",
		} {
			w := open(t, webhook.Settings{Headers: headers, URL: receiver(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, body)
			}) + "/?q=" + url.QueryEscape(secret)})
			if text := w.Handle(t.Context(), order()).Error(); text != "webhook answered 400 Bad Request: "+want {
				t.Errorf("%d bytes of it are there: %s", n, text)
			}
		}
	}
}

func TestALongAnswerIsCutShort(t *testing.T) {
	t.Parallel()
	w := open(t, webhook.Settings{URL: receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, strings.Repeat("ä", 100_000))
	})})
	if text := w.Handle(t.Context(), order()).Error(); !strings.HasSuffix(text, "ä�") && !strings.HasSuffix(text, "ä") || utf8.RuneCountInString(text) > 401 {
		t.Errorf("%d characters: %s", utf8.RuneCountInString(text), text)
	}
}
