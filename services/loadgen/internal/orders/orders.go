// Package orders makes what is sent: order n's data, its idempotency key, and the requests that are wrong on purpose. Everything follows
// from the run's id, the seed and a number, so that a run can be repeated and its audit can recognise its orders. It sends nothing.
package orders

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The example's data: Customer N, Product N, quantity N % 10 + 1, price 10.0 + N % 50.
const (
	customerPrefix = "Customer "
	productPrefix  = "Product "
)

// PerIndex is the distance between the N of two parallel generators' first orders, so that their customers differ too.
const PerIndex = 100_000_000

// Number is the N in the data of a generator's order n.
func Number(index, n int) int { return index*PerIndex + n }

// AppendJSON appends the order with data N as JSON.
func AppendJSON(dst []byte, number int) []byte {
	dst = append(dst, `{"customer_name":"`+customerPrefix...)
	dst = strconv.AppendInt(dst, int64(number), 10)
	dst = append(dst, `","product_name":"`+productPrefix...)
	dst = strconv.AppendInt(dst, int64(number), 10)
	dst = append(dst, `","quantity":`...)
	dst = strconv.AppendInt(dst, int64(number%10+1), 10)
	dst = append(dst, `,"price":`...)
	dst = strconv.AppendInt(dst, int64(10+number%50), 10)
	return append(dst, `.0}`...)
}

// AppendBatchJSON appends the body of a POST /orders/batch with count orders from data N on.
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

// NumberOf is the N of the order that a customer's name stands for, for servers that do not show idempotency keys; false when it is nobody's.
func NumberOf(customer string) (int, bool) {
	digits, ok := strings.CutPrefix(customer, customerPrefix)
	if !ok || len(digits) > 18 || (len(digits) > 1 && digits[0] == '0') || strings.TrimLeft(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil
}

// Deviation says how an order's data differ from those of data N; "" when they do not. What is empty or nil is not shown and does not differ.
func Deviation(number int, customer, product string, quantity, price *float64) string {
	digits := strconv.Itoa(number)
	switch {
	case customer != "" && customer != customerPrefix+digits:
		return fmt.Sprintf("customer_name %q instead of %q", customer, customerPrefix+digits)
	case product != "" && product != productPrefix+digits:
		return fmt.Sprintf("product_name %q instead of %q", product, productPrefix+digits)
	case quantity != nil && *quantity != float64(number%10+1):
		return fmt.Sprintf("quantity %g instead of %d", *quantity, number%10+1)
	case price != nil && math.Abs(*price-float64(10+number%50)) > 0.001:
		return fmt.Sprintf("price %g instead of %d", *price, 10+number%50)
	}
	return ""
}

// Place is the generator and the order that the data N stands for: the inverse of Number.
func Place(number int) (index, n int) { return number / PerIndex, number % PerIndex }
