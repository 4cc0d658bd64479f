package dashboard

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"orderflow.example/kit/tracing"
	"orderflow.example/services/api/internal/orders"
	"orderflow.example/services/api/internal/queue"
)

// The pages that look something up when they are asked for: dead letters, orders, an order's story.

// pageSize is how many rows a page has.
const pageSize = 50

func filterOf(get func(string) string) DeadLetterFilter {
	return DeadLetterFilter{Reason: limited(clean(get("reason"))), Text: limited(clean(get("text")))}
}

// limited is the beginning of what is searched for.
func limited(text string) string {
	if utf8.RuneCountInString(text) <= maxText {
		return text
	}
	return string([]rune(text)[:maxText])
}

// choice is which dead letters a filter means: those that died up to a certain one; 0: all.
func (f DeadLetterFilter) choice(upTo int64, limit int) queue.Choice {
	return queue.Choice{Reason: f.Reason, Text: f.Text, All: !f.Any(), UpTo: upTo, Limit: limit}
}

func (d *Dashboard) deadLetters(c *fiber.Ctx) error {
	filter := filterOf(func(name string) string { return strings.Clone(c.Query(name)) })
	after := strings.Clone(c.Query("cursor"))
	if state, _ := d.cfg.Monitor.State(); !state.Up {
		p := DeadLettersPage{Page: d.page(c, "Dead letters", "dead-letters"), Filter: filter}
		return render(c, http.StatusOK, "dead-letters.html", &p)
	}
	ctx, cancel := context.WithTimeout(c.UserContext(), d.cfg.Timeout)
	defer cancel()
	if err := d.showDeadLetters(ctx, c, filter, after, nil); err != nil {
		return d.failed(c, err)
	}
	return nil
}

// showDeadLetters is the page, with a plan when there is one.
func (d *Dashboard) showDeadLetters(ctx context.Context, c *fiber.Ctx, filter DeadLetterFilter, after string, plan *RedrivePlan) error {
	p := DeadLettersPage{Page: d.page(c, "Dead letters", "dead-letters"), Filter: filter, Plan: plan}
	found, err := d.cfg.Queue.DeadLetters(ctx, queue.LetterFilter{Reason: filter.Reason, Text: filter.Text}, pageSize, after)
	if err != nil {
		return err
	}
	p.Letters, p.Next = found.DeadLetters, found.Next
	// The page is as good without: counting has no index, and what others have put there may take long to look into.
	if reasons, err := d.cfg.Queue.Reasons(ctx); err == nil {
		p.Counted, p.Many = reasons.Counted, reasons.Many
		for _, r := range reasons.Reasons {
			p.Reasons = append(p.Reasons, ReasonCount(r))
		}
	}
	return render(c, http.StatusOK, "dead-letters.html", &p)
}

func (d *Dashboard) orders(c *fiber.Ctx) error {
	s := OrderSearch{Q: limited(clean(strings.Clone(c.Query("q")))), By: strings.Clone(c.Query("by")), Status: strings.Clone(c.Query("status"))}
	if s.By != "id" && s.By != "customer" && s.By != "key" {
		s.By = ""
	}
	if s.Status != orders.StatusPending && s.Status != orders.StatusCompleted && s.Status != orders.StatusDead {
		s.Status = ""
	}
	p := OrdersPage{Page: d.page(c, "Orders", "orders"), Search: s}
	if p.Away != nil {
		return render(c, http.StatusOK, "orders.html", &p)
	}
	ctx, cancel := context.WithTimeout(c.UserContext(), d.cfg.Timeout)
	defer cancel()
	id, err := d.search(ctx, &p, strings.Clone(c.Query("cursor")))
	switch {
	case err != nil:
		return d.failed(c, err)
	case id > 0:
		return redirect(c, root(c)+"ui/orders/"+strconv.FormatInt(id, 10))
	}
	return render(c, http.StatusOK, "orders.html", &p)
}

// search looks for the orders of a page. id is that of the one order that was meant.
func (d *Dashboard) search(ctx context.Context, p *OrdersPage, after string) (id int64, err error) {
	s := &p.Search
	if s.By == "id" || s.By == "" && s.Q != "" && after == "" {
		wanted, err := strconv.ParseInt(s.Q, 10, 64)
		if err == nil && wanted > 0 {
			if _, err = d.cfg.Store.Get(ctx, wanted); err == nil {
				return wanted, nil
			} else if !errors.Is(err, orders.ErrNotFound) {
				return 0, err
			}
		}
		if s.By == "id" {
			return 0, nil // there is none
		}
	}
	filters := []orders.Filter{{Status: s.Status}}
	if s.Q != "" {
		filters = nil
		if s.By != "key" {
			filters = append(filters, orders.Filter{Status: s.Status, CustomerName: s.Q})
		}
		if s.By != "customer" && orders.KeyLike(s.Q) {
			filters = append(filters, orders.Filter{Status: s.Status, KeyPrefix: s.Q})
		}
	}
	for i, filter := range filters {
		page, err := d.cfg.Store.List(ctx, filter, pageSize, after)
		if err != nil {
			if i+1 < len(filters) && after != "" {
				continue // it is the other list's cursor
			}
			return 0, err
		}
		if len(page.Orders) > 0 || page.Next != "" || i+1 == len(filters) {
			p.Orders, p.Next = page.Orders, page.Next
			return 0, nil
		}
	}
	return 0, nil
}

func (d *Dashboard) order(c *fiber.Ctx) error {
	id, err := strconv.ParseInt(c.Params("id"), 10, 64)
	if err != nil || id < 1 {
		return d.problem(c, http.StatusNotFound, "There is no such order.")
	}
	p := OrderPage{Page: d.page(c, "Order "+strconv.FormatInt(id, 10), "order")}
	if p.Away != nil {
		return d.problem(c, http.StatusServiceUnavailable, "The database cannot be used at the moment: "+p.Away.Reason+".")
	}
	ctx, cancel := context.WithTimeout(c.UserContext(), d.cfg.Timeout)
	defer cancel()
	if p.Order, err = d.cfg.Store.Get(ctx, id); err != nil {
		return d.failed(c, err)
	}
	story, err := d.cfg.History.Get(ctx, id)
	if err != nil {
		return d.failed(c, err)
	}
	p.Story = moments(&story, time.Now())
	if story.TraceID != nil {
		p.TraceID, p.TraceURL = *story.TraceID, tracing.Link(d.cfg.TraceURL, *story.TraceID)
	}
	if p.Order.Status == orders.StatusDead {
		page, err := d.cfg.Queue.DeadLetters(ctx, queue.LetterFilter{Order: id}, 1, "")
		if err == nil && len(page.DeadLetters) > 0 {
			p.DeadLetter = &page.DeadLetters[0].MsgID
		}
	}
	return render(c, http.StatusOK, "order.html", &p)
}
