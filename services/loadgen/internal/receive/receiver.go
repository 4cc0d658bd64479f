package receive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"orderflow.example/kit/wait"
	"orderflow.example/services/loadgen/internal/receive/faults"
	"orderflow.example/services/loadgen/internal/receive/memory"
	"orderflow.example/services/loadgen/internal/receive/signature"
)

// What became of a request.
const (
	resultNew        = "new"
	resultRepeated   = "repeated"
	resultForged     = "forged"
	resultStale      = "stale"
	resultRefused    = "refused"    // by a fault that was ordered
	resultFull       = "full"       // there was no room to remember it
	resultUnreadable = "unreadable" // it broke off, or was too large
)

// atOnce is how many webhooks are in memory at the same time; others wait to be read. It bounds the memory to so many times
// RECEIVER_MAX_BODY, besides what is remembered.
const atOnce = 64

// slowest is how long a body may take to come.
const slowest = 30 * time.Second

var results = [...]string{resultNew, resultRepeated, resultForged, resultStale, resultRefused, resultFull, resultUnreadable}

// receiver takes webhooks in.
type receiver struct {
	keys      *keyring
	tolerance time.Duration // RECEIVER_TOLERANCE
	memory    *memory.Memory
	plan      *faults.Plan
	maxBody   int64
	slowest   time.Duration // how long a body may take to come
	room      chan struct{} // holds one for each webhook that is in memory
	log       *slog.Logger

	mu      sync.Mutex
	counts  map[string]int64 // by result
	ordered map[string]int64 // faults that happened, by kind
	second  int64            // the one that is counted now, since 1970
	inIt    int64            // requests in it
	busiest int64            // requests in the busiest second so far
}

func (r *receiver) count(result string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[result]++
	if now := time.Now().Unix(); now != r.second {
		r.second, r.inIt = now, 0
	}
	r.inIt++
	r.busiest = max(r.busiest, r.inIt)
}

// mostInASecond is how many requests there were in the busiest second so far.
func (r *receiver) mostInASecond() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.busiest
}

func (r *receiver) happened(kind string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ordered[kind]++
}

// tallies are copies of the counts.
func (r *receiver) tallies() (byResult, byFault map[string]int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.counts), maps.Clone(r.ordered)
}

// ServeHTTP takes one webhook: verify, remember, answer, in this order. Whatever is answered 2xx is remembered by then.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost {
		r.awaitBody(w)
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "webhooks are sent by POST", http.StatusMethodNotAllowed)
		return
	}
	// An answer may be held back for long, and its webhook must not be in memory meanwhile: that is over when take returns.
	answer := r.take(w, req)
	answer()
}

// take reads, verifies and remembers a webhook, when there is room to hold it meanwhile. It returns what is left to do: the answer.
func (r *receiver) take(w http.ResponseWriter, req *http.Request) (answer func()) {
	ctx := req.Context()
	select {
	case r.room <- struct{}{}:
		defer func() { <-r.room }()
	case <-ctx.Done():
		return func() {}
	}
	taken := r.awaitBody(w)
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, r.maxBody))
	if err != nil {
		r.count(resultUnreadable)
		status := http.StatusBadRequest
		if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
			status = http.StatusRequestEntityTooLarge
		}
		return func() { http.Error(w, err.Error(), status) }
	}
	taken()
	verifier := signature.Verifier{Keys: r.keys.now(), Tolerance: r.tolerance}
	id, err := verifier.Verify(req.Header, body, time.Now())
	if err != nil {
		return func() { r.reject(w, err) }
	}
	draw := r.plan.Draw()
	if draw.Refuse != nil {
		r.count(resultRefused)
		return func() { r.refuse(ctx, w, draw.Refuse) }
	}
	outcome, err := r.memory.Take(read(id, body))
	switch {
	case errors.Is(err, memory.ErrFull):
		r.count(resultFull)
		return func() { http.Error(w, err.Error(), http.StatusInsufficientStorage) }
	case err != nil:
		return func() { http.Error(w, "cannot store the webhook id", http.StatusInternalServerError) }
	}
	result := resultNew
	if outcome == memory.Repeated {
		result = resultRepeated
	}
	r.count(result)
	r.log.Debug("webhook", slog.String("webhook_id", id), slog.String("result", result))
	return func() { r.answer(ctx, w, draw, result) }
}

// awaitBody gives a request's body the time that it may take, until taken is called. The deadline is for the body alone: one of the server's own
// would end a late answer, too. Where the body is not taken it stays, for before it answers, the server reads what is left of a body.
func (r *receiver) awaitBody(w http.ResponseWriter) (taken func()) {
	connection := http.NewResponseController(w)
	_ = connection.SetReadDeadline(time.Now().Add(r.slowest)) // HTTP/1 on TCP has them
	return func() { _ = connection.SetReadDeadline(time.Time{}) }
}

// reject answers what nobody has signed, or not now.
func (r *receiver) reject(w http.ResponseWriter, err error) {
	result := resultForged
	if errors.Is(err, signature.ErrStale) {
		result = resultStale
	}
	r.count(result)
	r.log.Debug("webhook rejected", slog.Any("error", err))
	http.Error(w, err.Error(), http.StatusUnauthorized)
}

// refuse is a fault before a webhook is taken.
func (r *receiver) refuse(ctx context.Context, w http.ResponseWriter, f *faults.Fault) {
	r.happened(f.Kind)
	if f.Kind == faults.Stall {
		<-ctx.Done() // until the client has had enough, or this receiver ends
		panic(http.ErrAbortHandler)
	}
	if f.Time > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.Time.Seconds()))))
	}
	http.Error(w, "this fault was ordered", f.Status)
}

// answer says that a webhook is taken, or lets happen what was drawn instead.
func (r *receiver) answer(ctx context.Context, w http.ResponseWriter, draw faults.Draw, result string) {
	if draw.Twice {
		r.happened(faults.Twice)
		twice(ctx, w, draw.Late, result)
		return
	}
	if draw.Late > 0 {
		r.happened(faults.Slow)
		wait.For(ctx, draw.Late)
	}
	if draw.Drop {
		r.happened(faults.Drop)
		panic(http.ErrAbortHandler) // net/http cuts the connection
	}
	fmt.Fprintln(w, result)
}

// twice gives one answer, and another that nobody has asked for. It says that the connection is over with the first: without that, any
// client of HTTP/1.1 may take the second answer for that of its next request, which then counts as delivered and has not been.
func twice(ctx context.Context, w http.ResponseWriter, late time.Duration, result string) {
	conn, out, err := http.NewResponseController(w).Hijack()
	if err != nil {
		fmt.Fprintln(w, result) // HTTP/2, which this server does not speak
		return
	}
	defer conn.Close()
	for range 2 {
		wait.For(ctx, late)
		fmt.Fprintf(out, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s\n", len(result)+1, result)
		if out.Flush() != nil {
			return
		}
	}
}
