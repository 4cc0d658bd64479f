// Command shipments is a consumer with a handler of its own, in Go. Every order becomes a row of shop.shipments, in the transaction that
// completes the order. Orders of too many pieces become dead letters.
package main

import (
	"context"
	"errors"

	"orderflow.example/services/consumer/consumer"
)

func main() { consumer.Main(consumer.HandlerFunc(ship)) }

func ship(_ context.Context, o *consumer.Order) error {
	if o.Quantity > 1000 {
		return consumer.Permanent(errors.New("too many for one shipment"))
	}
	o.InAck(`insert into shop.shipments (order_id, product, quantity) values ($1, $2, $3)`, o.ID, o.ProductName, o.Quantity)
	return nil
}
