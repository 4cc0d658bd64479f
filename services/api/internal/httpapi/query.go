package httpapi

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"
)

// strictQuery lets a request pass whose query says one thing: huma takes a parameter without a value for one that is not
// there, the first of two for both, and what is not well encoded as it is.
func (s *Server) strictQuery(ctx huma.Context, next func(huma.Context)) {
	c := humafiber.Unwrap(ctx)
	if _, err := readQuery(c); err != nil {
		_ = s.answerError(c, err) // only what has no JSON fails
		return
	}
	next(ctx)
}

// noQuery refuses any parameter, for a call that has none.
func noQuery(c *fiber.Ctx) error {
	given, err := readQuery(c)
	if err != nil {
		return err
	}
	if len(given) == 0 {
		return nil
	}
	var all []Wrong
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if len(all) < maxNamed {
			all = append(all, Wrong{Location: "query." + brief(name), Message: "unknown query parameter"})
		}
	}
	return unprocessable(all...)
}

// maxNamed bounds how many parameters an answer names.
const maxNamed = 20

// readQuery reads the query as RFC 3986 and HTML's forms have it, each parameter with one value that PostgreSQL can hold.
func readQuery(c *fiber.Ctx) (url.Values, *Problem) {
	raw := c.Request().URI().QueryString()
	if len(raw) == 0 {
		return nil, nil
	}
	given, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, unprocessable(Wrong{Location: "query", Message: "must be parameters, percent-encoded and separated by &"})
	}
	var all []Wrong
	for _, name := range slices.Sorted(maps.Keys(given)) {
		message := ""
		switch values := given[name]; {
		case len(values) > 1:
			message = "must be given once"
		case values[0] == "":
			message = "must not be empty: leave it out"
		case !utf8.ValidString(name), !utf8.ValidString(values[0]), strings.Contains(values[0], "\x00"):
			message = "must be UTF-8 without NUL characters"
		}
		if message != "" && len(all) < maxNamed {
			all = append(all, Wrong{Location: "query." + brief(name), Message: message})
		}
	}
	if len(all) > 0 {
		return nil, unprocessable(all...)
	}
	return given, nil
}

// brief is a name that a client made up, fit for an answer.
func brief(name string) string {
	const most = 64
	if len(name) > most {
		name = name[:most] + "…"
	}
	return strings.ToValidUTF8(name, "\ufffd")
}
