package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"orderflow.example/services/api/internal/history"
	"orderflow.example/services/api/internal/orders"
	"orderflow.example/services/api/internal/queue"
)

type getOrderInput struct {
	ID int64 `path:"id" minimum:"1" example:"111"`
}

type historyOutput struct {
	Body history.History
}

type orderOutput struct {
	Body *orders.Order
}

type listOrdersInput struct {
	Status       string `query:"status" enum:"pending,completed,dead" doc:"only orders in this state"`
	CustomerName string `query:"customer_name" maxLength:"2600" doc:"only orders of this customer"`
	KeyPrefix    string `query:"idempotency_key_prefix" maxLength:"210" doc:"only orders whose idempotency key begins so, in the order of the keys"`
	Limit        int    `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"orders in a page, at most"`
	Cursor       string `query:"cursor" maxLength:"1024" doc:"next_cursor of the page before"`
}

type listOrdersOutput struct {
	Body struct {
		Orders     []orders.Order `json:"orders" nullable:"false" doc:"may be fewer than limit, even none, on a page that is not the last"`
		NextCursor *string        `json:"next_cursor" doc:"null on the last page"`
	}
}

// reading are the calls that find orders again.
func (s *Server) reading() {
	register(s, huma.Operation{
		OperationID: "get-order", Method: http.MethodGet, Path: "/orders/{id}", Tags: []string{"orders"},
		Summary: "One order", Errors: []int{http.StatusNotFound, http.StatusUnprocessableEntity},
	}, func(ctx context.Context, in *getOrderInput) (*orderOutput, error) {
		order, err := s.cfg.Store.Get(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		return &orderOutput{&order}, nil
	})

	register(s, huma.Operation{
		OperationID: "get-order-history", Method: http.MethodGet, Path: "/orders/{id}/history", Tags: []string{"orders"},
		Summary: "One order's story",
		Description: "What happened to the order, from its acceptance to its end: each attempt with how long it waited and worked, hand-backs, " +
			"lost leases, redrives. Of an order that does not come to an end the first 20 events and the last 20 are kept.",
		Errors: []int{http.StatusNotFound, http.StatusUnprocessableEntity},
	}, func(ctx context.Context, in *getOrderInput) (*historyOutput, error) {
		story, err := s.cfg.History.Get(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		return &historyOutput{story}, nil
	})

	register(s, huma.Operation{
		OperationID: "list-orders", Method: http.MethodGet, Path: "/orders", Tags: []string{"orders"},
		Summary:     "Orders, newest first",
		Description: "Pages by key: a page costs the same wherever it is, and what is added meanwhile neither repeats nor hides an order.",
		Errors:      []int{http.StatusUnprocessableEntity},
	}, func(ctx context.Context, in *listOrdersInput) (*listOrdersOutput, error) {
		if !orders.KeyLike(in.KeyPrefix) {
			return nil, unprocessable(Wrong{Location: "query.idempotency_key_prefix", Message: "must consist of characters that keys can have"})
		}
		filter := orders.Filter{Status: in.Status, CustomerName: in.CustomerName, KeyPrefix: in.KeyPrefix}
		page, err := s.cfg.Store.List(ctx, filter, in.Limit, in.Cursor)
		if err != nil {
			return nil, err
		}
		out := &listOrdersOutput{}
		out.Body.Orders = page.Orders
		if out.Body.Orders == nil {
			out.Body.Orders = []orders.Order{}
		}
		out.Body.NextCursor = optional(page.Next)
		return out, nil
	})
}

type peekInput struct {
	Limit int `query:"limit" minimum:"1" maximum:"1000" default:"10"` // maxPeek
}

const maxPeek = 1000

type peekOutput struct {
	Body struct {
		Messages []queue.Message `json:"messages" nullable:"false"`
	}
}

type queueOutput struct {
	Body queue.Snapshot
}

// messages are the calls that look at the queue.
func (s *Server) messages() {
	if s.cfg.Input.Example {
		s.app.Get("/messages", func(c *fiber.Ctx) error {
			if c.Query("limit") != "0" {
				return c.Next()
			}
			return c.JSON(map[string][]queue.Message{"messages": {}})
		})
	}
	register(s, huma.Operation{
		OperationID: "peek-messages", Method: http.MethodGet, Path: "/messages", Tags: []string{"queue"},
		Summary: "What is in the queue, oldest first, without hiding it from consumers",
		Errors:  []int{http.StatusUnprocessableEntity},
	}, func(ctx context.Context, in *peekInput) (*peekOutput, error) {
		messages, err := s.cfg.Queue.Peek(ctx, in.Limit)
		if err != nil {
			return nil, err
		}
		out := &peekOutput{}
		out.Body.Messages = messages
		return out, nil
	})

	register(s, huma.Operation{
		OperationID: "get-queue", Method: http.MethodGet, Path: "/queue", Tags: []string{"queue"},
		Summary: "How the queue is doing", Errors: []int{http.StatusUnprocessableEntity},
	}, func(ctx context.Context, _ *struct{}) (*queueOutput, error) {
		snapshot, err := s.cfg.Watcher.Get(ctx)
		if err != nil {
			return nil, err
		}
		return &queueOutput{snapshot}, nil
	})
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
