package receive

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"

	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/receive/memory"
)

// payload is a webhook's body: Standard Webhooks' envelope {type, timestamp, data}, with the order in it, or the order alone.
type payload struct {
	order
	Data json.RawMessage `json:"data"`
}

// order is one as a message has it, which calls its id order_id, or as the api shows it.
type order struct {
	client.Order
	OrderID int64 `json:"order_id"`
}

// read finds out which order a webhook is about, and with which data. Of any other payload it keeps what tells it from others.
func read(id string, body []byte) memory.Webhook {
	w := memory.Webhook{ID: id}
	var p payload
	if known(json.Unmarshal(body, &p)) {
		o := p.order
		if bytes.HasPrefix(bytes.TrimSpace(p.Data), []byte("{")) {
			o = order{}
			if !known(json.Unmarshal(p.Data, &o)) {
				o = order{}
			}
		}
		if o.OrderID == 0 {
			o.OrderID = int64(o.ID)
		}
		if o.OrderID != 0 {
			w.Order, w.Data = memory.Order{ID: o.OrderID, Created: created(&o.Order)}, data(&o.Order)
			return w
		}
	}
	sum := sha256.Sum256(body)
	copy(w.Data[:], sum[:])
	return w
}

// known says whether there is something to go by: a field of another type leaves the others as they are.
func known(err error) bool {
	var odd *json.UnmarshalTypeError
	return err == nil || errors.As(err, &odd) && odd.Field != ""
}

// created is when an order was created, in microseconds; 0 when it does not say.
func created(o *client.Order) int64 {
	if o.CreatedAt.IsZero() {
		return 0
	}
	return o.CreatedAt.UnixMicro()
}

// data stands for what an order is about. What is not shown is empty.
func data(o *client.Order) memory.Data {
	fields := [4]string{o.CustomerName, o.ProductName}
	if o.Quantity != nil {
		fields[2] = memory.Number(float64(*o.Quantity))
	}
	if o.Price != nil {
		fields[3] = memory.Number(float64(*o.Price))
	}
	return memory.DataOf(fields)
}
