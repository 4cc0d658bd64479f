package dashboard

import (
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// Owns tells whether a path is one of the dashboard's, which asks for sessions by itself.
func Owns(path string) bool {
	return path == "/" || path == "/events" || strings.HasPrefix(path, "/ui/")
}

// Routes registers the pages and the stream.
func (d *Dashboard) Routes(app fiber.Router) {
	app.Get("/", d.overview)
	app.Get("/events", d.stream)
	app.Get("/ui/static/:name", d.static)
}

// page is what all pages have. here is one of Page.Here.
func (d *Dashboard) page(c *fiber.Ctx, title, here string) Page {
	return Page{
		Title: title, Here: here, Queue: d.cfg.Queue.Name(), Version: d.cfg.Version,
		Root: "./" + strings.Repeat("../", strings.Count(c.Path(), "/")-1),
	}
}

func (d *Dashboard) overview(c *fiber.Ctx) error {
	p := OverviewPage{Page: d.page(c, "Overview", "overview")}
	seen := d.look(c.UserContext())
	p.Snapshot, p.Series, p.Away = seen.snapshot, seen.series, seen.away
	return render(c, http.StatusOK, "overview.html", &p)
}

// stream is GET /events.
func (d *Dashboard) stream(c *fiber.Ctx) error {
	guard(c)
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set("X-Accel-Buffering", "no") // nginx would gather what is sent
	c.Response().Header.SetContentType("text/event-stream")
	if c.Method() == fiber.MethodHead {
		return nil
	}
	v := d.feed.join(c.Context().Conn())
	if v == nil {
		c.Set(fiber.HeaderRetryAfter, "5")
		return fiber.NewError(http.StatusServiceUnavailable, "there are as many viewers as there may be: try again in a moment")
	}
	c.Response().Header.SetConnectionClose()
	c.Response().SetBodyStream(v, -1)
	return nil
}
