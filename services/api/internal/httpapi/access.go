package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"orderflow.example/services/api/internal/dashboard"
)

// tokens are those that open something, as sums: so all have one length, and comparing takes a time that says nothing.
type tokens [][sha256.Size]byte

func newTokens(list ...string) tokens {
	var t tokens
	for _, token := range list {
		t = append(t, sha256.Sum256([]byte(token)))
	}
	return t
}

// have tells whether a token is among them, and takes the same time whichever it is, and when it is none.
func (t tokens) have(token string) bool {
	given, found := sha256.Sum256([]byte(token)), 0
	for i := range t {
		found |= subtle.ConstantTimeCompare(given[:], t[i][:])
	}
	return found == 1
}

// access is who may call what.
type access struct {
	callers tokens // open every call but those for admins; none: everybody may call
	admins  tokens // open every call; none: those for admins, which change dead letters or stop the queue, are off
}

// opensCalls tells whether a token opens the calls that are not for admins.
func (a *access) opensCalls(token string) bool {
	return len(a.callers) == 0 || a.callers.have(token) || a.admins.have(token)
}

// SetTokens replaces the tokens: the next request is asked for one of these.
func (s *Server) SetTokens(callers, admins []string) {
	s.access.Store(&access{callers: newTokens(callers...), admins: newTokens(admins...)})
	if s.cfg.Dashboard != nil {
		s.cfg.Dashboard.SetTokens(callers, admins)
	}
}

// openToAll are the paths that need no token: probes, which Kubernetes and load balancers ask, and the page that shows the API's
// documentation, which holds nothing until it is given a token.
var openToAll = map[string]bool{"/health": true, "/livez": true, "/readyz": true, "/": true, "/docs": true, "/redoc": true}

// authenticate lets a request pass that bears one of the tokens, when there are any. It stands before the routes, so that a route
// that is added later needs a token, too, and a caller without one does not learn which routes there are.
//
// A wrong token costs its sender the connection and us a sum. There is no lock after so many tries: behind a proxy all clients
// have one address, and whoever tries tokens would lock out those that have one. A token must be long instead.
func (s *Server) authenticate(c *fiber.Ctx) error {
	access := s.access.Load()
	if len(access.callers) == 0 || openToAll[c.Path()] || s.cfg.Dashboard != nil && dashboard.Owns(c.Path()) {
		return c.Next()
	}
	if token, given := bearer(c); !access.opensCalls(token) {
		return s.unauthorized(c, given, "this call needs the header Authorization: Bearer with one of the API_TOKENS")
	}
	return c.Next()
}

// forAdmins makes an operation one that needs an admin token, and describes it so.
func (s *Server) forAdmins(op huma.Operation) huma.Operation {
	op.Security = []map[string][]string{{"admin": {}}}
	op.Middlewares = append(op.Middlewares, s.authorizeAdmin)
	op.Errors = append(op.Errors, http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity)
	return op
}

// authorizeAdmin lets a request pass that bears an admin token. It stands before everything that reads the request.
func (s *Server) authorizeAdmin(ctx huma.Context, next func(huma.Context)) {
	c := humafiber.Unwrap(ctx)
	if err := s.checkAdmin(c); err != nil {
		_ = s.answerError(c, err) // only what has no JSON fails
		return
	}
	next(ctx)
}

// checkAdmin is nil for a request that bears an admin token, and whose body, if it has one, is JSON.
func (s *Server) checkAdmin(c *fiber.Ctx) error {
	access := s.access.Load()
	if len(access.admins) == 0 {
		return problem(http.StatusForbidden, "this call is off: the service has no ADMIN_TOKEN")
	}
	token, given := bearer(c)
	if !access.admins.have(token) {
		if len(access.callers) > 0 { // or it would not have come so far
			return problem(http.StatusForbidden, "this call needs the ADMIN_TOKEN: one of the API_TOKENS is not enough")
		}
		return s.unauthorized(c, given, "this call needs the header Authorization: Bearer with the ADMIN_TOKEN")
	}
	// Most of these calls have no body, and then nothing to say about one.
	if len(c.Request().Body()) == 0 && len(c.Request().Header.ContentType()) == 0 {
		return nil
	}
	return checkBody(c)
}

// unauthorized is the answer to a request without a token that is known (RFC 6750, section 3).
func (s *Server) unauthorized(c *fiber.Ctx, given bool, detail string) error {
	if given {
		c.Response().Header.SetConnectionClose()
	}
	if s.tokenWarned.once(10 * time.Second) {
		s.cfg.Log.WarnContext(c.UserContext(), "request without a valid token (further ones within 10 s are not logged)",
			"method", c.Method(), "path", c.Path(), "address", c.Context().RemoteAddr().String(), "token_given", given, "trace_id", s.traceOf(c).id())
	}
	p := problem(http.StatusUnauthorized, detail)
	p.headers = challenge(given)
	return p
}

func challenge(given bool) http.Header {
	text := `Bearer realm="orderflow"`
	if given {
		text += `, error="invalid_token"`
	}
	return http.Header{"Www-Authenticate": {text}}
}

// bearer is the token of a request. Of two Authorization headers, programs differ in which counts: then none does.
func bearer(c *fiber.Ctx) (token string, given bool) {
	headers := c.Request().Header.PeekAll(fiber.HeaderAuthorization)
	if len(headers) != 1 {
		return "", len(headers) > 1
	}
	return bearerToken(string(headers[0])), true
}

// bearerToken is the token of an Authorization header's value; empty for another scheme.
func bearerToken(value string) string {
	scheme, token, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.Trim(token, " \t")
}
