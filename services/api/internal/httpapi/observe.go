package httpapi

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// observe stands around every request: it turns errors and panics into answers, counts, and writes the line.
func (s *Server) observe(c *fiber.Ctx) error {
	started := time.Now()
	t := s.beginTrace(c, started)

	if err := s.next(c); err != nil {
		if err := s.fail(c, err); err != nil {
			return err
		}
	}
	if s.cfg.Input.Example {
		exampleAnswer(c)
	}
	if s.draining.Load() {
		c.Response().Header.SetConnectionClose()
	}

	route := c.Route().Path
	if status := c.Response().StatusCode(); (status == http.StatusNotFound || status == http.StatusUnauthorized) && route == "/" || status == http.StatusMethodNotAllowed {
		route = noRoute // whatever was asked for must not become a label
	}
	s.count(c, t, route, time.Since(started))
	return nil
}

// refuse answers and counts a request that could not be read, and so does not come to observe: its head or its body was too
// large, too slow or no HTTP.
func (s *Server) refuse(c *fiber.Ctx, err error) error {
	if err := s.fail(c, err); err != nil {
		return err
	}
	s.count(c, s.traceOf(c), noRoute, 0)
	return nil
}

// knownMethods answers what fiber has no place for in its routes, and would answer in its own way.
func (s *Server) knownMethods(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		if known(string(ctx.Method())) != otherMethod {
			next(ctx)
			return
		}
		c := s.app.AcquireCtx(ctx)
		defer s.app.ReleaseCtx(c)
		_ = s.refuse(c, problem(http.StatusBadRequest, "the request's method is not an HTTP method")) // only what has no JSON fails
	}
}

func (s *Server) count(c *fiber.Ctx, t place, route string, took time.Duration) {
	status := c.Response().StatusCode()
	s.served.Add(1)
	s.cfg.Observer.Request(known(c.Method()), route, status, took, t.recorded())
	t.end(c, route)
	if ctx, level := c.UserContext(), s.level(c); s.cfg.Log.Enabled(ctx, level) {
		attrs := []slog.Attr{slog.Duration("duration", took.Round(time.Microsecond)), slog.String("trace_id", t.id())}
		if w, ok := c.Locals(createdKey).(created); ok {
			attrs = append(attrs, slog.Int64("order_id", w.orderID), slog.Int64("msg_id", w.msgID))
		}
		s.cfg.Log.LogAttrs(ctx, level, fmt.Sprintf("%s %s %d", c.Method(), c.Path(), status), attrs...)
	}
}

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

// known is a method as a label, which outlives the request: what fiber returns is the request's own memory.
func known(method string) string {
	for _, m := range fiber.DefaultMethods {
		if m == method {
			return m
		}
	}
	return otherMethod
}

// createdKey is where a handler leaves what it created, for the line about the request.
const createdKey = "created"

type created struct{ orderID, msgID int64 }

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
