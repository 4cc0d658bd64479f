package dashboard

import (
	"net/http"
	"strconv"

	"github.com/gofiber/fiber/v2"
)

// problem answers with a page that says what is wrong.
func (d *Dashboard) problem(c *fiber.Ctx, status int, detail string) error {
	p := ProblemPage{Page: d.page(c, http.StatusText(status), "problem"), Status: status, Detail: detail, TraceID: d.host.TraceID(c)}
	if status == http.StatusServiceUnavailable {
		c.Set(fiber.HeaderRetryAfter, "1")
	}
	return render(c, status, "problem.html", &p)
}

// failed answers with what an error means, as the API's calls would say it.
func (d *Dashboard) failed(c *fiber.Ctx, err error) error {
	status, detail := d.host.Explain(c, err)
	return d.problem(c, status, detail)
}

// root leads from a request's page to the dashboard's root.
func root(c *fiber.Ctx) string {
	up := "./"
	for i := 1; i < len(c.Path()); i++ {
		if c.Path()[i] == '/' {
			up += "../"
		}
	}
	return up
}

// redirect goes to another page, which is then got.
func redirect(c *fiber.Ctx, to string) error {
	guard(c)
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Redirect(to, http.StatusSeeOther)
}

func itoa(n int) string { return strconv.Itoa(n) }
