package httpapi

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"orderflow.example/services/api/internal/metrics"
	"orderflow.example/services/api/internal/orders"
)

// failing is a writer that cannot write.
type failing struct{ err error }

func (failing) NotReady() string                              { return "" }
func (f failing) Write(orders.Request) (orders.Result, error) { return orders.Result{}, f.err }

// Whoever is not answered 201 is told whether something may have been written, and what to do then.
func TestA503SaysWhetherSomethingMayHaveBeenWritten(t *testing.T) {
	t.Parallel()
	doubt := fmt.Errorf("%w: no standby", orders.ErrUnknownOutcome)
	for _, test := range []struct {
		err       error
		key, want string
	}{
		{fmt.Errorf("%w: database is away", orders.ErrUnavailable), "", "nothing was written: database is away"},
		{orders.ErrUnavailable, "", "nothing was written: the database is not available"},
		{orders.ErrOverloaded, "k", "nothing was written: too many orders are waiting to be written"},
		{doubt, "k", "it is not known whether the order was written: no standby: send it again with the same Idempotency-Key"},
		{doubt, "", "it is not known whether the order was written: no standby: look for it (GET /orders) before sending it again"},
	} {
		s := New(Config{
			Writer: failing{test.err}, Monitor: alwaysUp{}, Observer: metrics.New("test"), Log: slog.New(slog.DiscardHandler),
			RequestTimeout: time.Second, BodyLimit: 1 << 20,
		})
		conn, other := net.Pipe()
		var ctx fasthttp.RequestCtx
		ctx.Init2(conn, nil, false)
		ctx.Request.Header.SetMethod(http.MethodPost)
		ctx.Request.SetRequestURI("/orders")
		ctx.Request.Header.SetContentType("application/json")
		if test.key != "" {
			ctx.Request.Header.Set(keyHeader, test.key)
		}
		ctx.Request.SetBodyString(`{"customer_name":"Customer 1","product_name":"Product 1","quantity":2,"price":11.0}`)
		s.app.Handler()(&ctx)
		var p Problem
		if err := json.Unmarshal(ctx.Response.Body(), &p); err != nil || ctx.Response.StatusCode() != http.StatusServiceUnavailable || p.Detail != test.want {
			t.Errorf("%v: %d %s", test.err, ctx.Response.StatusCode(), ctx.Response.Body())
		}
		_, _ = conn.Close(), other.Close()
	}
}
