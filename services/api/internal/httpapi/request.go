package httpapi

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"orderflow.example/services/api/internal/http1"
)

// This file has what every request passes on its way to its route, and again on its way back: handle, and inside of it observe. What
// cannot be read as a request comes to answerUnreadable instead.

// handle is the HTTP server's handler. It has only those requests answered that package http1 has handed on. A read for whose answer
// there is no room becomes a 503.
func (s *Server) handle(routes fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		conn, ok := ctx.Conn().(*http1.Conn)
		if !ok {
			panic("the server was given a listener that is not http1's")
		}
		if err := conn.Begin(); err != nil {
			if errors.Is(err, http1.ErrOutOfStep) {
				s.cfg.Log.ErrorContext(ctx, "connection closed", "error", err)
			}
			_ = conn.Close() // so the answer goes nowhere
			return
		}
		if !readPath(ctx) {
			s.answerInstead(ctx, s.answerUnobserved, problem(http.StatusBadRequest, "the target can be read in two ways"))
			ctx.Response.SetConnectionClose()
			return
		}
		if s.cfg.Input.Example {
			exampleRequest(ctx)
		}
		if methodLabel(string(ctx.Method())) == otherMethod { // fiber has no place for it in its routes, and would answer in its own way
			s.answerInstead(ctx, s.answerUnobserved, problem(http.StatusBadRequest, "the request's method is not an HTTP method"))
		} else {
			routes(ctx)
		}
		// Only a read may be answered otherwise now. Any other call may have changed something, and says so, room or not: createBatch has
		// made its room before it wrote.
		if reading := ctx.IsGet() || ctx.IsHead(); reading && !ctx.Response.IsBodyStream() && !conn.Reserve(len(ctx.Response.Body())) {
			ctx.Response.Reset()
			s.answerInstead(ctx, s.answerError, unavailable("too many large answers are under way"))
		}
	}
}

// readPath reads a request's path, before anything else looks at it: to RFC 3986, /orders/%31 is /orders/1. It says false where the path that
// the HTTP server has found in the target is another than that which package http1 finds, and a proxy: that one may publish some paths only.
func readPath(ctx *fasthttp.RequestCtx) bool {
	path, found := http1.Path(ctx.Request.Header.RequestURI()), ctx.URI().PathOriginal()
	if !bytes.Equal(path, found) && (len(found) > 0 || string(path) != "/") { // in http://host?query it finds none
		return false
	}
	if len(found) == 0 || bytes.IndexByte(path, '%') >= 0 {
		ctx.URI().SetPathBytes(unescape(path))
	}
	return true
}

// unescape reads percent escapes. An escaped slash stays escaped, because it is part of a segment and separates none; so does what is no escape.
func unescape(path []byte) []byte {
	out := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		var char [1]byte
		if path[i] == '%' && i+2 < len(path) {
			if _, err := hex.Decode(char[:], path[i+1:i+3]); err == nil && char[0] != '/' {
				out = append(out, char[0])
				i += 2
				continue
			}
		}
		out = append(out, path[i])
	}
	return out
}

// observe turns errors and panics into answers, counts, and writes the line.
func (s *Server) observe(c *fiber.Ctx) error {
	started, trace := time.Now(), s.traceOf(c)
	if err := s.next(c); err != nil {
		if err := s.answerError(c, err); err != nil {
			return err
		}
	}
	if s.cfg.Input.Example {
		exampleAnswer(c)
	}
	if s.draining.Load() {
		c.Response().Header.SetConnectionClose()
	}

	s.count(c, trace, routeLabel(c), time.Since(started))
	return nil
}

// routeLabel is the route that a request has come to, as a label. Where it came to none, fiber names the middleware's, which is "/".
func routeLabel(c *fiber.Ctx) string {
	route := c.Route().Path
	switch status := c.Response().StatusCode(); {
	case status == http.StatusMethodNotAllowed:
		return noRoute
	case route == "/" && (status == http.StatusNotFound || status == http.StatusUnauthorized || status == http.StatusUnsupportedMediaType):
		return noRoute
	}
	return route
}

// next goes on to the route. A panic is a fault of ours that must not end the process with everybody else's requests.
func (s *Server) next(c *fiber.Ctx) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.cfg.Log.ErrorContext(c.UserContext(), "panic", "trace_id", s.traceOf(c).id(), "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return c.Next()
}

// refuseCompressed refuses any request with a content coding, to whatever call, before anything looks at its body: coding is not worth it for
// what an order is, and a few bytes can unpack to gigabytes. A field may be there more than once, and hold a list.
//
// That nothing here decodes is held twice. Fiber's own ways to a body do it unasked and without a limit: .golangci.yml forbids them.
func refuseCompressed(c *fiber.Ctx) error {
	for _, coding := range c.Request().Header.PeekAll(fiber.HeaderContentEncoding) {
		if len(coding) > 0 && !bytes.EqualFold(coding, []byte("identity")) {
			return problem(http.StatusUnsupportedMediaType, "compressed bodies are not accepted", Wrong{
				Location: "header.Content-Encoding", Message: "must be absent or identity",
			})
		}
	}
	return c.Next()
}

// count counts a request that is answered, ends its span and writes its line.
func (s *Server) count(c *fiber.Ctx, trace requestTrace, route string, took time.Duration) {
	status := c.Response().StatusCode()
	s.served.Add(1)
	s.cfg.Observer.Request(methodLabel(c.Method()), route, status, took, trace.recorded())
	trace.end(c, route)
	if ctx, level := c.UserContext(), s.level(c); s.cfg.Log.Enabled(ctx, level) {
		attrs := []slog.Attr{slog.Duration("duration", took.Round(time.Microsecond)), slog.String("trace_id", trace.id())}
		if w, ok := c.Locals(createdKey).(created); ok {
			attrs = append(attrs, slog.Int64("order_id", w.orderID), slog.Int64("msg_id", w.msgID))
		}
		s.cfg.Log.LogAttrs(ctx, level, fmt.Sprintf("%s %s %d", c.Method(), c.Path(), status), attrs...)
	}
}

// createdKey is where a handler leaves what it created, for the line about the request.
const createdKey = "created"

type created struct{ orderID, msgID int64 }

// level is that of a request's line.
func (s *Server) level(c *fiber.Ctx) slog.Level {
	switch {
	case s.cfg.LogRequests == "all", s.cfg.LogRequests == "changes" && !fiber.IsMethodSafe(c.Method()):
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// What stands in labels for a route that there is not, and for what is no method of HTTP.
const (
	noRoute     = "none"
	otherMethod = "other"
)

// methodLabel is a method as a label, which outlives the request: what fiber returns is the request's own memory.
func methodLabel(method string) string {
	for _, m := range fiber.DefaultMethods {
		if m == method {
			return m
		}
	}
	return otherMethod
}

// answerUnreadable is the HTTP server's error handler: it answers what package http1 has refused, or the server cannot read. The
// connection ends.
func (s *Server) answerUnreadable(ctx *fasthttp.RequestCtx, _ error) {
	s.answerInstead(ctx, s.answerUnobserved, whyUnreadable(ctx))
	ctx.Response.Header.SetConnectionClose()
}

// whyUnreadable is why a request could not be read.
func whyUnreadable(ctx *fasthttp.RequestCtx) *Problem {
	conn, ok := ctx.Conn().(*http1.Conn)
	if !ok || conn.Refusal() == nil {
		return problem(http.StatusBadRequest, "the request is not HTTP/1.1 as RFC 9112 has it")
	}
	switch refusal := conn.Refusal(); refusal.Status {
	case http.StatusUnauthorized:
		p := problem(refusal.Status, refusal.Detail)
		p.headers = challenge(false)
		return p
	case http.StatusServiceUnavailable:
		return unavailable(refusal.Detail)
	case http.StatusRequestEntityTooLarge:
		return problem(refusal.Status, refusal.Detail, Wrong{Location: "body", Message: "is larger than the limit"})
	default:
		return problem(refusal.Status, refusal.Detail)
	}
}

// answerUnobserved answers and counts a request that does not come to observe: its head or its body was too large, too slow or no HTTP.
func (s *Server) answerUnobserved(c *fiber.Ctx, err error) error {
	if err := s.answerError(c, err); err != nil {
		return err
	}
	s.count(c, s.traceOf(c), noRoute, 0)
	return nil
}

// answerInstead answers a request by an error in the place of a route, in one of two ways: answerError or answerUnobserved.
func (s *Server) answerInstead(ctx *fasthttp.RequestCtx, answer func(*fiber.Ctx, error) error, err error) {
	c := s.app.AcquireCtx(ctx)
	defer s.app.ReleaseCtx(c)
	_ = answer(c, err) // only what has no JSON fails
}
