package consumer

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/trace"

	"orderflow.example/kit/tracing"
	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/message"
)

// Order is one attempt at an order. It belongs to the call of Handle that it is given to.
type Order struct {
	ID           int64
	CustomerName string
	ProductName  string
	Quantity     int64
	Price        json.Number // exact, such as 11.00
	CreatedAt    time.Time   // zero when its message does not say

	// Key names the order to other systems, as an idempotency key: it is the same for every attempt and every redrive, and no other order
	// ever has it, not after a restore or a failover and not in another installation.
	Key         string
	Attempt     int             // 1 is the first
	LastError   string          // of the attempt before, when that one failed
	Traceparent string          // W3C trace context of the request that created it, if there was one; one that is not sampled may have ids that mean nothing
	Body        json.RawMessage // as published; what is not in the fields above is here

	inAck pgx.Batch
	wrong error // with what was queued
}

// InAck queues a statement to be run in the transaction of the ack, if Handle returns nil: what it writes commits if and only if the
// message is gone and the order is completed. So it happens exactly once, whatever crashes in between; for an order that is completed
// already it does not happen again.
//
// The statements of an order run in the order in which they were queued, with those of other orders in the same transaction. An error fails
// the attempt of this order alone; for the SQLSTATEs that mean more than that see docs/handlers.md. The query that is returned takes a
// function that looks at the result (Exec, QueryRow, Query); an error of that function fails the attempt as well, [Permanent] and the
// others included. It may be called again when the transaction has to be tried again, on another goroutine and after Handle has
// returned. Statements that begin or end a transaction are refused.
func (o *Order) InAck(sql string, arguments ...any) *pgx.QueuedQuery {
	if err := effect.Allowed(sql); err != nil && o.wrong == nil {
		o.wrong = Permanent(err)
	}
	return o.inAck.Queue(sql, arguments...)
}

// adapter is a Handler of the public kind as the worker takes it.
type adapter struct{ handler Handler }

// Handle is for workers that take no work; there are none.
func (a adapter) Handle(ctx context.Context, m message.Message) error {
	_, err := a.HandleForAck(ctx, m)
	return err
}

// HandleForAck runs the handler and returns what it has queued.
func (a adapter) HandleForAck(ctx context.Context, m message.Message) (any, error) {
	o := read(&m)
	if from := tracing.Parse(m.Traceparent); from.IsValid() && !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, from) // so that what the handler calls goes on with the trace, or does not begin one
	}
	if err := a.handler.Handle(ctx, o); err != nil {
		return nil, err
	}
	if o.wrong != nil {
		return nil, o.wrong
	}
	if o.inAck.Len() == 0 {
		return nil, nil
	}
	return &o.inAck, nil
}

// Runner runs what was queued.
func (adapter) Runner() effect.Runner { return effect.Statements{} }

// read makes an order of a message, which has been checked: what is there has the right type.
func read(m *message.Message) *Order {
	o := &Order{
		ID: m.OrderID, Key: m.OrderKey(), Attempt: m.Attempt, LastError: m.LastError, Traceparent: m.Traceparent, Body: m.Body,
	}
	o.CreatedAt, _ = m.Created.Time()
	var fields map[string]json.RawMessage // and no struct, which would take "PRICE" for "price"
	_ = json.Unmarshal(m.Body, &fields)
	_ = json.Unmarshal(fields["customer_name"], &o.CustomerName)
	_ = json.Unmarshal(fields["product_name"], &o.ProductName)
	o.Quantity, _ = strconv.ParseInt(string(fields["quantity"]), 10, 64)
	o.Price = json.Number(fields["price"])
	return o
}
