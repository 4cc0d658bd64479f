package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"orderflow.example/services/api/internal/cursor"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/orders"
	"orderflow.example/services/api/internal/queue"
	"orderflow.example/services/api/internal/strictjson"
)

// Problem is the body of every error: RFC 9457, with what is wrong and where.
type Problem struct { //nolint:errname // its name is that of the schema in the OpenAPI document
	Type    string  `json:"type" example:"about:blank"`
	Title   string  `json:"title" example:"Unprocessable Entity"`
	Status  int     `json:"status" example:"422"`
	Detail  string  `json:"detail" example:"1 value is wrong"`
	Errors  []Wrong `json:"errors,omitempty" doc:"each thing that is wrong with the request"`
	TraceID string  `json:"trace_id" example:"4bf92f3577b34da6a3ce929d0e0e4736" doc:"the request's trace id, also in the logs"`

	headers http.Header
}

// Wrong is one thing that is wrong with a request.
type Wrong struct {
	Location string          `json:"location" example:"body.price" doc:"begins with body, path, query or header"`
	Message  string          `json:"message" example:"must not be negative"`
	Value    json.RawMessage `json:"value,omitempty" doc:"what stood there, shortened"`
}

// ContentType makes huma send problems as what they are.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetStatus makes a problem an answer to huma.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders are the headers that go with the problem.
func (p *Problem) GetHeaders() http.Header { return p.headers }

// Error is the detail.
func (p *Problem) Error() string { return p.Detail }

func problem(status int, detail string, wrong ...Wrong) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Errors: wrong}
}

func unprocessable(wrong ...Wrong) *Problem {
	detail := "1 value is wrong"
	if len(wrong) != 1 {
		detail = strconv.Itoa(len(wrong)) + " values are wrong"
	}
	return problem(http.StatusUnprocessableEntity, detail, wrong...)
}

// tryAgain says when it makes sense to, in seconds: an outage that is over is noticed within that time.
var tryAgain = http.Header{fiber.HeaderRetryAfter: {"1"}}

func unavailable(detail string) *Problem {
	p := problem(http.StatusServiceUnavailable, detail)
	p.headers = tryAgain
	return p
}

// toProblem is where errors become answers. What the database refuses is no fault of the client's, who should come again; an error
// that nobody has thought of is a 500. The causes of both are in the log and not in the answer.
func toProblem(err error) *Problem {
	var (
		p         *Problem
		malformed *strictjson.MalformedError
		invalid   *strictjson.InvalidError
		refused   *orders.RefusedError
		framework *fiber.Error
		status    huma.StatusError
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &malformed):
		return problem(http.StatusBadRequest, malformed.Error(), wrong(malformed.Fault))
	case errors.As(err, &invalid):
		all := make([]Wrong, len(invalid.Faults))
		for i, f := range invalid.Faults {
			all[i] = wrong(f)
		}
		p := unprocessable(all...)
		if invalid.Cut {
			p.Detail = "at least " + p.Detail
		}
		return p
	case errors.Is(err, orders.ErrKeyReused):
		return problem(http.StatusUnprocessableEntity, "the idempotency key was used for another order", Wrong{
			Location: "header.Idempotency-Key", Message: "was used for another order",
		})
	case errors.As(err, &refused):
		return problem(http.StatusUnprocessableEntity, refused.Error(), Wrong{Location: "body", Message: refused.Reason})
	case errors.Is(err, orders.ErrNotFound):
		return problem(http.StatusNotFound, "Order not found")
	case errors.Is(err, queue.ErrNotFound):
		return problem(http.StatusNotFound, "Dead letter not found")
	case errors.Is(err, queue.ErrNotRedrive):
		return problem(http.StatusConflict, "the dead letter's order is not dead: it was completed, or has another message under way")
	case errors.Is(err, cursor.ErrInvalid):
		return unprocessable(Wrong{Location: "query.cursor", Message: err.Error()})
	case errors.Is(err, orders.ErrUnknownOutcome):
		return unavailable(err.Error() + ": send it again with the same Idempotency-Key")
	case errors.Is(err, orders.ErrUnavailable), errors.Is(err, orders.ErrOverloaded), errors.Is(err, orders.ErrTimeout), errors.Is(err, orders.ErrClosed):
		return unavailable("nothing was written: " + strings.TrimPrefix(err.Error(), orders.ErrUnavailable.Error()+": "))
	case database.TimedOut(err):
		return unavailable("the database did not finish in time")
	case database.Away(err) && database.Classify(err) != database.Unready:
		return unavailable(orders.ErrUnavailable.Error())
	case database.Untranslatable(err):
		return problem(http.StatusUnprocessableEntity, "the request has characters that the database's encoding does not have")
	case database.ServerError(err) != nil:
		return unavailable("the database refused the request; the service's log says why")
	case errors.As(err, &framework):
		return fromFiber(framework)
	case errors.As(err, &status):
		return problem(status.GetStatus(), status.Error())
	}
	return problem(http.StatusInternalServerError, "internal error; the service's log has the details under the trace id")
}

func wrong(f strictjson.Fault) Wrong {
	return Wrong{Location: f.Location, Message: f.Message, Value: f.Value}
}

func fromFiber(err *fiber.Error) *Problem {
	switch err.Code {
	case http.StatusNotFound:
		return problem(err.Code, "there is nothing at this path")
	case http.StatusMethodNotAllowed:
		return problem(err.Code, "method not allowed on this path; see Allow")
	}
	return problem(err.Code, err.Message)
}

// answerError answers a request by an error's problem document. It fails only where that has no JSON.
func (s *Server) answerError(c *fiber.Ctx, err error) error {
	p := toProblem(err)
	t := s.traceOf(c)
	if p.Status >= http.StatusInternalServerError && p.Status != http.StatusServiceUnavailable {
		s.cfg.Log.ErrorContext(c.UserContext(), "request failed", "method", c.Method(), "path", c.Path(), "trace_id", t.id(), "error", err)
	}
	if p.Status == http.StatusMethodNotAllowed && c.Method() == http.MethodOptions {
		c.Status(http.StatusNoContent)
		return nil
	}
	p.TraceID = t.id()
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	for name := range p.headers {
		c.Set(name, p.headers.Get(name))
	}
	c.Status(p.Status)
	c.Response().Header.SetContentType("application/problem+json")
	c.Response().SetBodyRaw(body)
	return nil
}

// huma makes its own errors (of parameters, of bodies it reads) by these hooks, which are global to the process.
func init() {
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		if p, ok := single(errs); ok {
			return p
		}
		all := make([]Wrong, 0, len(errs))
		for _, err := range errs {
			if err == nil {
				continue
			}
			w := Wrong{Location: "body", Message: err.Error()}
			if detailer, ok := err.(huma.ErrorDetailer); ok {
				d := detailer.ErrorDetail()
				w = Wrong{Location: d.Location, Message: d.Message}
				if d.Value != nil && d.Location != "body" {
					w.Value, _ = json.Marshal(d.Value) // without a value when it has no JSON
				}
				if len(w.Value) > 128 {
					w.Value = nil
				}
			}
			all = append(all, w)
		}
		if status == http.StatusUnprocessableEntity && len(all) > 0 {
			return unprocessable(all...)
		}
		return problem(status, strings.TrimSpace(message), all...)
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, message string, errs ...error) huma.StatusError {
		p := toProblem(huma.NewError(status, message, errs...))
		if ctx != nil {
			t, _ := humafiber.Unwrap(ctx).Locals(traceKey).(requestTrace) // observe has put it there
			p.TraceID = t.id()
		}
		return p
	}
}

func single(errs []error) (*Problem, bool) {
	var p *Problem
	return p, len(errs) == 1 && errs[0] != nil && errors.As(errs[0], &p)
}

// Explain is what an error means to who has asked for a page; it is logged as for any other call.
func (s *Server) Explain(c *fiber.Ctx, err error) (status int, detail string) {
	p := s.logFailure(c.UserContext(), err)
	return p.Status, p.Detail
}

// TraceID is a request's.
func (s *Server) TraceID(c *fiber.Ctx) string { return s.traceOf(c).id() }
