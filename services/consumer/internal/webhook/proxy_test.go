package webhook_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"orderflow.example/services/consumer/internal/webhook"
)

// askedFor is what this test's own process, started once more with an environment of its own, is to call: net/http reads the environment's
// proxies once.
const askedFor = "CALL_BY_WAY_OF_A_PROXY"

func TestTheEnvironmentsProxyIsUsed(t *testing.T) {
	if address := os.Getenv(askedFor); address != "" {
		fmt.Println("result:", open(t, webhook.Settings{URL: address}).Handle(t.Context(), order()))
		return
	}
	t.Parallel()
	called := make(chan string, 10)
	proxy := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		called <- r.URL.String() + " " + r.Header.Get("Webhook-Id")
	})
	withUser := strings.Replace(proxy, "http://", "http://user:geheim@", 1)
	m := order()
	for name, test := range map[string]struct {
		environment []string
		result      string
		called      string
	}{
		"used":    {[]string{"HTTP_PROXY=" + withUser}, "result: <nil>", "http://receiver.invalid/orders " + m.OrderKey()},
		"exempt":  {[]string{"HTTP_PROXY=" + withUser, "NO_PROXY=receiver.invalid"}, "result: webhook: dial tcp", ""},
		"is gone": {[]string{"HTTP_PROXY=http://user:geheim@127.0.0.1:1"}, "result: webhook: proxyconnect tcp", ""},
	} {
		again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTheEnvironmentsProxyIsUsed$") //nolint:gosec // itself
		again.Env = append([]string{askedFor + "=http://receiver.invalid/orders"}, test.environment...)
		out, err := again.CombinedOutput()
		if err != nil || !strings.Contains(string(out), test.result) || strings.Contains(string(out), "geheim") {
			t.Errorf("%s: %v, %s", name, err, out)
		}
		var got string
		select {
		case got = <-called:
		default:
		}
		if got != test.called {
			t.Errorf("%s: the proxy was asked for %q", name, got)
		}
	}
}
