package dashboard

import (
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
