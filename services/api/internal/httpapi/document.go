package httpapi

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"reflect"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"orderflow.example/services/api/internal/history"
)

// NewOrder documents what [orders.Input.Decode] reads. The price has no multipleOf: validators that calculate with floats, huma's
// among them, find that 11.00 is no multiple of 0.01.
type NewOrder struct {
	CustomerName string  `json:"customer_name" minLength:"1" maxLength:"200" example:"Customer 1" doc:"not blank"`
	ProductName  string  `json:"product_name" minLength:"1" maxLength:"200" example:"Product 1" doc:"not blank"`
	Quantity     int32   `json:"quantity" minimum:"1" maximum:"2147483647" example:"2"`
	Price        float64 `json:"price" minimum:"0" maximum:"9999999999.99" example:"11.00" doc:"at most 2 decimals, also in a string; exact, it is never rounded (the noise of floats around a cent is no decimals)"`
}

// NewOrders documents what [orders.Input.DecodeBatch] reads.
type NewOrders struct {
	Orders []NewOrder `json:"orders" nullable:"false" minItems:"1" maxItems:"1000"`
}

// Orders documents the answer to a batch.
type Orders struct {
	Orders []Order `json:"orders" nullable:"false"`
}

// Health documents the probes' answer.
type Health struct {
	Status string `json:"status" enum:"ok"`
}

// describeCreating puts those routes into the document that do without huma.
func (s *Server) describeCreating(registry huma.Registry) {
	schema := func(t reflect.Type) *huma.Schema { return registry.Schema(t, true, "") }
	content := func(kind string, t reflect.Type) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{kind: {Schema: schema(t)}}
	}
	problems := func(responses map[string]*huma.Response, all map[string]string) map[string]*huma.Response {
		for status, description := range all {
			responses[status] = &huma.Response{Description: description, Content: content("application/problem+json", reflect.TypeFor[Problem]())}
		}
		return responses
	}
	text := func(description string) *huma.Param {
		return &huma.Param{Description: description, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	writing := map[string]string{
		"400": "The body is not JSON", "413": "The body is too large", "415": "The body is not said to be JSON, or is compressed",
		"422": "Values are wrong, each of them named; or the idempotency key was used for something else",
		"500": "A fault of the service: its log has more under the trace id",
		"503": "The database is away, or too much is waiting. Retry-After says when to try again",
	}
	key := &huma.Param{
		Name: keyHeader, In: "header",
		Description: "Makes retries safe: the same key with the same values is answered as it was the first time. " +
			"Keys belong to the call, and are known as long as their order is kept",
		Schema: &huma.Schema{Type: huma.TypeString, Pattern: "^[!-~]{1,200}$"},
	}
	replayed := text("\"true\" when the idempotency key was known; the answer is then the first one")

	s.api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "create-order", Method: http.MethodPost, Path: "/orders", Tags: []string{"orders"},
		Summary: "Create an order",
		Description: "The order and its message are committed together before this answers. A member that is not known, or that " +
			"is given twice, is refused.",
		Parameters:  []*huma.Param{key},
		RequestBody: &huma.RequestBody{Required: true, Content: content("application/json", reflect.TypeFor[NewOrder]())},
		Responses: problems(map[string]*huma.Response{"201": {
			Description: "Created", Content: content("application/json", reflect.TypeFor[Order]()),
			Headers: map[string]*huma.Param{"Location": text("The order's path"), replayedHeader: replayed},
		}}, writing),
	})
	s.api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "create-orders", Method: http.MethodPost, Path: "/orders/batch", Tags: []string{"orders"},
		Summary:     "Create up to 1,000 orders, all or none",
		Description: "Order i is stored under the key's name, a unit separator (0x1f) and i, counted from 0. The same key with more or fewer orders is refused.",
		Parameters:  []*huma.Param{key},
		RequestBody: &huma.RequestBody{Required: true, Content: content("application/json", reflect.TypeFor[NewOrders]())},
		Responses: problems(map[string]*huma.Response{"201": {
			Description: "Created, in the order of the request", Content: content("application/json", reflect.TypeFor[Orders]()),
			Headers: map[string]*huma.Param{replayedHeader: replayed},
		}}, writing),
	})
	for _, probe := range []struct{ path, summary string }{
		{"/health", "Whether the service is alive"},
		{"/livez", "The same, for Kubernetes: never asks the database"},
		{"/readyz", "Whether orders can be taken: the database is there, has the schema, and takes what is written"},
	} {
		responses := map[string]*huma.Response{"200": {Description: "Yes", Content: content("application/json", reflect.TypeFor[Health]())}}
		if probe.path == "/readyz" {
			problems(responses, map[string]string{"503": "No, and why"})
		}
		s.api.OpenAPI().AddOperation(&huma.Operation{
			OperationID: probe.path[1:], Method: http.MethodGet, Path: probe.path, Tags: []string{"health"}, Summary: probe.summary, Responses: responses,
		})
	}
}

// describeRetryAfter puts the header into every 503 of the document.
func (s *Server) describeRetryAfter() {
	header := &huma.Param{Description: "Seconds after which to try again", Schema: &huma.Schema{Type: huma.TypeInteger}}
	for _, item := range s.api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Delete} {
			if op != nil && op.Responses["503"] != nil {
				op.Responses["503"].Headers = map[string]*huma.Param{"Retry-After": header}
			}
		}
	}
}

// describeEvents says what an event of an order's story can be, which would be too long for a struct's tag.
func (s *Server) describeEvents() {
	event := s.api.OpenAPI().Components.Schemas.Map()["Event"].Properties["event"]
	for _, name := range history.EventNames {
		event.Enum = append(event.Enum, name)
	}
	event.Description = history.EventMeaning
}

//go:embed docs.html
var docsPage []byte

// describeTokens says which calls need a token, when there are any.
func (s *Server) describeTokens() {
	document := s.api.OpenAPI()
	if len(s.cfg.APITokens) == 0 {
		return
	}
	document.Security = []map[string][]string{{"token": {}}}
	for path, item := range document.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			switch {
			case op == nil:
			case openToAll[path]:
				op.Security = []map[string][]string{}
			case op.Responses["401"] == nil:
				problem := document.Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")
				op.Responses["401"] = &huma.Response{
					Description: "No token, or none that is known", Content: map[string]*huma.MediaType{"application/problem+json": {Schema: problem}},
				}
			}
		}
	}
}

// documentation serves the document, and a page to read it by, which loads nothing from elsewhere.
func (s *Server) documentation() {
	s.describeRetryAfter()
	s.describeEvents()
	s.describeTokens()
	document := sync.OnceValues(func() ([]byte, error) { return json.MarshalIndent(s.api.OpenAPI(), "", "  ") })
	s.app.Get("/openapi.json", func(c *fiber.Ctx) error {
		body, err := document()
		if err != nil {
			return err
		}
		c.Response().Header.SetContentType(fiber.MIMEApplicationJSON)
		c.Response().SetBodyRaw(body)
		return nil
	})
	s.app.Get("/", func(c *fiber.Ctx) error { return c.Redirect("docs", fiber.StatusFound) }) // relative: a proxy may have cut a prefix off
	s.app.Get("/redoc", func(c *fiber.Ctx) error { return c.Redirect("docs", fiber.StatusFound) })
	s.app.Get("/docs", func(c *fiber.Ctx) error {
		c.Set(fiber.HeaderContentSecurityPolicy, "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "+
			"base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
		c.Response().Header.SetContentType(fiber.MIMETextHTMLCharsetUTF8)
		c.Response().SetBodyRaw(docsPage)
		return nil
	})
}
