package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// post sends orders over a number of connections, each of which sends its next request when it has the answer to the last (a closed loop,
// as wrk has it). It costs a few microseconds a request, because it shares the processors with what is measured: requests are written as
// prepared bytes, and of an answer only the status and the length are looked at.
func (b *Bench) post(ctx context.Context, apiURL string, connections, ordersEach int) (figures, error) {
	target, err := url.Parse(apiURL)
	if err != nil {
		return figures{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.Span+time.Minute)
	defer cancel()
	took := make([][]time.Duration, connections)
	errs := make([]error, connections)
	clients := make([]*client, connections)
	for i := range clients {
		if clients[i], err = dial(ctx, target.Host, ordersEach, i); err != nil {
			return figures{}, err
		}
		defer clients[i].conn.Close()
		if b.varied {
			clients[i].vary()
		}
	}
	started := time.Now()
	end := started.Add(b.Span)
	var work sync.WaitGroup
	for i, c := range clients {
		work.Go(func() {
			for begin := time.Now(); begin.Before(end) && ctx.Err() == nil; {
				if errs[i] = c.once(); errs[i] != nil {
					cancel()
					return
				}
				now := time.Now()
				took[i] = append(took[i], now.Sub(begin))
				begin = now
			}
		})
	}
	work.Wait()
	return closedLoop(slices.Concat(took...), time.Since(started), ordersEach), errors.Join(errs...)
}

// client is one connection with its request.
type client struct {
	conn    net.Conn
	answers *bufio.Reader
	request []byte
	// customer and key are parts of the request that are other digits each time; empty: all requests are the same.
	customer, key []byte
}

func dial(ctx context.Context, host string, orders, number int) (*client, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	order := fmt.Sprintf(`{"customer_name": "Customer %d", "product_name": "Product %d", "quantity": 2, "price": 19.99}`, number, number)
	path, body := "/orders", order
	if orders > 1 {
		path, body = "/orders/batch", `{"orders": [`+strings.Repeat(order+",", orders-1)+order+`]}`
	}
	request := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, host, len(body), body)
	return &client{conn: conn, answers: bufio.NewReaderSize(conn, 64<<10), request: []byte(request)}, nil
}

// vary makes the client's orders those of ordersOfYears: a customer of many, in no order, and a random key.
func (c *client) vary() {
	const before, customer = `{"product_name": "Product 1", "quantity": 2, "price": 19.99, "customer_name": "Customer `, "12345"
	const body = before + customer + `"}`
	key := strings.Repeat("0", 2*18)
	head := fmt.Sprintf("POST /orders HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\nIdempotency-Key: ", len(body))
	c.request = []byte(head + key + "\r\n\r\n" + body)
	c.key = c.request[len(head):][:len(key)]
	c.customer = c.request[len(c.request)-len(body)+len(before):][:len(customer)]
}

// once sends the request and reads its answer, which has to be 201.
func (c *client) once() error {
	if len(c.key) > 0 {
		var random [18]byte
		for i := range random {
			random[i] = byte(rand.Uint32()) //nolint:gosec // a key of a benchmark: any will do
		}
		hex.Encode(c.key, random[:])
		strconv.AppendInt(c.customer[:0], 10_000+rand.Int64N(90_000), 10) //nolint:gosec // likewise
	}
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	status, err := c.line()
	if err != nil {
		return err
	}
	created := bytes.HasPrefix(status, []byte("HTTP/1.1 201 "))
	said := string(status)
	length := -1
	for {
		header, err := c.line()
		if err != nil {
			return err
		}
		if len(header) == 0 {
			break
		}
		if name, value, _ := bytes.Cut(header, []byte(":")); bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return fmt.Errorf("an answer without a %s: %s", http.CanonicalHeaderKey("content-length"), said)
	}
	if !created {
		text, err := io.ReadAll(io.LimitReader(c.answers, int64(min(length, 1000))))
		return errors.Join(fmt.Errorf("the api answers %s: %s", said, text), err)
	}
	_, err = c.answers.Discard(length)
	return err
}

// line is the next line of an answer's head, without its end; valid until the next read.
func (c *client) line() ([]byte, error) {
	line, err := c.answers.ReadSlice('\n')
	return bytes.TrimRight(line, "\r\n"), err
}
