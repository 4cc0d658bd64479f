package dashboard

import (
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v2"

	"orderflow.example/services/api/internal/isotime"
)

// Owns tells whether a path is one of the dashboard's, which asks for sessions by itself.
func Owns(path string) bool {
	return path == "/" || path == "/events" || strings.HasPrefix(path, "/ui/")
}

// Routes registers the pages, the stream and the forms.
func (d *Dashboard) Routes(app fiber.Router, host Host) {
	d.host = host
	app.Get("/ui/static/:name", d.static)
	app.Get("/ui/sign-in", d.signIn)
	app.Post("/ui/sign-in", d.begin)
	app.Post("/ui/sign-out", d.end)

	app.Get("/", d.forReaders, d.overview)
	app.Get("/events", d.forReaders, d.stream)
	app.Get("/ui/orders", d.forReaders, d.orders)
	app.Get("/ui/orders/:id", d.forReaders, d.order)
	app.Get("/ui/dead-letters", d.forReaders, d.deadLetters)

	app.Post("/ui/pause", d.forAdmins, d.pause)
	app.Post("/ui/resume", d.forAdmins, d.resume)
	app.Post("/ui/dead-letters/redrive", d.forAdmins, d.redrive)
	app.Post("/ui/dead-letters/:id/redrive", d.forAdmins, d.redriveOne)
	app.Post("/ui/dead-letters/:id/delete", d.forAdmins, d.deleteOne)
	// What somebody reloads whose form's answer was a page.
	app.Get("/ui/dead-letters/redrive", func(c *fiber.Ctx) error { return redirect(c, root(c)+"ui/dead-letters") })
	app.Use("/ui", func(c *fiber.Ctx) error {
		c.Locals(sessionKey, d.session(c))
		return d.problem(c, http.StatusNotFound, "There is nothing at this address.")
	})
}

// page is what all pages have. here is one of Page.Here.
func (d *Dashboard) page(c *fiber.Ctx, title, here string) Page {
	p := Page{
		Title: title, Here: here, Root: root(c), Queue: d.cfg.Queue.Name(), Version: d.cfg.Version, Access: d.access(c), Done: doneWords(c),
	}
	if state, _ := d.cfg.Monitor.State(); !state.Up {
		p.Away = &Away{Reason: state.Reason, Since: isotime.Time{Time: state.Since}}
	}
	return p
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
	v := d.feed.join(c.Context().Conn().(conn))
	if v == nil {
		c.Set(fiber.HeaderRetryAfter, "5")
		return fiber.NewError(http.StatusServiceUnavailable, "there are as many viewers as there may be: try again in a moment")
	}
	c.Response().Header.SetConnectionClose()
	c.Response().SetBodyStream(v, -1)
	return nil
}
