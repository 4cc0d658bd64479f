// Adapter gives the queue's depth to the cluster's autoscalers, as an external metric (external.metrics.k8s.io/v1beta1): what
// prometheus-adapter or KEDA do on a cluster of one's own, small enough to be built here. It is for the end-to-end run only.
//
//	API_URL  the api whose GET /queue is asked, such as http://orderflow-api
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Metric is the name by which a HorizontalPodAutoscaler asks.
const Metric = "orderflow_queue_depth"

const group = "/apis/external.metrics.k8s.io/v1beta1"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := serve(ctx, os.Getenv("API_URL"))
	stop()
	if err != nil {
		slog.Error("adapter", "error", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, api string) error {
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+group, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "external.metrics.k8s.io/v1beta1", "resources": []map[string]any{
			{"name": Metric, "singularName": "", "namespaced": true, "kind": "ExternalMetricValueList", "verbs": []string{"get"}},
		}})
	})
	mux.HandleFunc("GET "+group+"/namespaces/{namespace}/"+Metric, func(w http.ResponseWriter, r *http.Request) {
		depth, err := depth(r.Context(), api)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		answer(w, map[string]any{"kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1", "metadata": map[string]any{}, "items": []map[string]any{
			{"metricName": Metric, "metricLabels": map[string]string{}, "timestamp": time.Now().UTC().Format(time.RFC3339), "value": fmt.Sprint(depth)},
		}})
	})
	server := &http.Server{Addr: ":6443", Handler: mux, ReadHeaderTimeout: 5 * time.Second, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() }) // nothing here is worth waiting for
	defer stopped()
	if err := server.ListenAndServeTLS("", ""); ctx.Err() == nil {
		return err
	}
	return nil
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // the other side is gone
}

// depth is the number of messages in the queue.
func depth(ctx context.Context, api string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, api+"/queue", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("GET /queue: %s", response.Status)
	}
	var queue struct{ Depth int }
	return queue.Depth, json.NewDecoder(response.Body).Decode(&queue)
}

// selfSigned is a certificate for the API server, which is told not to verify it.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{"adapter"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
