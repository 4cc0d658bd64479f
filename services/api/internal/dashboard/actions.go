package dashboard

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/queue"
)

// What the dashboard's forms do. Each ends with a redirect to a page, so that loading that again does nothing again; what has been done is
// told there in words, which the link names and does not contain.

// longTimeout is how long a redrive may take, as by the API's call.
const longTimeout = time.Minute

// mostRedriven is how many dead letters one form moves.
const mostRedriven = 10_000

// maxText is how many characters a reason, or what is searched for, may have.
const maxText = 200

// done are the words for what an action has done.
var done = map[string]func(n int64) string{
	"paused": func(int64) string {
		return "The queue is paused. What consumers work on they finish; nothing else is begun."
	},
	"resumed":  func(int64) string { return "The pause is over." },
	"redriven": func(n int64) string { return plural(n, "dead letter is", "dead letters are") + " back in the queue." },
	"kept": func(n int64) string {
		return plural(n, "dead letter is", "dead letters are") + " back in the queue. " +
			"Others were left: their orders are not dead, or they take longer than one call may. Do it again to go on."
	},
	"broken-off": func(n int64) string {
		return plural(n, "dead letter is", "dead letters are") + " back in the queue. " +
			"Then it failed, and what was under way may be back as well. Do it again to go on."
	},
	"deleted": func(int64) string { return "The dead letter is deleted. Its order stays dead." },
}

// doneWords are those that a page's address names.
func doneWords(c *fiber.Ctx) string {
	words, ok := done[c.Query("done")]
	if !ok {
		return ""
	}
	n, _ := strconv.ParseInt(c.Query("n"), 10, 64) // what is none is 0
	return words(max(0, n))
}

// tell goes to a page that tells what was done.
func tell(c *fiber.Ctx, page, what string, n int) error {
	return redirect(c, root(c)+page+"?done="+what+"&n="+strconv.Itoa(n))
}

func (d *Dashboard) pause(c *fiber.Ctx) error {
	reason := clean(form(c).Get("reason"))
	if utf8.RuneCountInString(reason) > maxText {
		return d.problem(c, http.StatusUnprocessableEntity, "The reason must have at most 200 characters.")
	}
	return d.change(c, d.cfg.Timeout, func(ctx context.Context) error {
		consuming, err := d.cfg.Queue.Pause(ctx, reason)
		if err != nil {
			return err
		}
		d.cfg.Log.InfoContext(ctx, "pause asked for", "state", consuming.State, "by", consuming.By, "reason", consuming.Reason)
		d.looker.forget()
		return tell(c, "", "paused", 0)
	})
}

func (d *Dashboard) resume(c *fiber.Ctx) error {
	return d.change(c, d.cfg.Timeout, func(ctx context.Context) error {
		consuming, err := d.cfg.Queue.Resume(ctx)
		if err != nil {
			return err
		}
		d.cfg.Log.InfoContext(ctx, "resume asked for", "state", consuming.State)
		d.looker.forget()
		return tell(c, "", "resumed", 0)
	})
}

// redrive is POST /ui/dead-letters/redrive: a dry run, or what a dry run has shown.
func (d *Dashboard) redrive(c *fiber.Ctx) error {
	given := form(c)
	filter := filterOf(given.Get)
	upTo, _ := strconv.ParseInt(given.Get("up_to"), 10, 64) // what is none is 0
	if given.Get("confirm") != "yes" || upTo <= 0 {
		return d.dryRun(c, filter)
	}
	return d.change(c, longTimeout, func(ctx context.Context) error {
		chosen, err := d.cfg.Queue.Choose(ctx, filter.choice(upTo, mostRedriven))
		if err != nil {
			return d.failed(c, err)
		}
		progress, err := queue.RedriveAll(queue.Batches(chosen), d.draining.Load, func(batch []int64) ([]queue.Redriven, error) {
			return d.cfg.Queue.Redrive(ctx, batch, operator(given.Get))
		})
		if err != nil && progress.Tried == 0 {
			return err
		}
		d.cfg.Log.InfoContext(ctx, "dead letters redriven", "matched", len(chosen), "redriven", len(progress.Moved), "untried", len(chosen)-progress.Tried, "error", err)
		what := "redriven"
		switch {
		case err != nil:
			what = "broken-off"
		case len(progress.Moved) < len(chosen):
			what = "kept"
		}
		return tell(c, "ui/dead-letters", what, len(progress.Moved))
	})
}

// operator is who sends a form: its session is an admin's.
func operator(field func(string) string) queue.Operator {
	note := []rune(clean(field("note")))
	return queue.Operator{By: "dashboard, admin token", Note: string(note[:min(len(note), maxText)])}
}

// dryRun shows the page of dead letters with how many a redrive would move.
func (d *Dashboard) dryRun(c *fiber.Ctx, filter DeadLetterFilter) error {
	return d.change(c, longTimeout, func(ctx context.Context) error {
		chosen, err := d.cfg.Queue.Choose(ctx, filter.choice(0, mostRedriven+1))
		if err != nil {
			return d.failed(c, err)
		}
		plan := &RedrivePlan{Matched: len(chosen)}
		if plan.Most = len(chosen) > mostRedriven; plan.Most {
			plan.Matched = mostRedriven
		}
		if plan.Matched > 0 {
			plan.UpTo = chosen[plan.Matched-1].MsgID
		}
		if err := d.showDeadLetters(ctx, c, filter, "", plan); err != nil {
			return d.failed(c, err)
		}
		return nil
	})
}

func (d *Dashboard) redriveOne(c *fiber.Ctx) error {
	return d.changeOne(c, func(ctx context.Context, id int64) error {
		redriven, err := d.cfg.Queue.RedriveOne(ctx, id, operator(form(c).Get))
		if err != nil {
			return err
		}
		d.cfg.Log.InfoContext(ctx, "dead letter redriven", "dead_msg_id", redriven.MsgID, "msg_id", redriven.NewMsgID, "order_id", redriven.OrderID)
		return tell(c, "ui/dead-letters", "redriven", 1)
	})
}

func (d *Dashboard) deleteOne(c *fiber.Ctx) error {
	return d.changeOne(c, func(ctx context.Context, id int64) error {
		if err := d.cfg.Queue.Delete(ctx, id, operator(form(c).Get)); err != nil {
			return err
		}
		d.cfg.Log.InfoContext(ctx, "dead letter deleted", "dead_msg_id", id)
		return tell(c, "ui/dead-letters", "deleted", 1)
	})
}

func (d *Dashboard) changeOne(c *fiber.Ctx, act func(context.Context, int64) error) error {
	id, err := strconv.ParseInt(c.Params("id"), 10, 64)
	if err != nil || id < 1 {
		return d.problem(c, http.StatusNotFound, "There is no such dead letter.")
	}
	return d.change(c, longTimeout, func(ctx context.Context) error { return act(ctx, id) })
}

// change does something within its time, unless the database is known to be away; an error becomes a page.
func (d *Dashboard) change(c *fiber.Ctx, limit time.Duration, act func(context.Context) error) error {
	if state, _ := d.cfg.Monitor.State(); !state.Up {
		return d.problem(c, http.StatusServiceUnavailable, "The database cannot be used at the moment: "+state.Reason+". Nothing was changed.")
	}
	ctx, cancel := context.WithTimeout(c.UserContext(), limit)
	defer cancel()
	if err := act(ctx); err != nil {
		return d.unchanged(c, err)
	}
	return nil
}

// unchanged answers with what an error means, and with what became of what was asked for.
func (d *Dashboard) unchanged(c *fiber.Ctx, err error) error {
	status, detail := d.host.Explain(c, err)
	switch {
	case database.Classify(err) == database.Lost:
		detail += ". What you asked for may have been done: look before you ask for it again."
	case status == http.StatusServiceUnavailable:
		detail += ". Nothing was changed."
	}
	return d.problem(c, status, detail)
}

// clean is a text that PostgreSQL can hold.
func clean(text string) string {
	return strings.TrimSpace(strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd"))
}
