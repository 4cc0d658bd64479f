package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"orderflow.example/services/api/internal/orders"
)

// With INPUT=example the calls of the FastAPI example take what it took and refuse as it refused, for clients that were written
// for it. What is different stands here, on the way in and on the way out; in between everything is as ever.
// testdata/example.json has what the example answers.

// exampleRequest makes of a request to one of the example's calls one that means the same and is as strict as ours: without
// parameters that nobody knows, with numbers as Go reads them.
func exampleRequest(ctx *fasthttp.RequestCtx) {
	path, known := strings.TrimSuffix(string(ctx.URI().PathOriginal()), "/"), ""
	id, one := strings.CutPrefix(path, "/orders/")
	switch {
	case ctx.IsPost() && path == "/orders", ctx.IsGet() && one:
	case ctx.IsGet() && path == "/messages":
		known = "limit"
	default:
		return
	}
	if n, ok := orders.ReadInt(id); one && ok {
		if n < 1 {
			n = noOrder
		}
		ctx.URI().SetPath("/orders/" + strconv.FormatInt(n, 10))
	}
	given := ctx.QueryArgs().PeekMulti(known)
	query := ""
	if known != "" && len(given) > 0 {
		limit := string(given[len(given)-1]) // the last counts
		if n, ok := orders.ReadInt(limit); ok {
			limit = strconv.FormatInt(min(n, maxPeek), 10)
		}
		query = url.Values{known: {limit}}.Encode()
	}
	ctx.URI().SetQueryString(query)
}

// noOrder is an id that no order has: 0 and -1 are not found, too.
const noOrder = 1<<63 - 1

// exampleAnswer turns the answer to a request that was refused for what it says into FastAPI's: 422 with a list of what is
// wrong, each with its location, a message and a type; a body that is no text is a 400.
func exampleAnswer(c *fiber.Ctx) {
	response := c.Response()
	status := response.StatusCode()
	if status != http.StatusBadRequest && status != http.StatusUnsupportedMediaType && status != http.StatusUnprocessableEntity {
		return
	}
	var p Problem
	if json.Unmarshal(response.Body(), &p) != nil || p.Status != status {
		return
	}
	answer := struct {
		Detail  any    `json:"detail"`
		TraceID string `json:"trace_id"`
	}{TraceID: p.TraceID}
	body := c.Request().Body()
	switch {
	case status == http.StatusBadRequest && !utf8.Valid(body):
		answer.Detail = "There was an error parsing the body"
	default:
		status = http.StatusUnprocessableEntity
		answer.Detail = exampleErrors(&p, len(body) > 0)
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		return // as it was
	}
	c.Status(status)
	response.Header.SetContentType(fiber.MIMEApplicationJSON)
	response.SetBodyRaw(raw)
}

// exampleError is one of FastAPI's errors.
type exampleError struct {
	Type string          `json:"type"`
	Loc  []any           `json:"loc"`
	Msg  string          `json:"msg"`
	Have json.RawMessage `json:"input,omitempty"`
}

func exampleErrors(p *Problem, hasBody bool) []exampleError {
	all := []exampleError{}
	for _, w := range p.Errors {
		e := exampleError{Type: exampleType(w), Loc: exampleLocation(w.Location), Msg: w.Message, Have: w.Value}
		switch {
		case p.Status == http.StatusUnsupportedMediaType:
			// FastAPI takes such a body for a text, and finds that it is no object.
			e.Type, e.Loc = "model_attributes_type", []any{"body"}
		case p.Status == http.StatusBadRequest && !hasBody:
			e.Type, e.Loc, e.Msg = "missing", []any{"body"}, "is required"
		case p.Status == http.StatusBadRequest:
			e.Type, e.Loc = "json_invalid", []any{"body"}
			if i := strings.LastIndexByte(w.Message, ' '); i >= 0 {
				if at, err := strconv.Atoi(w.Message[i+1:]); err == nil {
					e.Loc = append(e.Loc, at)
				}
			}
		}
		all = append(all, e)
	}
	if len(all) == 0 {
		all = append(all, exampleError{Type: "value_error", Loc: []any{"body"}, Msg: p.Detail})
	}
	return all
}

// exampleLocation takes body.orders[3].price apart: body, orders, 3, price. The example's order_id is our id.
func exampleLocation(location string) []any {
	switch location {
	case "path.id":
		return []any{"path", "order_id"}
	case "body":
		return []any{"body"}
	}
	var loc []any
	for part := range strings.SplitSeq(location, ".") {
		name, rest, indexed := strings.Cut(part, "[")
		loc = append(loc, name)
		if i, err := strconv.Atoi(strings.TrimSuffix(rest, "]")); indexed && err == nil {
			loc = append(loc, i)
		}
	}
	return loc
}

// exampleTypes are pydantic's names of what is wrong, by how our messages begin.
var exampleTypes = []struct{ message, kind string }{
	{"is required", "missing"},
	{"must be an object, not null", "missing"},
	{"must be an object", "model_attributes_type"},
	{"must be an array", "list_type"},
	{"must be a string", "string_type"},
	{"must have at most", "string_too_long"},
	{"must be a whole number", "int_from_float"},
	{"must be a number: ", "parsing"},
	{"must be a number", "type"},
	{"must be a finite number", "finite_number"},
	{"must be at least", "greater_than_equal"},
	{"must not be negative", "greater_than_equal"},
	{"must be at most", "less_than_equal"},
	{"invalid integer", "int_parsing"},
	{"must not be empty: ", "int_parsing"},
}

func exampleType(w Wrong) string {
	for _, t := range exampleTypes {
		if !strings.HasPrefix(w.Message, t.message) {
			continue
		}
		if t.kind == "parsing" || t.kind == "type" {
			if strings.HasSuffix(w.Location, ".quantity") {
				return "int_" + t.kind
			}
			return "float_" + t.kind
		}
		return t.kind
	}
	return "value_error"
}
