package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// reader asks an api, one request after the other.
type reader struct {
	client      *http.Client
	base, token string
}

// get returns an answer's body and how long it took.
func (r reader) get(ctx context.Context, path string) (body []byte, status int, took time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+path, nil)
	if err != nil {
		return nil, 0, 0, err
	}
	if r.token != "" {
		request.Header.Set("Authorization", "Bearer "+r.token)
	}
	began := time.Now()
	response, err := r.client.Do(request)
	if err != nil {
		return nil, 0, 0, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return body, response.StatusCode, time.Since(began), err
}

// measure asks for a path again and again, {n} being a number of a customer and {id} that of an order. A path that this api does not have
// is left out.
func (r reader) measure(ctx context.Context, path string, times int, last int64) (Call, error) {
	var took []time.Duration
	for range times {
		at := strings.NewReplacer("{n}", strconv.Itoa(rand.IntN(100_000)), "{id}", strconv.FormatInt(1+rand.Int64N(last), 10)).Replace(path) //nolint:gosec // any will do
		_, status, d, err := r.get(ctx, at)
		switch {
		case err != nil:
			return Call{}, err
		case status == http.StatusNotFound && !strings.Contains(path, "{id}"):
			return Call{}, nil
		case status != http.StatusOK && status != http.StatusNotFound:
			return Call{}, fmt.Errorf("GET %s: %d", at, status)
		}
		took = append(took, d)
	}
	return callOf("GET "+path, took), nil
}

// follow goes from page to page.
func (r reader) follow(ctx context.Context, path string, times int) (Call, error) {
	var took []time.Duration
	cursor := ""
	for range times {
		at := path
		if cursor != "" {
			at += "&cursor=" + url.QueryEscape(cursor)
		}
		body, status, d, err := r.get(ctx, at)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("GET %s: %d", at, status)
		}
		var page struct {
			Next string `json:"next_cursor"`
		}
		if err == nil {
			err = json.Unmarshal(body, &page)
		}
		if err != nil {
			return Call{}, err
		}
		took = append(took, d)
		cursor = page.Next
	}
	return callOf("GET "+path+"&cursor=…, page after page", took), nil
}

func callOf(what string, took []time.Duration) Call {
	slices.Sort(took)
	rank := func(percent int) time.Duration { return took[(len(took)*percent+99)/100-1] } // the least that so many of them do not exceed
	return Call{What: what, P50: rank(50), P99: rank(99), Max: took[len(took)-1]}
}
