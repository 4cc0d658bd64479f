package effect_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/testdb"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/handler"
)

func TestNamesAreReadAsSQLWritesThem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"shop.fulfil":          "shop.fulfil",
		"Shop.FulFil":          "shop.fulfil",
		`"Shop"."ful.fil"`:     `"Shop"."ful.fil"`,
		`shop."say ""hello"""`: `shop."say ""hello"""`,
		"fulfil":               "",
		"a.b.c":                "",
		"shop.fulfil()":        "",
		"shop.":                "",
		`shop."x`:              "",
		"shop.x y":             "",
	} {
		name, err := effect.ParseName(text)
		if (err == nil) != (want != "") {
			t.Errorf("%s: %v", text, err)
		}
		if err == nil && effect.NewFunction(name).String() != want {
			t.Errorf("%s is read as %s", text, effect.NewFunction(name))
		}
	}
}

// Something in between, such as a proxy, may answer without a SQLSTATE: then the failure is the order's.
func TestAnErrorWithoutACodeIsAFailure(t *testing.T) {
	t.Parallel()
	for code, unavailable := range map[string]bool{"": false, "5": false, "53": true, "53100": true} {
		err := effect.Failure(t.Context(), nil, &pgconn.PgError{Code: code, Message: "no room"})
		if handler.IsUnavailable(err) != unavailable || !strings.Contains(err.Error(), "no room") {
			t.Errorf("%q: %v", code, err)
		}
	}
}

// Whoever looks at a function that cannot be called is told what to do, in words that do it.
func TestWhatIsWrongWithAFunctionIsSaidWithWhatToDo(t *testing.T) {
	t.Parallel()
	db := dbtest.New(t)
	role := "effect_test_" + fmt.Sprint(os.Getpid())
	db.Exec(`create role ` + role)
	t.Cleanup(func() { db.Exec(`drop owned by ` + role + `; drop role ` + role) })
	conn, err := pgx.Connect(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	if _, err := conn.Exec(t.Context(), `set role `+role); err != nil {
		t.Fatal(err)
	}
	f := effect.NewFunction(pgx.Identifier{"shop", "fulfil"})
	look := func() effect.Description {
		d, err := f.Describe(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, step := range []struct {
		before          string
		problem, advice string
		argument        string
	}{
		{``, "no schema shop", "create it", ""},
		{`create schema shop`, "no function shop.fulfil", "public.orders[]", ""},
		{`create function shop.fulfil(bigint) returns void language sql as ''`, "shop.fulfil(bigint)", "public.orders[]", ""},
		{`create procedure shop.fulfil(orders public.orders[]) language sql as ''`, "takes neither", "create a function", ""},
		{`drop procedure shop.fulfil(public.orders[]); create function shop.fulfil(o public.orders) returns void language sql stable as '';
		  revoke execute on function shop.fulfil(public.orders) from public`, "may not use the schema shop", "grant usage on schema", "order"},
		{`grant usage on schema shop to ` + role, "may not execute", "grant execute on function shop.fulfil", "order"},
		{`grant execute on function shop.fulfil(public.orders) to ` + role, "STABLE", "alter function shop.fulfil", "order"},
		{`alter function shop.fulfil(public.orders) volatile`, "", "", "order"},
		{`alter function shop.fulfil(public.orders) security definer`, "", "set search_path", "order"},
		{`alter function shop.fulfil(public.orders) set search_path = pg_catalog, pg_temp`, "", "", "order"},
		{`create function shop.fulfil(orders public.orders[]) returns void language sql as ''`, "", "", "orders"},
	} {
		if step.before != "" {
			db.Exec(step.before)
		}
		d := look()
		if !strings.Contains(d.Problem, step.problem) || (step.problem == "") != (d.Problem == "") ||
			!strings.Contains(d.Advice, step.advice) || (step.advice == "") != (d.Advice == "") || d.Argument != step.argument {
			t.Errorf("after %q: %+v", step.before, d)
		}
		err := f.Prepare(t.Context(), conn)
		if unfit := new(effect.UnfitError); errors.As(err, &unfit) != (step.problem != "") {
			t.Errorf("after %q it is prepared: %v", step.before, err)
		}
	}
}

func TestWhoseFaultAFailureIs(t *testing.T) {
	t.Parallel()
	const limit = time.Second
	pg := func(code string) error {
		return fmt.Errorf("wrapped: %w", &pgconn.PgError{Code: code, SeverityUnlocalized: "ERROR"})
	}
	for _, test := range []struct {
		err  error
		took time.Duration
		want effect.Fault
	}{
		{pg("P0001"), 0, effect.Own},
		{pg("23505"), 0, effect.Own},
		{pg("08001"), 0, effect.Own}, // of a function that connects to somewhere: no word about our connection
		{pg("53200"), 0, effect.Own},
		{pg("42P01"), 0, effect.Own},
		{pg("40001"), 0, effect.Conflict},
		{pg("40P01"), 0, effect.Conflict},
		{pg("55P03"), 0, effect.Conflict},
		{pg("57014"), limit, effect.Overrun},
		{pg("57014"), limit / 10, effect.Cancelled},
		{&pgconn.PgError{Code: "57P01", SeverityUnlocalized: "FATAL"}, 0, effect.Lost},
		{&pgconn.PgError{Code: "28000", SeverityUnlocalized: "FATAL"}, 0, effect.Lost},
		{&pgconn.PgError{Code: "08P01", Severity: "FATAL"}, 0, effect.Lost}, // of a pooler, which has no other severity
		{&pgconn.PgError{Code: "58000", Severity: "FATAL"}, 0, effect.Lost},
		{&pgconn.PgError{Code: "57P02", Severity: "PANIC"}, 0, effect.Lost},
		{&pgconn.PgError{Code: "08P01", Severity: "ERROR"}, 0, effect.Own},
		{&effect.FailedError{Err: errFailed}, 0, effect.Own},
		{&effect.UnfitError{Why: "x"}, 0, effect.Unfit},
		{context.Canceled, 0, effect.Lost},
	} {
		if got := effect.Judge(test.err, test.took, limit); got != test.want {
			t.Errorf("%v after %s: %d, not %d", test.err, test.took, got, test.want)
		}
	}
}

var errFailed = errors.New("no row was changed")

func TestWhatASQLSTATEMeansForTheOrder(t *testing.T) {
	t.Parallel()
	db := dbtest.New(t)
	conn, err := pgx.Connect(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	for _, test := range []struct {
		code, detail         string
		permanent, blameless bool
		delay                time.Duration // where the backoff would be a minute
	}{
		{"P0001", "", false, false, time.Minute},
		{effect.Permanent, "", true, false, time.Minute},
		{effect.RetryAfter, "90 seconds", false, false, 90 * time.Second},
		{effect.RetryAfter, "00:01:30", false, false, 90 * time.Second},
		{effect.RetryAfter, "90", false, false, 90 * time.Second},
		{effect.RetryAfter, "-5 minutes", false, false, 0},
		{effect.RetryAfter, "1 year", false, false, 24 * time.Hour},
		{effect.RetryAfter, "soon", false, false, time.Minute},
		{effect.RetryAfter, "", false, false, time.Minute},
		{effect.Unavailable, "", false, true, time.Minute},
		{effect.Unavailable, "30 s", false, true, time.Minute + 30*time.Second},
		{"42P01", "", false, true, time.Minute},
		{"42501", "", false, true, time.Minute},
		{"08001", "", false, true, time.Minute},
		{"0A000", "", false, true, time.Minute}, // a write in a function that is declared STABLE
		{"26000", "", false, true, time.Minute},
		{"53100", "", false, true, time.Minute},
		{"23505", "", false, false, time.Minute},
	} {
		err := effect.Failure(t.Context(), conn, &pgconn.PgError{Code: test.code, Detail: test.detail, Message: "why"})
		if handler.IsPermanent(err) != test.permanent || handler.IsUnavailable(err) != test.blameless || handler.Delay(err, time.Minute) != test.delay {
			t.Errorf("%s %q: permanent %t, blameless %t, delay %s", test.code, test.detail,
				handler.IsPermanent(err), handler.IsUnavailable(err), handler.Delay(err, time.Minute))
		}
		if err.Error() != "why (SQLSTATE "+test.code+")" {
			t.Errorf("the order is told: %v", err)
		}
	}
}

// When one order's look at its result has failed, nobody looks at those of the others, whose transaction is over.
func TestAfterAFailureNoOtherResultIsLookedAt(t *testing.T) {
	t.Parallel()
	conn := testdb.Connect(t, dbtest.New(t).URL)
	looks := func(look func(pgconn.CommandTag) error) *pgx.Batch {
		b := &pgx.Batch{}
		b.Queue(`select 1`).Exec(look)
		return b
	}
	fails, looked := errors.New("not what was expected"), false
	err := effect.Statements{}.Run(t.Context(), conn, []effect.Order{
		{ID: 1, Work: looks(func(pgconn.CommandTag) error { return nil })},
		{ID: 2, Work: looks(func(pgconn.CommandTag) error { return fails })},
		{ID: 3, Work: looks(func(pgconn.CommandTag) error { looked = true; return nil })},
	})
	var failed *effect.FailedError
	if !errors.As(err, &failed) || failed.At != 1 || looked {
		t.Errorf("%v, and the third is looked at: %t", err, looked)
	}
}

func TestStatementsThatEndTheTransactionAreRefused(t *testing.T) {
	t.Parallel()
	for sql, allowed := range map[string]bool{
		"insert into t values (1)": true, "/* commit */ select 1": true, "-- rollback\nupdate t set a = 1": true, "": true, "committed": true,
		"commit": false, "  COMMIT and chain": false, "/* a /* nested */ comment */ rollback": false, "-- so\n;end": false, "abort;": false,
		"begin": false, "start transaction": false, "prepare transaction 'x'": false, "savepoint s": false, "release s": false,
	} {
		if err := effect.Allowed(sql); (err == nil) != allowed || err != nil && !errors.Is(err, effect.ErrTransaction) {
			t.Errorf("%q: %v", sql, err)
		}
	}
}
