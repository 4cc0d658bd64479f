package queue_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/gate"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/queue"
)

// What a failure says comes from anywhere, and it is written with its result. A database that cannot hold all of it takes the rest: else the message
// could be neither delayed nor buried, for ever.
func TestAnyTextIsWrittenInADatabaseOfAnyEncoding(t *testing.T) {
	t.Parallel()
	const most = 2000 + 20 // bytes; a few become more of them
	const text, who = "Müller: Ω 例 🙂 \u2028 \x00 \xff", "consumer Ω"
	for encoding, wanted := range map[string]string{
		"UTF8":      "Müller: Ω 例 🙂 \u2028 \ufffd \ufffd",
		"LATIN1":    "M?ller: ? ? ? ? ? ?",
		"SQL_ASCII": "M?ller: ? ? ? ? ? ?",
		"EUC_JP":    "M?ller: ? ? ? ? ? ?",
	} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			b := open(t, dbtest.NewEncoded(t, encoding))
			if got := dbtest.One[string](b.DB, `show server_encoding`); got != encoding {
				t.Fatalf("the database's encoding is %s", got)
			}
			ids := b.Publish(5)
			read := b.read(5)
			e := entries(read...)
			for i := range e {
				e[i].Reason, e[i].Error = message.ReasonPermanent, text+strings.Repeat("…", 1000)
				e[i].History = queue.NewHistoryRow(&read[i], queue.OutcomeFailed, true, read[i].Leased)
			}
			if known, err := b.Start(b.ctx, b.conn, e[0], who); !known || err != nil {
				t.Errorf("start: %t, %v", known, err)
			}
			b.wantIDs(b.confirmed(b.Nack(b.ctx, b.conn, e[:1], who)), ids[0])
			b.wantIDs(b.confirmed(b.NackMessageOnly(b.ctx, b.conn, e[1:2], who)), ids[1])
			b.wantIDs(b.confirmed(b.Bury(b.ctx, b.conn, e[2:3], who)), ids[2])
			b.wantIDs(b.confirmed(b.Release(b.ctx, b.conn, e[3:4], who)), ids[3])
			b.wantIDs(b.confirmed(b.Ack(b.ctx, b.conn, e[4:], who)), ids[4])
			e[4].Unsure = true
			if fates, err := b.Fates(b.ctx, b.conn, e[4:], who); err != nil || fates[e[4].Lease] != queue.Done {
				t.Errorf("an ack of ours is not known as such: %v, %v", fates, err)
			}
			for _, id := range []int64{ids[0], ids[2]} {
				if told := b.Order(id).LastError; told == nil || !strings.HasPrefix(*told, wanted) || len(*told) > most {
					t.Errorf("order %d is told %v", id, told)
				}
			}
			if n := dbtest.One[int](b.DB, `select count(*) from orderflow.history where error like $1`, wanted+"%"); n != 4 {
				t.Errorf("%d of 4 failures are in the history", n)
			}
			if again := b.next(ids[1]); !strings.HasPrefix(again.LastError, wanted) || len(again.LastError) > most {
				t.Errorf("%+v", again)
			}

			if unreported, err := b.Report(b.ctx, b.conn, &queue.Report{Key: who, Name: who, State: "idle"}); unreported != "" || err != nil {
				t.Errorf("report: %s, %v", unreported, err)
			}
			if mine, err := b.ClaimFindings(b.ctx, b.conn); !mine || err != nil {
				t.Errorf("claim: %t, %v", mine, err)
			}
			if err := b.StoreFindings(b.ctx, b.conn, who, []byte(`[{"finding": "Ω…"}]`)); err != nil {
				t.Error(err)
			}
			if _, err := b.Pause(b.ctx, b.conn, who); err != nil {
				t.Error(err)
			}
			if _, err := b.ChangeGate(b.ctx, b.conn, func(g queue.GateRow) gate.State { g.Reason = text; return g.State }); err != nil {
				t.Error(err)
			}
		})
	}
}

// Moments at the ends of what Postgres has are no reason for a read to fail: it would for ever, and with it all others.
func TestAMessageOfAnyMomentIsRead(t *testing.T) {
	for name, change := range map[string]string{
		"the first, and somebody has read it": `update pgmq.q_order_queue set enqueued_at = '4714-11-24 00:00:00+00 BC', read_ct = 1`,
		"the last, of its order as well": `update pgmq.q_order_queue set enqueued_at = '294276-12-31 23:59:59.999999+00',
			message = message || '{"created_at": "294276-12-31T23:59:59.999999+00:00"}'`,
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			ids := b.Publish(1)
			b.Exec(change)
			if f, err := b.Fetch(b.ctx, b.conn, bounds(1), time.Minute); err != nil || len(f.Messages) != 1 || f.Messages[0].ID != ids[0] {
				t.Fatalf("%+v, %v", f, err)
			}
		})
	}
}

// What a server says to who cannot connect, while it starts up for instance, is no answer to a statement: the results that wait for a connection
// are to be written before anything is read.
func TestWhoCannotConnectHasNoAnswer(t *testing.T) {
	b := setup(t)
	elsewhere, err := url.Parse(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere.Path = "/there_is_no_such_database"
	_, err = pgx.Connect(b.ctx, elsewhere.String())
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		t.Fatalf("the server says nothing: %v", err)
	}
	if queue.Answered(err) || queue.Classify(err) != queue.Refused {
		t.Errorf("taken for an answer: %v", err)
	}
	if _, err := b.conn.Exec(b.ctx, `select 1/0`); !queue.Answered(err) {
		t.Errorf("taken for none: %v", err)
	}
}

// Without its row nothing names the installation, and that is said.
func TestAnInstallationWithoutItsRowIsNamedAsSuch(t *testing.T) {
	b := setup(t)
	b.Exec(`truncate orderflow.installation`)
	if err := b.ReadInstallation(b.ctx, b.conn); !errors.Is(err, queue.ErrNoInstallation) {
		t.Error(err)
	}
}
