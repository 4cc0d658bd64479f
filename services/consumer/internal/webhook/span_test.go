package webhook

import (
	"context"
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// A call's span names the receiver, with its port, and nothing of the URL that may be secret.
func TestASpanNamesTheReceiverAndNoSecret(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]struct {
		full string
		port int64
	}{
		"https://shop.example/hooks/s3cret?token=x": {"https://shop.example/REDACTED", 443},
		"http://shop.example:8080":                  {"http://shop.example:8080/", 8080},
		"http://me:s3cret@[::1]/":                   {"http://[::1]/", 80},
	} {
		recorded := tracetest.NewSpanRecorder()
		ctx, handling := sdk.NewTracerProvider(sdk.WithSpanProcessor(recorded)).Tracer("").Start(t.Context(), "handle")
		call, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		begin(ctx, call).End()
		handling.End()
		about := map[attribute.Key]attribute.Value{}
		for _, a := range recorded.Ended()[0].Attributes() {
			about[a.Key] = a.Value
		}
		if about["url.full"].AsString() != want.full || about["server.port"].AsInt64() != want.port || about["server.address"].AsString() == "" {
			t.Errorf("%s: %v", url, about)
		}
	}
}
