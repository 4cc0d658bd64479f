package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// prober posts single orders at a steady pace, whatever happens, and notes each answer: it sees what one customer sees. Unlike the
// load generator it never tries again. Its orders have no key, so that each has a product of its own: what the api writes twice is seen by that.
type prober struct {
	customer string // of all its orders, and of nobody else's
	url      string
	client   *http.Client
	cancel   context.CancelFunc
	work     sync.WaitGroup

	mu     sync.Mutex
	sent   int
	probes []probe
}

// probe is one order and what became of its request.
type probe struct {
	product string
	sent    time.Time
	took    time.Duration
	status  int    // 0 without an answer
	order   placed // when it was answered 201
	err     error
}

// placed is an order as it was answered. After a failover an id may be another order's, so that it takes both to know it.
type placed struct {
	ID        int64     `json:"id"`
	CreatedAt time.Time `json:"created_at"`
}

const (
	probeInterval = 50 * time.Millisecond
	probeTimeout  = 5 * time.Second
)

// newProber is a rig's prober number n: a fault of several rounds has one in each.
func newProber(n int, apiURL string) *prober {
	return &prober{
		customer: proberName(n), url: apiURL + "/orders", cancel: func() {},
		client: &http.Client{Timeout: probeTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Second}},
	}
}

// start posts until stop.
func (p *prober) start(ctx context.Context) {
	ctx, p.cancel = context.WithCancel(ctx)
	p.work.Go(func() {
		tick := time.NewTicker(probeInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				// At most as many at the same time as there are intervals in the client's patience.
				p.work.Go(func() { p.post(context.WithoutCancel(ctx)) })
			case <-ctx.Done():
				return
			}
		}
	})
}

// proberName begins as ledgerSQL looks for it.
func proberName(n int) string { return fmt.Sprintf("Prober %d", n) }

func probeBody(customer, product string) string {
	return fmt.Sprintf(`{"customer_name":%q,"product_name":%q,"quantity":1,"price":1.50}`, customer, product)
}

func (p *prober) post(ctx context.Context) {
	p.mu.Lock()
	p.sent++
	one := probe{product: fmt.Sprintf("Probe %d", p.sent), sent: time.Now()}
	p.mu.Unlock()
	one.status, one.order, one.err = post(ctx, p.client, p.url, probeBody(p.customer, one.product))
	one.took = time.Since(one.sent)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.probes = append(p.probes, one)
}

func post(ctx context.Context, client *http.Client, url, body string) (status int, order placed, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewBufferString(body))
	if err != nil {
		return 0, placed{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return 0, placed{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return 0, placed{}, err
	}
	if resp.StatusCode != http.StatusCreated {
		return resp.StatusCode, placed{}, fmt.Errorf("%s: %.300s", resp.Status, data)
	}
	err = json.Unmarshal(data, &order)
	return resp.StatusCode, order, err
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

// accepted are the orders that were answered 201.
func (p *prober) accepted() []probe {
	return slices.DeleteFunc(p.all(), func(one probe) bool { return one.status != http.StatusCreated })
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
