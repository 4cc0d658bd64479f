package httpapi

import "github.com/gofiber/fiber/v2"

// probes are what Kubernetes, and the example's client, ask. Liveness never looks at the database: restarting this process
// would not bring it back.
func (s *Server) probes() {
	ok := []byte(`{"status":"ok"}`)
	probe := func(no func() (reason string)) fiber.Handler {
		return func(c *fiber.Ctx) error {
			if reason := no(); reason != "" {
				return unavailable(reason)
			}
			c.Response().Header.SetContentType(fiber.MIMEApplicationJSON)
			c.Response().SetBodyRaw(ok)
			return nil
		}
	}
	always := func() string { return "" }
	s.app.Get("/health", probe(always))
	s.app.Get("/livez", probe(always))
	s.app.Get("/readyz", probe(s.NotReady))
}

// NotReady says why requests should go elsewhere, empty when they should not. The monitor asks the database all the time, and a
// writer that cannot write tries by itself, so a probe need not, and cannot be held up by requests that have all the
// connections.
func (s *Server) NotReady() string {
	if s.draining.Load() {
		return "shutting down"
	}
	if state, _ := s.cfg.Monitor.State(); !state.Up {
		return state.Reason
	}
	if reason := s.cfg.Writer.NotReady(); reason != "" {
		return "orders cannot be written: " + reason
	}
	return ""
}
