package dashboard

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
)

// SetTokens replaces the tokens: those that open what is to be seen, when there are any, and those that also change things. Sessions that
// were begun with a token that is not among them are over.
func (d *Dashboard) SetTokens(readers, admins []string) {
	d.credentials.Store(newCredentials(readers, admins))
}

// session is the request's. A bearer token is as good for looking as a session; changing takes a session, whose forms cannot be forged.
func (d *Dashboard) session(c *fiber.Ctx) session {
	known := d.credentials.Load()
	if s := known.open(c.Cookies(sessionCookie), time.Now()); s.level != nobody {
		return s
	}
	if scheme, token, _ := strings.Cut(c.Get(fiber.HeaderAuthorization), " "); strings.EqualFold(scheme, "Bearer") {
		if l, _ := known.know(strings.TrimSpace(token)); l != nobody {
			return session{level: reader}
		}
	}
	return session{}
}

// sessionKey is where a request's session is kept once it was asked for.
const sessionKey = "session"

// forReaders lets a request pass that may see what there is to see.
func (d *Dashboard) forReaders(c *fiber.Ctx) error {
	s := d.session(c)
	c.Locals(sessionKey, s)
	if len(d.credentials.Load().readers) == 0 || s.level != nobody {
		return c.Next()
	}
	if c.Path() == "/events" {
		guard(c)
		c.Set(fiber.HeaderWWWAuthenticate, `Bearer realm="orderflow"`)
		return fiber.NewError(http.StatusUnauthorized, "this needs a session, or the header Authorization: Bearer with one of the API_TOKENS")
	}
	to := root(c) + "ui/sign-in"
	if here := strings.TrimPrefix(c.OriginalURL(), "/"); c.Method() == fiber.MethodGet && here != "" {
		to += "?next=" + url.QueryEscape(here)
	}
	return redirect(c, to)
}

// forAdmins lets a request pass that changes something, of who may do that, and who has sent it from one of our pages.
func (d *Dashboard) forAdmins(c *fiber.Ctx) error {
	s := d.session(c)
	c.Locals(sessionKey, s)
	switch {
	case len(d.credentials.Load().admins) == 0:
		return d.problem(c, http.StatusForbidden, "Nothing can be changed here: the api has no ADMIN_TOKEN.")
	case !sameOrigin(c):
		return d.problem(c, http.StatusForbidden, "This request does not come from a page of this service.")
	case s.level != admin:
		return d.problem(c, http.StatusUnauthorized, "This needs the admin token: sign in, and do it again. Your session may be over.")
	case subtle.ConstantTimeCompare([]byte(s.csrf), []byte(form(c).Get("csrf"))) != 1:
		return d.problem(c, http.StatusForbidden, "This form is from another session: load the page again, and do it from there.")
	}
	return c.Next()
}

// sameOrigin tells whether a form was sent from a page of this service. Browsers say so themselves in Sec-Fetch-Site, where they trust the
// connection; else it is the Origin, which every browser sends with a form. Behind a proxy the host that was asked for may have another name.
func sameOrigin(c *fiber.Ctx) bool {
	if site := c.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	origin, err := url.Parse(c.Get(fiber.HeaderOrigin))
	if err != nil || origin.Host == "" {
		return false
	}
	return strings.EqualFold(origin.Host, c.Get(fiber.HeaderHost)) || strings.EqualFold(origin.Host, c.Get(fiber.HeaderXForwardedHost))
}

// form is the form that a request has sent. What is no form is an empty one.
func form(c *fiber.Ctx) url.Values {
	if !strings.HasPrefix(c.Get(fiber.HeaderContentType), fiber.MIMEApplicationForm) {
		return url.Values{}
	}
	values, err := url.ParseQuery(string(c.Request().Body()))
	if err != nil {
		return url.Values{}
	}
	return values
}

// access is what the sender of a request may do, for its page.
func (d *Dashboard) access(c *fiber.Ctx) Access {
	s, _ := c.Locals(sessionKey).(session)
	known := d.credentials.Load()
	return Access{
		CanChange: s.level == admin, SignedIn: s.csrf != "", CanSignIn: len(known.admins) > 0 || len(known.readers) > 0,
		ChangesOff: len(known.admins) == 0, CSRF: s.csrf,
	}
}

// signIn is GET /ui/sign-in.
func (d *Dashboard) signIn(c *fiber.Ctx) error {
	c.Locals(sessionKey, d.session(c))
	p := SignInPage{Page: d.page(c, "Sign in", "sign-in"), Next: next(c.Query("next"))}
	if !p.Access.CanSignIn {
		return redirect(c, root(c))
	}
	return render(c, http.StatusOK, "sign-in.html", &p)
}

// begin is POST /ui/sign-in.
func (d *Dashboard) begin(c *fiber.Ctx) error {
	if !sameOrigin(c) {
		return d.problem(c, http.StatusForbidden, "This request does not come from a page of this service.")
	}
	given := form(c)
	p := SignInPage{Page: d.page(c, "Sign in", "sign-in"), Next: next(given.Get("next"))}
	now, client := time.Now(), c.IP()
	if wait := d.throttle.wait(client, now); wait > 0 {
		p.Wait = wholeSeconds(wait)
		c.Set(fiber.HeaderRetryAfter, itoa(p.Wait))
		return render(c, http.StatusTooManyRequests, "sign-in.html", &p)
	}
	found, by := d.credentials.Load().know(strings.TrimSpace(given.Get("token")))
	if found == nobody {
		d.throttle.wrong(client, now)
		p.Wrong, p.Wait = true, wholeSeconds(d.throttle.wait(client, now))
		d.cfg.Log.WarnContext(c.UserContext(), "somebody tried to sign in to the dashboard with a token that is not known", "address", strings.Clone(client))
		return render(c, http.StatusUnauthorized, "sign-in.html", &p)
	}
	value, end := by.begin(found, now)
	d.cfg.Log.InfoContext(c.UserContext(), "signed in to the dashboard", "address", strings.Clone(client), "admin", found == admin)
	setCookie(c, value, end)
	return redirect(c, root(c)+p.Next)
}

// end is POST /ui/sign-out. It needs no more than to come from one of our pages: whoever could forge it could do no harm.
func (d *Dashboard) end(c *fiber.Ctx) error {
	if !sameOrigin(c) {
		return d.problem(c, http.StatusForbidden, "This request does not come from a page of this service.")
	}
	setCookie(c, "", time.Unix(0, 0))
	return redirect(c, root(c))
}

// setCookie gives the session to the browser: not to scripts, not with requests from other sites, and, where it came over TLS, over TLS only.
func setCookie(c *fiber.Ctx, value string, end time.Time) {
	c.Cookie(&fiber.Cookie{
		Name: sessionCookie, Value: value, Path: "/", Expires: end, HTTPOnly: true, SameSite: fiber.CookieSameSiteStrictMode,
		Secure: c.Secure() || strings.EqualFold(c.Get(fiber.HeaderXForwardedProto), "https"),
	})
}

// next is where to go after signing in: a path of the dashboard's, below its root, and nothing else that somebody put into a link.
func next(given string) string {
	to, err := url.Parse(given)
	if err != nil || to.IsAbs() || to.Host != "" || to.User != nil || strings.Contains(given, "\\") || strings.Contains(to.Path, "..") ||
		to.Path != "" && !strings.HasPrefix(to.Path, "ui/") {
		return ""
	}
	return (&url.URL{Path: to.Path, RawQuery: to.RawQuery}).String()
}

// wholeSeconds is a wait as it is told: never 0, unless there is none.
func wholeSeconds(wait time.Duration) int { return int((wait + time.Second - 1) / time.Second) }
