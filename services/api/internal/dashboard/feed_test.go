package dashboard

import (
	"log/slog"
	"math"
	"net"
	"testing"
)

// streaming is a connection that remembers what it was told.
type streaming struct {
	net.Conn
	told bool
}

func (s *streaming) Stream() { s.told = true }

// When connections are short, those are closed first whose clients are waited for: viewers would always be among them.
func TestAViewersConnectionIsNotClosedForOthers(t *testing.T) {
	t.Parallel()
	f := newFeed(1)
	first, second := &streaming{}, &streaming{}
	if f.join(first) == nil || !first.told {
		t.Error("a viewer's connection is one like the others")
	}
	if f.join(second) != nil || second.told {
		t.Error("one too many gets a place that is not closed for others")
	}
}

// What cannot be sent is left out, and what is sent besides arrives.
func TestAnEventWithoutJSONIsLeftOut(t *testing.T) {
	t.Parallel()
	d := &Dashboard{cfg: Config{Log: slog.New(slog.DiscardHandler)}, feed: newFeed(1)}
	d.send(t.Context(), eventSeries, "series", math.Inf(1))
	d.send(t.Context(), eventSnapshot, "snapshot", 7)
	if series, snapshot := d.feed.latest[eventSeries], string(d.feed.latest[eventSnapshot]); series != nil || snapshot != "event: snapshot\ndata: 7\n\n" {
		t.Errorf("%q, %q", series, snapshot)
	}
}
