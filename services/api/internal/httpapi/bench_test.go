package httpapi

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/valyala/fasthttp"

	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/orders"
)

// instant is a writer that has written already, so that what is measured is the way through HTTP and nothing else.
type instant struct{}

func (instant) NotReady() string { return "" }
func (instant) Write(req orders.Request) (orders.Result, error) {
	out := make([]orders.Order, len(req.Orders))
	for i, o := range req.Orders {
		out[i] = orders.Order{ID: 1, Draft: o, MessageID: 1, Status: orders.StatusPending}
	}
	return orders.Result{Orders: out}, nil
}

type alwaysUp struct{}

func (alwaysUp) Up() bool { return true }
func (alwaysUp) LookNow() {}
func (alwaysUp) State() (database.State, <-chan struct{}) {
	return database.State{Up: true}, nil
}

// BenchmarkCreateOrder compares the route as it is with the same call by way of huma: the price of reading a body by
// reflection, and the reason why POST /orders does without.
func BenchmarkCreateOrder(b *testing.B) {
	run := func(b *testing.B, s *Server, path string) {
		b.Helper()
		handler := s.app.Handler()
		conn, other := net.Pipe()
		defer func() { _, _ = conn.Close(), other.Close() }()
		var ctx fasthttp.RequestCtx
		ctx.Init2(conn, nil, false) // huma sets deadlines on it
		b.ReportAllocs()
		for b.Loop() {
			ctx.Request.Reset()
			ctx.Response.Reset()
			ctx.Request.Header.SetMethod(http.MethodPost)
			ctx.Request.SetRequestURI(path)
			ctx.Request.Header.SetContentType("application/json")
			ctx.Request.Header.Set(keyHeader, "bench-1")
			ctx.Request.SetBodyString(`{"customer_name":"Customer 1","product_name":"Product 1","quantity":2,"price":11.0}`)
			handler(&ctx)
			if ctx.Response.StatusCode() != http.StatusCreated {
				b.Fatalf("%d %s", ctx.Response.StatusCode(), ctx.Response.Body())
			}
		}
	}
	b.Run("direct", func(b *testing.B) { run(b, newServer(), "/orders") })
	b.Run("huma", func(b *testing.B) {
		s := newServer()
		type input struct {
			Key  string `header:"Idempotency-Key" maxLength:"200" pattern:"^[!-~]{1,200}$"`
			Body NewOrder
		}
		type output struct {
			Location string `header:"Location"`
			Body     *orders.Order
		}
		huma.Register(s.api, huma.Operation{
			OperationID: "bench", Method: http.MethodPost, Path: "/bench", DefaultStatus: http.StatusCreated,
		}, func(_ context.Context, in *input) (*output, error) {
			result, err := s.cfg.Writer.Write(orders.Request{Key: in.Key, Orders: []orders.Draft{{
				CustomerName: in.Body.CustomerName, ProductName: in.Body.ProductName, Quantity: in.Body.Quantity, Price: orders.Cents(in.Body.Price * 100),
			}}})
			if err != nil {
				return nil, err
			}
			return &output{"/orders/1", &result.Orders[0]}, nil
		})
		run(b, s, "/bench")
	})
}
