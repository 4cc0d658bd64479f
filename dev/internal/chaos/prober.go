package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// prober posts single orders at a steady pace, whatever happens, and notes each answer: it sees what one customer sees. Unlike the
// load generator it never tries again.
type prober struct {
	url    string
	client *http.Client
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu     sync.Mutex
	probes []probe
}

// probe is one order and what became of its request.
type probe struct {
	sent   time.Time
	took   time.Duration
	status int // 0 without an answer
	id     int64
	err    error
}

const (
	probeInterval = 50 * time.Millisecond
	probeTimeout  = 5 * time.Second
)

// startProber posts until stop.
func startProber(ctx context.Context, apiURL string) *prober {
	ctx, cancel := context.WithCancel(ctx)
	p := &prober{
		url: apiURL + "/orders", cancel: cancel,
		client: &http.Client{Timeout: probeTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Second}},
	}
	p.work.Go(func() {
		tick := time.NewTicker(probeInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				// At most probeTimeout / probeInterval of them at the same time.
				p.work.Go(func() { p.post(context.WithoutCancel(ctx)) })
			case <-ctx.Done():
				return
			}
		}
	})
	return p
}

const probeBody = `{"customer_name":"Prober","product_name":"Probe","quantity":1,"price":1.50}`

func (p *prober) post(ctx context.Context) {
	one := probe{sent: time.Now()}
	one.status, one.id, one.err = post(ctx, p.client, p.url, probeBody)
	one.took = time.Since(one.sent)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.probes = append(p.probes, one)
}

func post(ctx context.Context, client *http.Client, url, body string) (status int, id int64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewBufferString(body))
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return 0, 0, err
	}
	if resp.StatusCode != http.StatusCreated {
		return resp.StatusCode, 0, fmt.Errorf("%s: %.300s", resp.Status, data)
	}
	var order struct {
		ID int64 `json:"id"`
	}
	return resp.StatusCode, order.ID, errors.Join(json.Unmarshal(data, &order))
}

// stop ends the probing and waits for the answers that are still to come.
func (p *prober) stop(ctx context.Context) error {
	p.cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.work.Wait()
		p.client.CloseIdleConnections()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// all are the probes so far, in the order in which they were sent.
func (p *prober) all() []probe {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := slices.Clone(p.probes)
	slices.SortFunc(out, func(a, b probe) int { return a.sent.Compare(b.sent) })
	return out
}

// accepted are the ids of the orders that were answered 201.
func (p *prober) accepted() []int64 {
	var ids []int64
	for _, one := range p.all() {
		if one.status == http.StatusCreated {
			ids = append(ids, one.id)
		}
	}
	return ids
}

// checkAnswers holds the api to what it promises in an outage: 201 or 503, always, within a second.
func (r *Rig) checkAnswers() { r.result.answers(r.plan, r.lag.most(), r.prober.all()) }

func (r *Result) answers(p Plan, lag time.Duration, probes []probe) {
	worst, slowest := "201 or 503 only", time.Duration(0)
	counts := map[int]int{}
	for _, one := range probes {
		counts[one.status]++
		slowest = max(slowest, one.took)
		if one.status != http.StatusCreated && one.status != http.StatusServiceUnavailable {
			worst = fmt.Sprintf("%d (%v)", one.status, one.err)
		}
	}
	r.check(len(probes) > 0 && worst == "201 or 503 only", "answers of the api during the outage", worst, fmt.Sprintf("201 or 503 only %v", counts))
	r.quick(p, lag, "slowest answer", slowest, time.Second)
}

// checkAccepts holds the api to how soon it takes orders again.
func (r *Rig) checkAccepts(bar time.Duration) {
	r.result.accepts(r.plan, r.lag.most(), r.prober.all(), r.causeAt, bar)
}

func (r *Result) accepts(p Plan, lag time.Duration, probes []probe, causeAt time.Time, bar time.Duration) {
	for _, one := range probes {
		if at := one.sent.Add(one.took); one.status == http.StatusCreated && at.After(causeAt) {
			r.quick(p, lag, "accepts orders again after", at.Sub(causeAt), bar)
			return
		}
	}
	r.check(false, "accepts orders again after", "never", "at most "+bar.String())
}
