package pg

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/testdb"
	"orderflow.example/services/consumer/internal/dbtest"
)

// Of those who share a link, one at a time is at something. What it has begun is over before the next one can begin, however its call ends: else
// the end of the one would be taken for the other's.
func TestACallIsOverBeforeTheNextBegins(t *testing.T) {
	t.Parallel()
	db := dbtest.New(t)
	for name, end := range map[string]error{"it works": nil, "it fails": errors.New("on purpose"), "there is no connection": context.Canceled} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := NewServer(db.Address(), "test", slog.New(slog.DiscardHandler), Observer{}).NewLink("test", nil)
			defer l.Close()
			begun, over := false, 0
			l.WatchCalls(func(time.Duration) { begun = true }, func() {
				begun = false
				over++
				if l.mu.TryLock() {
					l.mu.Unlock()
					t.Error("the next call may have begun")
				}
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if errors.Is(end, context.Canceled) {
				cancel()
			}
			for calls := 1; calls <= 2; calls++ {
				err := l.Do(ctx, func(context.Context, *pgx.Conn) error {
					if !begun {
						t.Error("it is at work, and nothing has begun")
					}
					return end
				})
				if !errors.Is(err, end) || begun || over != calls {
					t.Errorf("call %d: %v; begun: %t; %d are over", calls, err, begun, over)
				}
			}
		})
	}
}

// The name that a connection was made by leads elsewhere by now, and the server behind that connection still answers. Who listens, and so uses it
// all the time, notices.
func TestWhoListensFollowsANameThatMoves(t *testing.T) {
	t.Parallel()
	db := dbtest.New(t)
	proxy := db.Proxy()
	_, port, err := net.SplitHostPort(proxy.Host())
	if err != nil {
		t.Fatal(err)
	}
	address := testdb.Address(t, strings.Replace(proxy.URL, proxy.Host(), net.JoinHostPort("localhost", port), 1))
	server := NewServer(address, "test", slog.New(slog.DiscardHandler), Observer{})
	l := server.NewListeningLink("test", nil)
	defer l.Close()
	was, dial := true, server.config.DialFunc
	server.config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err == nil && was {
			return formerly{conn}, nil
		}
		return conn, err
	}
	leadsTo := func() (address string) {
		if err := l.Do(t.Context(), func(ctx context.Context, conn *pgx.Conn) error {
			address = conn.PgConn().Conn().RemoteAddr().String()
			return conn.Ping(ctx)
		}); err != nil {
			t.Fatal(err)
		}
		return address
	}
	before := leadsTo()
	was = false
	if after := leadsTo(); after == before {
		t.Errorf("it still leads to %s", after)
	}
}

// formerly is a connection that was made when localhost led elsewhere.
type formerly struct{ net.Conn }

func (formerly) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5432} }
