package stack

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Receiver is `loadgen receive`: the load generator's program as one that webhooks are sent to.
const Receiver Service = "receiver"

// StartReceiver starts a receiver that accounts for the orders of an api, and waits until it is ready. Consumers are told of it by
// [Node.Deliveries].
func (s *Stack) StartReceiver(ctx context.Context, api *Node, name string, env ...string) (*Node, error) {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // crypto/rand.Read never fails: it ends the program instead
	key := "whsec_" + base64.StdEncoding.EncodeToString(secret[:])
	env = append([]string{"API_URL=" + api.URL(), "API_TOKEN=" + api.Token(), "RECEIVER_KEYS=" + key, "RECEIVER_HOST=127.0.0.1", "RUN_ID=", "REPORT_JSON="}, env...)
	n, err := s.startNode(ctx, Receiver, name, env)
	if err != nil {
		return nil, err
	}
	n.key = key
	return n, nil
}

// Deliveries are a consumer's settings that send each order to this receiver.
func (n *Node) Deliveries() []string {
	return []string{"HANDLER=webhook", "WEBHOOK_URL=" + n.URL() + "/orders", "WEBHOOK_SECRETS=" + n.key}
}

// Order orders faults at a receiver, as RECEIVER_FAULTS has them: for a time, or (0) until others are ordered.
func (n *Node) Order(ctx context.Context, faults string, length time.Duration) error {
	query := ""
	if length > 0 {
		query = "?for=" + url.QueryEscape(length.String())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, n.MetricsURL()+"/faults"+query, strings.NewReader(faults))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("order faults: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // why not, best effort
		return fmt.Errorf("order faults: %s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return nil
}

// Received is a receiver's account: what arrived, against what the api accepted.
type Received struct {
	Received struct {
		IDs         int64 `json:"ids"`
		Repetitions int64 `json:"repetitions"`
		Altered     int64 `json:"altered"`
		Mistaken    int64 `json:"mistaken"`
		Renamed     int64 `json:"renamed"`
	} `json:"received"`
	Requests map[string]int64 `json:"requests"`
	Ordered  map[string]int64 `json:"ordered"`
	Busiest  int64            `json:"busiest_second"`
	Orders   *struct {
		Accepted    int64 `json:"accepted"`
		Completed   int64 `json:"completed"`
		Dead        int64 `json:"dead"`
		Once        int64 `json:"once"`
		Repeated    int64 `json:"repeated"`
		Never       int64 `json:"never"`
		Altered     int64 `json:"altered"`
		DeadArrived int64 `json:"dead_arrived"`
	} `json:"orders"`
	Faults []string `json:"faults"`
}

// Received asks a receiver for its account so far.
func (n *Node) Received(ctx context.Context) (*Received, error) {
	var r Received
	ctx, cancel := context.WithTimeout(ctx, accountTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.MetricsURL()+"/account", http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := patient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the receiver's account: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	if err == nil {
		err = json.Unmarshal(body, &r)
	}
	if err != nil {
		return nil, fmt.Errorf("the receiver's account: %w", err)
	}
	return &r, nil
}

// accountTimeout is for a walk through all orders of a long run.
const accountTimeout = time.Minute

// patient is for the one question that takes long.
var patient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
