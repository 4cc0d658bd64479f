package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"orderflow.example/dev/internal/stack"
)

// audience is how many look at the dashboard, where anybody does.
const audience = 50

// features compares the services with what can be switched on, or looked at, beside their work.
func (b *Bench) features() []group {
	publish := func(b *Bench) contender { return b.publish(64, 1) }
	consume := func(b *Bench) contender { return b.consume("one consumer, as shipped", 1, asShipped, preloaded, 0) }
	follow := func(b *Bench) contender {
		return contender{name: "200 orders/s", measure: func(ctx context.Context) (figures, error) { return b.follow(ctx, 200) }}
	}
	return []group{
		{
			name: "features-publish", title: "POST /orders with traces, and with viewers of the dashboard",
			contenders: []contender{publish(b), b.traced(publish), b.watched(publish)},
		},
		{
			name: "features-consume", title: "Consuming with traces", note: "One consumer, without work.",
			contenders: []contender{consume(b), b.traced(consume)},
		},
		{
			name: "features-viewers", title: "What viewers of the dashboard cost", note: "From POST to completed; the cost of an order times 200 is that of a second.",
			contenders: []contender{follow(b), b.watched(follow)},
		},
	}
}

// watched measures the same while viewers follow the dashboard.
func (b *Bench) watched(contend func(*Bench) contender) contender {
	with := *b
	with.viewers = audience
	c := contend(&with)
	c.name += fmt.Sprintf(", %d viewers", audience)
	return c
}

// traced measures the same with one trace in a hundred sent to a collector.
func (b *Bench) traced(contend func(*Bench) contender) contender {
	return contender{name: contend(b).name + ", traces of 1 %", measure: func(ctx context.Context) (got figures, err error) {
		sink, err := newSink(ctx)
		if err != nil {
			return figures{}, err
		}
		defer func() { err = errors.Join(err, sink.close()) }()
		with := *b
		with.settings = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + sink.url, "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.01"}
		return contend(&with).measure(ctx)
	}}
}

// sink is a collector that forgets what it is sent, and so costs next to nothing.
type sink struct {
	url    string
	server *http.Server
	served chan error
}

func newSink(ctx context.Context) (*sink, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a collector: %w", err)
	}
	s := &sink{url: "http://" + ln.Addr().String(), served: make(chan error, 1)}
	s.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // who breaks off has sent nothing
		w.Header().Set("Content-Type", "application/x-protobuf")
	})}
	go func() { s.served <- s.server.Serve(ln) }()
	return s, nil
}

func (s *sink) close() error {
	err := s.server.Close()
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// look lets the viewers follow an api's dashboard.
func (b *Bench) look(ctx context.Context, api *stack.Node) *looking {
	ctx, stop := context.WithCancel(ctx)
	l := &looking{stop: stop}
	for range b.viewers {
		l.viewers.Go(func() error {
			if err := view(ctx, api); ctx.Err() == nil {
				return fmt.Errorf("a viewer's stream has ended: %w", err)
			}
			return nil
		})
	}
	return l
}

// looking is the viewers of a dashboard; with nobody among them, it is nothing.
type looking struct {
	viewers errgroup.Group
	stop    context.CancelFunc
}

func (l *looking) end() error {
	l.stop()
	return l.viewers.Wait()
}

// view reads what the dashboard streams, as a browser does, until ctx ends or the stream does.
func view(ctx context.Context, api *stack.Node) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, api.URL()+"/events", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "text/event-stream")
	client := http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, io.ErrUnexpectedEOF)
}
