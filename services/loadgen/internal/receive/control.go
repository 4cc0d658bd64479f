package receive

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow.example/kit/secret"
	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/config"
	"orderflow.example/services/loadgen/internal/receive/faults"
)

// control is what the second port offers besides metrics and probes.
type control struct {
	receiver *receiver
	api      *client.Client // nil: none
	run      string
	admins   string // tokens
	log      *slog.Logger
	one      chan struct{} // holds one: an account costs the api a walk through its orders
}

func (c *control) handlers() map[string]http.Handler {
	return map[string]http.Handler{
		"GET /account": http.HandlerFunc(c.account),
		"GET /faults":  http.HandlerFunc(c.show),
		"PUT /faults":  http.HandlerFunc(c.order),
	}
}

// account answers with the account so far: of ?run=ID, or of the run that the settings name.
func (c *control) account(w http.ResponseWriter, req *http.Request) {
	select {
	case c.one <- struct{}{}:
		defer func() { <-c.one }()
	case <-req.Context().Done():
		return
	}
	run := c.run
	if asked := req.URL.Query().Get("run"); asked != "" {
		if !config.RunIDForm.MatchString(asked) {
			http.Error(w, "run: 1 to 100 letters, digits, dots, dashes and underscores", http.StatusBadRequest)
			return
		}
		run = asked
	}
	a, err := c.receiver.account(req.Context(), c.api, run)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a) // whoever asked may be gone
}

// show answers with the faults in force.
func (c *control) show(w http.ResponseWriter, _ *http.Request) {
	set, left := c.receiver.plan.Now()
	w.Header().Set("Content-Type", "application/json")
	answer := map[string]any{"faults": set.String()}
	if left > 0 {
		answer["seconds_left"] = left.Seconds()
	}
	_ = json.NewEncoder(w).Encode(answer) // likewise
}

// order puts the faults in the body into force: for ?for=30s, or until others are ordered.
func (c *control) order(w http.ResponseWriter, req *http.Request) {
	if !c.allowed(req) {
		http.Error(w, "setting faults needs a local connection or Authorization: Bearer <ADMIN_TOKEN>", http.StatusForbidden)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 4<<10))
	var set faults.Set
	if err == nil {
		err = set.Decode(string(body))
	}
	var length time.Duration
	if text := req.URL.Query().Get("for"); err == nil && text != "" {
		if length, err = time.ParseDuration(text); err == nil && (length <= 0 || length > 24*time.Hour) {
			err = fmt.Errorf("for=%s: a duration up to 24h", text)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.receiver.plan.Order(set, length)
	c.log.Info("faults ordered", slog.String("faults", set.String()), slog.Duration("for", length))
	c.show(w, req)
}

// allowed says whether a request may order faults: it comes from this machine itself, or has a token.
func (c *control) allowed(req *http.Request) bool {
	if host, _, err := net.SplitHostPort(req.RemoteAddr); err == nil {
		if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
			return true
		}
	}
	given, bearer := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	hash := sha256.Sum256([]byte(given))
	allowed := false
	for _, token := range secret.List(c.admins) {
		want := sha256.Sum256([]byte(token))
		allowed = subtle.ConstantTimeCompare(hash[:], want[:]) == 1 || allowed
	}
	return bearer && allowed
}

// ready is the probe: a receiver that is away on order is not.
func (c *control) ready() (ok bool, details any) {
	away, _, _ := c.receiver.plan.Away()
	if away {
		return false, "away, as was ordered"
	}
	return true, map[string]any{"status": "ok", "ids": c.receiver.memory.Counts().IDs}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("orderflow_receiver_"+name, help, labels, nil)
}

var (
	requestsDesc = desc("requests_total", "Requests by what became of them: new, repeated, forged, stale, refused (a fault on order), full, unreadable.", "result")
	orderedDesc  = desc("faults_total", "Faults that happened on order.", "fault")
	idsDesc      = desc("ids", "Ids that are remembered.")
	keysDesc     = desc("keys", "Keys that a signature may have been made with: several while one replaces another.")
	wrongDesc    = desc("wrong_ids", "Ids that came again with other data (altered), for another order (mistaken), "+
		"or for an order that had come under another id (renamed).", "wrong")
)

// Describe names the metrics.
func (r *receiver) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range [...]*prometheus.Desc{requestsDesc, orderedDesc, idsDesc, keysDesc, wrongDesc} {
		ch <- d
	}
}

// Collect reads what is known.
func (r *receiver) Collect(ch chan<- prometheus.Metric) {
	byResult, byFault := r.tallies()
	for _, result := range results {
		ch <- prometheus.MustNewConstMetric(requestsDesc, prometheus.CounterValue, float64(byResult[result]), result)
	}
	for fault, n := range byFault {
		ch <- prometheus.MustNewConstMetric(orderedDesc, prometheus.CounterValue, float64(n), fault)
	}
	c := r.memory.Counts()
	ch <- prometheus.MustNewConstMetric(idsDesc, prometheus.GaugeValue, float64(c.IDs))
	keys := r.keys.now()
	ch <- prometheus.MustNewConstMetric(keysDesc, prometheus.GaugeValue, float64(keys.Len()))
	for wrong, n := range map[string]int{"altered": c.Altered, "mistaken": c.Mistaken, "renamed": c.Renamed} {
		ch <- prometheus.MustNewConstMetric(wrongDesc, prometheus.GaugeValue, float64(n), wrong)
	}
}

// asking is how long an account may take.
const asking = time.Minute

// Ask asks a running receiver, by the address of its second port, for its account of a run.
func Ask(ctx context.Context, address, run string) (*Account, error) {
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(address, "/")+"/account?run="+run, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask the receiver: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the receiver: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("ask the receiver: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the receiver: %s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	var a Account
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("ask the receiver: %w", err)
	}
	return &a, nil
}
