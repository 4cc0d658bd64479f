package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// Order is what the audit reads of an order. Fields that a server does not show stay nil or zero.
type Order struct {
	ID           whole    `json:"id"`
	CustomerName string   `json:"customer_name"`
	ProductName  string   `json:"product_name"`
	Quantity     *decimal `json:"quantity"`
	Price        *decimal `json:"price"`
	Status       string   `json:"status"`
	Attempts     whole    `json:"attempts"`
	Effects      *int     `json:"effects"`
	Key          *string  `json:"idempotency_key"`
	LastError    string   `json:"last_error"`
	CreatedAt    moment   `json:"created_at"`
	CompletedAt  moment   `json:"completed_at"`
}

// Page is one page of a listing; Next is empty at its end.
type Page struct {
	Orders []Order
	Next   string
}

// ParsePage reads a page in the shapes that listings come in: {"orders": […], "next_cursor": …} or other names for the two, or a bare array.
func ParsePage(path string, body []byte) (Page, error) {
	var known struct {
		Orders []Order `json:"orders"`
		Next   label   `json:"next_cursor"`
	}
	if err := unmarshal(body, &known); err == nil && known.Orders != nil {
		return Page{Orders: known.Orders, Next: string(known.Next)}, nil
	}
	var page Page
	if err := unmarshal(body, &page.Orders); err == nil && page.Orders != nil {
		return page, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return Page{}, &Error{Path: path, Status: fasthttp.StatusOK, Err: errors.New("the answer is not a page of orders")}
	}
	for name, value := range fields {
		switch {
		case bytes.HasPrefix(bytes.TrimSpace(value), []byte("[")):
			var list []Order
			if err := unmarshal(value, &list); err == nil && page.Orders == nil {
				page.Orders = list
			}
		case strings.Contains(strings.ToLower(name), "next") || strings.EqualFold(name, "cursor"):
			var next label
			if err := json.Unmarshal(value, &next); err == nil {
				page.Next = string(next)
			}
		}
	}
	if page.Orders == nil {
		return Page{}, &Error{Path: path, Status: fasthttp.StatusOK, Err: errors.New("the answer has no list of orders")}
	}
	return page, nil
}

// unmarshal reads JSON and lets a field of another type pass: one odd field must not hide the order.
func unmarshal(body []byte, v any) error {
	err := json.Unmarshal(body, v)
	var odd *json.UnmarshalTypeError
	if errors.As(err, &odd) && odd.Field != "" {
		return nil
	}
	return err
}

// whole is a whole number that may be quoted; 0 when it is anything else.
type whole int64

func (w *whole) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseInt(string(bytes.Trim(b, `"`)), 10, 64)
	if err == nil {
		*w = whole(n)
	}
	return nil
}

// decimal is a number that may be quoted; 0 when it is anything else.
type decimal float64

func (d *decimal) UnmarshalJSON(b []byte) error {
	f, err := strconv.ParseFloat(string(bytes.Trim(b, `"`)), 64)
	if err == nil {
		*d = decimal(f)
	}
	return nil
}

// label is a string, or a number as a string; empty when it is anything else.
type label string

func (l *label) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*l = label(s)
	} else if len(b) > 0 && b[0] >= '0' && b[0] <= '9' {
		*l = label(b)
	}
	return nil
}

// moment is a time; without a zone it is UTC, as the Python example writes it. The zero time when it is anything else.
type moment struct{ time.Time }

func (m *moment) UnmarshalJSON(b []byte) error {
	text := string(bytes.Trim(b, `"`))
	for _, layout := range [...]string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00"} {
		if t, err := time.Parse(layout, text); err == nil {
			m.Time = t
			return nil
		}
	}
	return nil
}
