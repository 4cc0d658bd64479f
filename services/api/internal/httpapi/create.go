package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"orderflow.example/services/api/internal/http1"
	"orderflow.example/services/api/internal/orders"
)

// The two calls that write orders do without huma: they are what the service is measured by, and reading the body by
// reflection costs several times what strict reading by hand does (BenchmarkCreateOrder). They stand in the OpenAPI
// document all the same; see describeCreating.
func (s *Server) creating() {
	s.app.Post("/orders", s.createOrder)
	s.app.Post(batchPath, s.createBatch)
}

const (
	batchPath      = "/orders/batch"
	keyHeader      = "Idempotency-Key"
	replayedHeader = "Idempotency-Replayed"
	maxKey         = 200
	orderAnswer    = 512 // bytes that an order's answer has besides what its request had
)

func (s *Server) createOrder(c *fiber.Ctx) error {
	key, err := checkHeaders(c)
	if err != nil {
		return err
	}
	order, notes, err := s.cfg.Input.Decode(c.Request().Body())
	if err != nil {
		return err
	}
	result, err := s.write(c, orders.Request{Orders: []orders.Draft{order}, Key: key})
	if err != nil {
		return err
	}
	o := &result.Orders[0]
	c.Response().Header.Set(fiber.HeaderLocation, "/orders/"+strconv.FormatInt(o.ID, 10))
	s.answerCreated(c, result, notes, o.AppendJSON(make([]byte, 0, 448)))
	return nil
}

func (s *Server) createBatch(c *fiber.Ctx) error {
	key, err := checkHeaders(c)
	if err != nil {
		return err
	}
	batch, notes, err := s.cfg.Input.DecodeBatch(c.Request().Body())
	if err != nil {
		return err
	}
	// Room for the answer is made first: what has been written has to be told.
	if conn, ok := c.Context().Conn().(*http1.Conn); ok && !conn.Reserve(orderAnswer*len(batch)+len(c.Request().Body())) {
		return unavailable("nothing was written: too many large answers are under way")
	}
	result, err := s.write(c, orders.Request{Orders: batch, Key: key, Batch: true})
	if err != nil {
		return err
	}
	body := append(make([]byte, 0, orderAnswer*len(result.Orders)), `{"orders":[`...)
	for i := range result.Orders {
		if i > 0 {
			body = append(body, ',')
		}
		body = result.Orders[i].AppendJSON(body)
	}
	s.answerCreated(c, result, notes, append(body, "]}"...))
	return nil
}

// write has the writer write a request's orders.
func (s *Server) write(c *fiber.Ctx, request orders.Request) (orders.Result, error) {
	s.traceOrders(s.traceOf(c), &request)
	result, err := s.cfg.Writer.Write(request)
	endOrders(request.Span, &result, err)
	if request.Key == "" && errors.Is(err, orders.ErrUnknownOutcome) {
		return result, unavailable(err.Error() + ": look for it (GET /orders) before sending it again")
	}
	if err == nil && s.cfg.Log.Enabled(c.UserContext(), s.level(c)) {
		c.Locals(createdKey, created{result.Orders[0].ID, result.Orders[0].MessageID})
	}
	return result, err
}

// answerCreated answers with an object. The notes, which say what was rounded (INPUT=example), become its last member: warnings.
func (s *Server) answerCreated(c *fiber.Ctx, result orders.Result, notes []string, body []byte) {
	if len(notes) > 0 {
		if warnings, err := json.Marshal(notes); err == nil {
			body = append(append(append(body[:len(body)-1], `,"warnings":`...), warnings...), '}')
		}
	}
	if result.Replayed {
		c.Response().Header.Set(replayedHeader, "true")
	}
	c.Status(http.StatusCreated)
	c.Response().Header.SetContentType(fiber.MIMEApplicationJSON)
	c.Response().SetBodyRaw(body)
}

// checkHeaders refuses parameters and bodies that are not plain JSON, and returns the idempotency key, copied.
func checkHeaders(c *fiber.Ctx) (key string, err error) {
	if err := noQuery(c); err != nil {
		return "", err
	}
	if err := checkBody(c); err != nil {
		return "", err
	}
	given := c.Request().Header.PeekAll(keyHeader)
	if len(given) == 0 {
		return "", nil
	}
	key = string(given[0])
	message := ""
	switch {
	case len(given) > 1:
		message = "must be given once" // which of two counts differs between programs
	case key == "", len(key) > maxKey:
		// An empty one is a key that the client meant to have: without it the retry would not be safe.
		message = "must have 1 to " + strconv.Itoa(maxKey) + " characters"
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			message = "must consist of visible ASCII characters"
		}
	}
	if message != "" {
		return "", unprocessable(Wrong{Location: "header." + keyHeader, Message: message})
	}
	return key, nil
}

// checkBody refuses what is not said to be JSON. That is more than a formality: a foreign web page can make a visitor's browser
// send forms, plain text and bodies without a type to any address without asking, but not JSON.
func checkBody(c *fiber.Ctx) error {
	if isJSON(c.Request().Header.ContentType()) {
		return nil
	}
	return problem(http.StatusUnsupportedMediaType, "the body must be JSON", Wrong{
		Location: "header.Content-Type", Message: "must be application/json, or another application type that ends in +json",
	})
}

// isJSON tells whether a media type is JSON, or by its suffix (RFC 6839) written in it.
func isJSON(mediaType []byte) bool {
	if string(mediaType) == fiber.MIMEApplicationJSON {
		return true
	}
	kind, _, _ := bytes.Cut(mediaType, []byte(";"))
	major, minor, _ := strings.Cut(strings.ToLower(string(bytes.TrimSpace(kind))), "/")
	if major != "application" || strings.ContainsAny(minor, " \t,") {
		return false
	}
	suffixed, found := strings.CutSuffix(minor, "+json")
	return minor == "json" || found && suffixed != ""
}
