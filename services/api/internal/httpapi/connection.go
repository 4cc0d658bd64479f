package httpapi

import (
	"errors"
	"net/http"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"orderflow.example/services/api/internal/http1"
)

// bodyLimit is how large a request's body may be.
func (s *Server) bodyLimit(method, target []byte) int64 {
	if path := string(http1.Path(target)); string(method) == http.MethodPost && (path == batchPath || path == redrivePath) {
		return int64(s.cfg.BodyLimit)
	}
	return int64(s.cfg.OrderBodyLimit)
}

// known tells whether the sender of a large body has a token that opens the call.
func (s *Server) known(_, target, authorization []byte) bool {
	token := bearerToken(string(authorization))
	if string(http1.Path(target)) == redrivePath {
		return s.access.Load().admins.have(token)
	}
	return s.access.Load().admit(token)
}

// inStep answers what was handed on as a request, and nothing else; and what was read when there is room for the answer.
func (s *Server) inStep(next fasthttp.RequestHandler) fasthttp.RequestHandler {
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
		next(ctx)
		// What has been done is told in any case. The batch has reserved the room for that.
		if reading := ctx.IsGet() || ctx.IsHead(); !reading || ctx.Response.IsBodyStream() || conn.Reserve(len(ctx.Response.Body())) {
			return
		}
		ctx.Response.Reset()
		c := s.app.AcquireCtx(ctx)
		defer s.app.ReleaseCtx(c)
		_ = s.fail(c, unavailable("too many large answers are under way")) // only what has no JSON fails
	}
}

// reserve makes room for an answer before what it tells is done.
func reserve(c *fiber.Ctx, size int) error {
	if conn, ok := c.Context().Conn().(*http1.Conn); ok && !conn.Reserve(size) {
		return unavailable("nothing was written: too many large answers are under way")
	}
	return nil
}

// unreadable answers a request that was refused, or could not be read. Its connection ends.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, _ error) {
	c := s.app.AcquireCtx(ctx)
	defer s.app.ReleaseCtx(c)
	_ = s.refuse(c, refused(ctx)) // only what has no JSON fails
	c.Response().Header.SetConnectionClose()
}

func refused(ctx *fasthttp.RequestCtx) *Problem {
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
