// Package orders makes what is sent: order n's data, its idempotency key, and the requests that are wrong on purpose. Everything follows
// from the run's id, the seed and a number, so that a run can be repeated and its audit can recognise its orders. It sends nothing.
package orders

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Data is what a customer orders.
type Data struct {
	Customer string  `json:"customer_name"`
	Product  string  `json:"product_name"`
	Quantity int     `json:"quantity"`
	Price    float64 `json:"price"`
}

const customerPrefix = "Customer "

// perIndex is the distance between the N of two parallel generators' first orders, so that their customers differ too.
const perIndex = 100_000_000

// Number is the N in the data of a generator's order n.
func Number(index, n int) int { return index*perIndex + n }

// Place is the inverse of Number: the generator and its order.
func Place(number int) (index, n int) { return number / perIndex, number % perIndex }

// Of is the order with the number N. The data are the example's: Customer N, Product N, quantity N % 10 + 1, price 10.0 + N % 50.
func Of(number int) Data {
	digits := strconv.Itoa(number)
	return Data{customerPrefix + digits, "Product " + digits, number%10 + 1, float64(10 + number%50)}
}

// Number is the N that these are the data of; false when they are no run's.
func (d Data) Number() (int, bool) {
	n, err := strconv.Atoi(strings.TrimPrefix(d.Customer, customerPrefix))
	return n, err == nil && n >= 0 && d == Of(n)
}

// Deviation says how an order differs from what was sent; "" when it does not.
func (d Data) Deviation(sent Data) string {
	switch {
	case d.Customer != sent.Customer:
		return fmt.Sprintf("customer_name %q instead of %q", d.Customer, sent.Customer)
	case d.Product != sent.Product:
		return fmt.Sprintf("product_name %q instead of %q", d.Product, sent.Product)
	case d.Quantity != sent.Quantity:
		return fmt.Sprintf("quantity %d instead of %d", d.Quantity, sent.Quantity)
	case math.Abs(d.Price-sent.Price) > 0.001:
		return fmt.Sprintf("price %g instead of %g", d.Price, sent.Price)
	}
	return ""
}

// AppendJSON appends the order with the number N as JSON.
func AppendJSON(dst []byte, number int) []byte {
	dst = append(dst, `{"customer_name":"Customer `...)
	dst = strconv.AppendInt(dst, int64(number), 10)
	dst = append(dst, `","product_name":"Product `...)
	dst = strconv.AppendInt(dst, int64(number), 10)
	dst = append(dst, `","quantity":`...)
	dst = strconv.AppendInt(dst, int64(number%10+1), 10)
	dst = append(dst, `,"price":`...)
	dst = strconv.AppendInt(dst, int64(10+number%50), 10)
	return append(dst, `.0}`...)
}

// AppendBatchJSON appends the body of a POST /orders/batch with count orders from the number N on.
func AppendBatchJSON(dst []byte, number, count int) []byte {
	dst = append(dst, `{"orders":[`...)
	for i := range count {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendJSON(dst, number+i)
	}
	return append(dst, `]}`...)
}
