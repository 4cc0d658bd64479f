package consumer_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"orderflow.example/kit/await"
	"orderflow.example/services/consumer/consumer"
	"orderflow.example/services/consumer/internal/dbtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const shop = `create schema shop; create table shop.shipments (order_id bigint, product text, quantity bigint)`

// run consumes until the test, or what it returns, ends it. Of the built-in handlers' settings nothing is looked at.
func run(t *testing.T, db *dbtest.DB, h consumer.HandlerFunc, settings ...string) (stop func()) {
	t.Helper()
	settings = append([]string{
		"DATABASE_URL=" + db.URL, "METRICS_PORT=-1", "LOG_LEVEL=warn", "HANDLER=nonsense", "EFFECT_FUNCTION=nonsense", "WEBHOOK_SECRETS=nonsense", "SIMULATE_WORK=nonsense", "BACKOFF_BASE=1ms", "BACKOFF_MAX=10ms", "MAX_ATTEMPTS=3",
	}, settings...)
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- consumer.Run(ctx, h) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func settled(t *testing.T, db *dbtest.DB) dbtest.Audit {
	t.Helper()
	var a dbtest.Audit
	await.True(t, "every order has an end", func() bool { a = db.Audit(); return a.Pending == 0 && a.Queued == 0 })
	return a
}

// wrong are the orders whose number of shipments is not what their status says.
func wrong(db *dbtest.DB) []string {
	return dbtest.All[string](db, `
		select format('order %s is %s and has %s shipments', o.id, o.status, count(s.order_id))
		  from public.orders as o left join shop.shipments as s on s.order_id = o.id
		 group by o.id, o.status
		having count(s.order_id) <> case when o.status = 'completed' then 1 else 0 end`)
}

func TestAHandlerSeesItsOrder(t *testing.T) {
	db := dbtest.New(t)
	db.Publish(1)
	seen := make(chan consumer.Order, 1)
	stop := run(t, db, func(_ context.Context, o *consumer.Order) error {
		seen <- *o
		return nil
	})
	o := <-seen
	settled(t, db)
	stop()
	created := dbtest.One[time.Time](db, `select created_at from public.orders`)
	if o.ID != 1 || o.CustomerName != "Customer 1" || o.ProductName != "Product 1" || o.Quantity != 2 || o.Attempt != 1 || !o.CreatedAt.Equal(created) ||
		!strings.HasPrefix(o.Price.String(), "11") || !strings.HasPrefix(o.Key, "order-1-") || o.Traceparent == "" || !strings.Contains(string(o.Body), "Customer 1") {
		t.Errorf("%+v", o)
	}
}

// What is left to the ack happens once for each completed order, and is undone with what fails, which is the order's own failure.
func TestWhatIsLeftToTheAckIsCommittedWithIt(t *testing.T) {
	db := dbtest.New(t)
	db.Exec(shop)
	db.Publish(100)
	stop := run(t, db, func(_ context.Context, o *consumer.Order) error {
		insert := o.InAck(`insert into shop.shipments values ($1, $2, $3)`, o.ID, o.ProductName, o.Quantity)
		switch {
		case o.ID == 10:
			o.InAck(`select 1 / ($1::integer - 10)`, o.ID)
		case o.ID == 20:
			insert.Exec(func(pgconn.CommandTag) error { return consumer.Permanent(errors.New("not what was expected")) })
		case o.ID == 30:
			o.InAck(`insert into shop.nowhere values (1)`) // fails when it is prepared
		case o.ID == 40:
			o.InAck(`select $1::integer`, make(chan int)) // fails before it is sent
		case o.ID == 80:
			o.InAck(`select $1::integer`, 1, 2) // likewise
		case o.ID == 50:
			o.InAck(`commit`)
		case o.ID == 60:
			insert.Exec(func(pgconn.CommandTag) error { panic("over a result") })
		case o.ID == 90:
			o.InAck(`select $1::text`, panicking{})
		case o.ID == 95:
			insert.Exec(func(pgconn.CommandTag) error { return (*failure)(nil) })
		case o.ID == 70 && o.Attempt == 1:
			return errors.New("not the first time")
		}
		return nil
	})
	await.True(t, "every order has an end", func() bool { a := db.Audit(); return a.Completed == 91 && a.Dead == 9 })
	for id, want := range map[int64]string{
		10: "division by zero (SQLSTATE 22012)", 20: "not what was expected", 30: `"shop.nowhere" does not exist`, 40: "failed to encode", 80: "argument", 50: "must not begin or end a transaction", 60: "panic", 90: "panic", 95: "panic",
	} {
		if o := db.Order(id); o.LastError == nil || !strings.Contains(*o.LastError, want) {
			t.Errorf("order %d: %+v: not %s", id, o, want)
		}
	}
	if n := dbtest.One[int](db, `select count(*) from public.orders where status = 'completed' and attempts <> case id when 70 then 2 else 1 end`); n != 0 {
		t.Errorf("%d orders were charged for another's failure", n)
	}
	stop()
	if wrong := wrong(db); len(wrong) > 0 {
		t.Error(wrong)
	}
}

// panicking is an argument that cannot be encoded.
type panicking struct{}

func (panicking) Value() (driver.Value, error) { panic("over an argument") }

// failure is an error that has nothing to say when it is nil.
type failure struct{ text string }

func (f *failure) Error() string { return f.text }

// What a handler counts is served where the program's own metrics are.
func TestMetricsOfTheHandlerAreServed(t *testing.T) {
	db := dbtest.New(t)
	handled := prometheus.NewCounter(prometheus.CounterOpts{Name: "shop_handled_total", Help: "Orders that the shop has handled."})
	consumer.Metrics.MustRegister(handled)
	t.Cleanup(func() { consumer.Metrics.Unregister(handled) })
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = log // the port is in the log
	t.Cleanup(func() { os.Stderr = stderr; _ = log.Close() })
	stop := run(t, db, func(context.Context, *consumer.Order) error {
		handled.Inc()
		return nil
	}, "METRICS_HOST=127.0.0.1", "METRICS_PORT=0", "LOG_LEVEL=info", "LOG_FORMAT=json")
	defer stop()
	db.Publish(3)
	settled(t, db)
	lines, err := os.ReadFile(log.Name())
	if err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`"address":"(127\.0\.0\.1:\d+)"`).FindSubmatch(lines)
	if address == nil {
		t.Fatalf("no address in the log:\n%s", lines)
	}
	defer http.DefaultClient.CloseIdleConnections()
	answer, err := http.Get("http://" + string(address[1]) + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%d %v", answer.StatusCode, err)
	}
	for _, want := range []string{"\nshop_handled_total 3\n", "\norderflow_consumer_messages_in_flight 0\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestAWrongConfigurationIsReturned(t *testing.T) {
	t.Setenv("VT", "-1")
	if err := consumer.Run(t.Context(), consumer.HandlerFunc(nil)); err == nil || !strings.Contains(err.Error(), "VT=") {
		t.Errorf("%v", err)
	}
}

// The example is built as anybody else would build it: in a module of its own, which finds ours and kit by replace. It has the commands of the
// shipped program, and when it is killed over and over, each order has one effect.
func TestAProgramOfSomebodyElses(t *testing.T) {
	db := dbtest.New(t)
	db.Exec(shop)
	directory := t.TempDir()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../examples/shipments/main.go")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"main.go": string(source), "go.sum": string(sums),
		"go.mod": fmt.Sprintf("module shop.example/shipments\n\ngo 1.26.0\n\nrequire orderflow.example/services/consumer v0.0.0\n\n"+
			"replace (\n\torderflow.example/services/consumer => %s/services/consumer\n\torderflow.example/kit => %s/kit\n)\n", root, root),
	} {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-mod=mod", "-o", "shipments", ".")
	build.Dir = directory
	build.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	program := func(arguments ...string) *exec.Cmd {
		c := exec.CommandContext(t.Context(), filepath.Join(directory, "shipments"), arguments...)
		c.Env = append(os.Environ(), "DATABASE_URL="+db.URL, "VT=1", "METRICS_PORT=-1", "BATCH_SIZE=10")
		return c
	}
	if output, err := program("doctor").CombinedOutput(); err != nil || !strings.Contains(string(output), "schema") {
		t.Errorf("doctor: %v\n%s", err, output)
	}
	const orders = 500
	db.Publish(orders)
	for kill := range 5 {
		c := program()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		await.True(t, "it gets on", func() bool { return db.Audit().Completed > kill*orders/10 })
		_ = c.Process.Kill()
		_ = c.Wait() // killed
	}
	c := program()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	await.True(t, "all orders are completed", func() bool { return db.Audit().Completed == orders })
	_ = c.Process.Signal(syscall.SIGTERM)
	if err := c.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	if wrong := wrong(db); len(wrong) > 0 {
		t.Error(wrong)
	}
}
