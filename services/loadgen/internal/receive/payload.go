package receive

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"time"

	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/receive/memory"
)

// payload is a webhook's body: Standard Webhooks' envelope {type, timestamp, data}, with the order in it, or the order alone.
type payload struct {
	order
	Data json.RawMessage `json:"data"`
}

// order is one as a message has it, which calls its id order_id, or as the api shows it. Whoever sends it may write numbers in quotes.
type order struct {
	ID       int64       `json:"id"`
	OrderID  int64       `json:"order_id"`
	Customer string      `json:"customer_name"`
	Product  string      `json:"product_name"`
	Quantity json.Number `json:"quantity"`
	Price    json.Number `json:"price"`
	Created  string      `json:"created_at"`
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
		if key := cmp.Or(o.OrderID, o.ID); key != 0 {
			w.Order, w.Data = memory.Order{ID: key, Created: moment(o.Created)}, o.data()
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

// moment is a time in microseconds; without a zone it is UTC, as the Python example writes it. 0 when it is none.
func moment(text string) int64 {
	for _, layout := range [...]string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UnixMicro()
		}
	}
	return 0
}

// data stands for what an order is about. What is not shown is empty.
func (o *order) data() memory.Data {
	fields := [4]string{o.Customer, o.Product}
	for i, number := range []json.Number{o.Quantity, o.Price} {
		if f, err := number.Float64(); err == nil {
			fields[2+i] = memory.Number(f)
		}
	}
	return memory.DataOf(fields)
}

// shown is the order that the api shows, as it is remembered.
func shown(o *client.Order) (memory.Order, memory.Data) {
	return memory.Order{ID: o.ID, Created: o.CreatedAt.UnixMicro()},
		memory.DataOf([4]string{o.Customer, o.Product, memory.Number(float64(o.Quantity)), memory.Number(o.Price)})
}
