package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/isotime"
	"orderflow.example/services/api/internal/orders"
)

// describe makes the OpenAPI document, to which the routes then add themselves.
func (s *Server) describe() {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	registry.RegisterTypeAlias(reflect.TypeFor[json.RawMessage](), reflect.TypeFor[anyJSON]())
	registry.RegisterTypeAlias(reflect.TypeFor[isotime.Time](), reflect.TypeFor[time.Time]())
	registry.RegisterTypeAlias(reflect.TypeFor[orders.Order](), reflect.TypeFor[Order]())
	s.api = humafiber.NewWithGroup(s.app, withHead{s.app}, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "Orderflow",
				Version:     s.cfg.Version,
				Description: intro,
			},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token": {Type: "http", Scheme: "bearer", Description: "one of the API_TOKENS, or the ADMIN_TOKEN; without API_TOKENS everybody may call"},
					"admin": {Type: "http", Scheme: "bearer", Description: "the ADMIN_TOKEN; without one configured, these calls are off"},
				},
			},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
		// A misspelt filter would silently list everything.
		RejectUnknownQueryParameters: true,
	})
	s.describeCreating(registry)
}

const intro = `Takes orders and gets each of them processed once.

An order and the message that gets it processed are written in one transaction: what was answered 201 is processed. Errors are
` + "`application/problem+json`" + ` and name each wrong value by its location. A 503 says when to try again; with an
` + "`Idempotency-Key`" + ` that is always safe. No call takes a ` + "`Content-Encoding`" + ` other than ` + "`identity`" + `: the answer is 415.`

// withHead registers HEAD wherever GET is.
type withHead struct{ *fiber.App }

func (w withHead) Add(method, path string, handlers ...fiber.Handler) fiber.Router {
	if method == http.MethodGet {
		w.App.Add(http.MethodHead, path, handlers...)
	}
	return w.App.Add(method, path, handlers...)
}

// anyJSON documents a value that is whatever somebody else wrote.
type anyJSON struct{}

// Schema is any value at all.
func (anyJSON) Schema(huma.Registry) *huma.Schema { return &huma.Schema{} }

// Order documents what [orders.Order] is written as.
type Order struct {
	ID             int64      `json:"id" example:"111"`
	CustomerName   string     `json:"customer_name" example:"Customer 1"`
	ProductName    string     `json:"product_name" example:"Product 1"`
	Quantity       int32      `json:"quantity" example:"2"`
	Price          float64    `json:"price" example:"11.00" doc:"exact, with two decimals"`
	CreatedAt      time.Time  `json:"created_at"`
	MessageID      *int64     `json:"message_id" doc:"of its (latest) message in the queue"`
	Status         string     `json:"status" enum:"pending,completed,dead"`
	Attempts       int32      `json:"attempts" doc:"deliveries that counted"`
	Effects        int32      `json:"effects" doc:"how often it was processed; more than 1 must never happen"`
	LastError      *string    `json:"last_error"`
	CompletedAt    *time.Time `json:"completed_at"`
	ProcessedBy    *string    `json:"processed_by"`
	IdempotencyKey *string    `json:"idempotency_key"`
	Warnings       []string   `json:"warnings,omitempty" doc:"only in the answer to a POST, with INPUT=example: what was rounded"`
}

// register adds a call that huma reads and answers: with a deadline, a refusal at once when the database is known to be away, a second try
// of what only reads when a connection turns out to be stale, and errors in the one form.
func register[I, O any](s *Server, op huma.Operation, handle func(context.Context, *I) (*O, error)) {
	op.Errors = append(op.Errors, http.StatusServiceUnavailable)
	op.Middlewares = append(op.Middlewares, s.strictQuery)
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		if !s.cfg.Monitor.Up() {
			return nil, s.logFailure(ctx, unavailable(orders.ErrUnavailable.Error()))
		}
		timeout := s.cfg.RequestTimeout
		if op.Method != http.MethodGet {
			timeout = adminTimeout
		}
		limited, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		out, err := handle(limited, in)
		if op.Method == http.MethodGet && limited.Err() == nil && worthAnotherTry(err) {
			out, err = handle(limited, in)
		}
		if err != nil {
			return nil, s.logFailure(ctx, err)
		}
		return out, nil
	})
}

// worthAnotherTry tells whether a read failed by its connection, by what that had prepared, or by what others were writing.
func worthAnotherTry(err error) bool {
	switch database.Classify(err) {
	case database.Lost, database.Conflict, database.Stale:
		return true
	}
	return false
}

// adminTimeout is the deadline of the calls for admins, some of which move thousands of dead letters.
const adminTimeout = time.Minute

// rarely lets pass what is worth saying, but not every time.
type rarely struct{ last atomic.Int64 }

func (r *rarely) once(interval time.Duration) bool {
	now, last := time.Now().UnixNano(), r.last.Load()
	return now-last >= int64(interval) && r.last.CompareAndSwap(last, now)
}

// logFailure logs the error of a call that huma or the dashboard answers, as far as it is news, and returns the problem to answer with. After
// a 503 the monitor looks at the database at once.
func (s *Server) logFailure(ctx context.Context, err error) *Problem {
	p := toProblem(err)
	if t, ok := ctx.Value(traceKey).(requestTrace); ok {
		p.TraceID = t.id()
	}
	switch {
	case p.Status == http.StatusServiceUnavailable:
		s.cfg.Monitor.LookNow()
		var (
			connect *pgconn.ConnectError
			own     *Problem
		)
		switch kind := database.Classify(err); {
		case errors.As(err, &own):
		case errors.As(err, &connect):
			if s.databaseWarned.once(time.Second) {
				s.cfg.Log.WarnContext(ctx, "no database connection could be made for a request", "trace_id", p.TraceID, "error", err)
			}
		case database.ServerError(err) != nil && (kind == database.Unready || !database.Away(err)):
			if s.databaseWarned.once(time.Second) {
				s.cfg.Log.WarnContext(ctx, "the database refused a request", "trace_id", p.TraceID, "error", err)
			}
		default:
			s.cfg.Log.DebugContext(ctx, "the database was not available to a request", "trace_id", p.TraceID, "error", err)
		}
	case p.Status >= http.StatusInternalServerError:
		s.cfg.Log.ErrorContext(ctx, "request failed", "trace_id", p.TraceID, "error", err)
	}
	return p
}
