package postgres_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/env"
	"orderflow.example/kit/postgres"
)

func TestAddressesAreRead(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"postgres://me:s3cret@db.example:5433/orders",
		"postgresql://me:s3cret@db.example:5433/orders?sslmode=disable",
		"postgresql+psycopg2://me:s3cret@db.example:5433/orders",
		"postgresql+asyncpg://me:s3cret@db.example:5433/orders?ssl=require",
		"postgres+psycopg://me:s3cret@db.example:5433/orders",
		"jdbc:postgresql://db.example:5433/orders?user=me&password=s3cret",
		"host=db.example port=5433 user=me password=s3cret dbname=orders",
		" host=db.example port=5433 user=me password='s3cret' dbname=orders sslmode=disable \n",
		`host = db.example port= 5433 user =me password='s3cret' dbname='orders'`,
		"postgres:///orders?host=db.example&port=5433&user=me&password=s3cret",
		"postgres:///orders?host=db.example:5433&user=me&password=s3cret",
		"postgres://me:s3cret@db.example:5433/orders?",
	} {
		a, err := postgres.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		c := a.Config("test", time.Second)
		if c.Host != "db.example" || c.Port != 5433 || c.User != "me" || c.Password != "s3cret" || c.Database != "orders" || c.ConnectTimeout != time.Second {
			t.Errorf("%s: read as %s:%d %s %s", text, c.Host, c.Port, c.User, c.Database)
		}
		if shown := fmt.Sprint(a); shown != "postgres://me@db.example:5433/orders" {
			t.Errorf("%s: shown as %s", text, shown)
		}
	}
}

func TestAwkwardPasswordsAreRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"postgres://u:a%40b%2Fc%3Ad%3F@h/d":      "a@b/c:d?",
		"postgres://u:a?b&c=d@h/d":               "a?b&c=d",
		"postgres://u@h/d?password=a+b%26%25":    "a+b&%",
		`host=h password='it''s' user=u`:         "it",
		`host=h password='it\'s \\ it' user=u`:   `it's \ it`,
		`host=h password=a\ b user=u`:            "a b",
		`host=h user=u password=`:                "",
		`host=h user=u password='' dbname='d'`:   "",
		`host=h user=u password=pound£ dbname=d`: "pound£",
	} {
		a, err := postgres.Parse(text)
		if strings.Contains(text, "''s") {
			if err == nil {
				t.Errorf("%s was taken", text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := a.Config("", time.Second).Password; got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestWhatCannotBeReadIsRefusedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "nonsense", "postgres://me:s3cret@db:port/x", "postgres://me:s3cr@et@db:x/", "mysql://me:s3cret@db/x", "postress://me:s3cret@db/x", "postress://x?s3cret",
		"host=db port=x password=s3cret", "host=db password='s3cret it''s'", "host=db password='s3cret", "host=db s3cret", "postgres://db:x/?password=s3cret&user=me",
		// Each of these has an equals sign, by which pgx takes it for key=value pairs.
		"postgress://me:s3cret@db/x?sslmode=disable", "mysql://me:s3cret@db/x?charset=utf8", "postgres:/me:s3cret@db/x?a=b", "http://me:s3cret@db/x?a=b host=db",
		"me:s3cret@db/x", "me:s3cr/et@db:5432/x?a=b",
		// What was meant as a password would be read as a port and a database.
		"postgres://me:12/s3cret@db/x", "postgres://me:s3cr%zzet@db/x", "postgres://me:s3cret@db/x?s3cret", "postgres://me:s3cret@db/x?s3cr!et=b", "postgres://me:s3cret@db/x?user=%zzs3cret",
		"postgres://me:s3cret@a,b,c:1,2/x?port=1,2", "postgres://me:s3cret@db/x\x00", "jdbc:postgresql:x", "postgres://me:s3cret@[::1/x",
		// What separates the parts elsewhere would belong to the first of them: to the host, which is looked up, or to the database, which is shown.
		"Host=db;Port=5432;Username=u;Password=s3cret;Database=orders", "Host=db,Port=5432,Username=u,Password=s3cret,Database=orders",
		"Host=db; Port=5432; User=u; Password=s3cret; Database=orders", "Database=orders;Host=db;Password=s3cret", "Password=s3cret;Host=db;User=u", "Pooling=true;Password=s3cret",
		"Timeout=15;Host=db;Password=s3cret", "Statement_Timeout=15;Host=db;Password=s3cret", "Host='db;Password=s3cret'", "host=db hostaddr=::1;Password=s3cret", "host=db hostaddr='::1;Password=s3cret'",
		"jdbc:postgresql://db;user=u;password=s3cret", "jdbc:postgresql://db:5432/orders;user=u;password=s3cret", "postgres://db/x?keepalives=1;password=s3cret", "jdbc:postgresql://db/x?user=u;password=s3cret",
		"postgres://u;password=s3cret@db/x", "postgres://u@db/x?application_name=a;password=s3cret", "postgres://u@db/x?statement_timeout=5s;%20password=s3cret", `postgres://db"s3cret"/x`,
	} {
		_, err := postgres.Parse(text)
		if err == nil {
			t.Errorf("%s was taken", text)
			continue
		}
		if said := err.Error(); strings.Contains(said, "s3cr") || strings.Contains(said, "\n") {
			t.Errorf("%s: %s", text, said)
		}
	}
}

// parameters are those that people have in their addresses, by where they come from. Each that is taken must also connect.
var parameters = []struct {
	query   string
	ignored string // names, with spaces between them
	wrong   string // what the error says; empty: it is taken
}{
	// libpq
	{query: "keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=3"},
	{query: "keepalives=0"},
	{query: "keepalives=perhaps", wrong: "parameter keepalives=perhaps: must be 1 or 0"},
	{query: "keepalives_idle=soon", wrong: "parameter keepalives_idle=soon: must be a whole number"},
	{query: "tcp_user_timeout=10000"},
	{query: "tcp_user_timeout=-1", wrong: "tcp_user_timeout"},
	{query: "gssencmode=disable", ignored: "gssencmode"},
	{query: "gssencmode=require", wrong: "parameter gssencmode=require: connections encrypted by GSSAPI cannot be made"},
	{query: "load_balance_hosts=random"},
	{query: "load_balance_hosts=disable"},
	{query: "load_balance_hosts=yes", wrong: "must be random or disable"},
	{query: "target_session_attrs=read-write"},
	{query: "target_session_attrs=primary"},
	{query: "target_session_attrs=any"},
	{query: "target_session_attrs=standby", wrong: "parameter target_session_attrs=standby: must be read-write or primary"},
	{query: "target_session_attrs=read-only", wrong: "must be read-write"},
	{query: "sslmode=prefer"},
	{query: "sslmode=sometimes", wrong: "parameter sslmode=sometimes: must be disable, allow, prefer, require, verify-ca or verify-full"},
	{query: "sslmode=disable&sslrootcert=/no/such/file", wrong: "its sslrootcert is the file /no/such/file, which cannot be read"},
	{query: "channel_binding=prefer"},
	{query: "channel_binding=perhaps", wrong: "parameter channel_binding=perhaps: must be disable, prefer or require"},
	{query: "options=-c%20geqo%3Doff"},
	{query: "options=-cgeqo=off"},
	{query: "connect_timeout=10"},
	{query: "connect_timeout=soon", wrong: "parameter connect_timeout=soon: must be a whole number of seconds"},
	{query: "application_name=mine"},
	{query: "fallback_application_name=mine"},
	{query: "passfile=/no/such/file"},
	{query: "krbsrvname=postgres&gsslib=gssapi&gssdelegation=0", ignored: "gsslib gssdelegation"},
	{query: "replication=false"},
	{query: "replication=database", wrong: "parameter replication=database: replication connections execute no statements"},
	{query: "replication=1", wrong: "replication"},
	{query: "sslcompression=0&requiressl=0&sslsni=1&sslcertmode=allow", ignored: "sslcompression"},
	{query: "ssl_min_protocol_version=TLSv1.2&ssl_max_protocol_version=TLSv1.3"},
	{query: "ssl_min_protocol_version=SSLv3", wrong: "must be TLSv1"},
	{query: "ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2", wrong: "is above"},
	{query: "require_auth=scram-sha-256,md5,none,password"},
	{query: "min_protocol_version=3.0"},
	{query: "client_encoding=latin1", ignored: "client_encoding"},
	{query: "client_encoding=auto", ignored: "client_encoding"},
	{query: "requirepeer=postgres", wrong: "parameter requirepeer cannot be honoured"},
	{query: "sslcrl=/crl.pem", wrong: "parameter sslcrl cannot be honoured"},
	{query: "service=none", wrong: "service"},
	// Settings of a session
	{query: "statement_timeout=5000&search_path=public&work_mem=8MB&TimeZone=UTC&jit=off"},
	{query: "app.tenant=one"},
	{query: "row_security=on", ignored: "row_security"},
	{query: "variables[statement_timeout]=5s&variables%5Bjit%5D=off&variables[app.tenant]=a"}, // Rails
	// SQLAlchemy, psycopg, asyncpg
	{query: "ssl=prefer&prepared_statement_cache_size=0&command_timeout=60", ignored: "prepared_statement_cache_size command_timeout"},
	{query: "ssl=false&async_fallback=true", ignored: "async_fallback"},
	{query: "ssl=perhaps", wrong: "parameter ssl=perhaps: must be true, false or what sslmode may be"},
	{query: "prepare_threshold=0", ignored: "prepare_threshold"},
	// Prisma
	{query: "schema=public", ignored: "schema"},
	{query: "pgbouncer=true&connection_limit=1&pool_timeout=10&socket_timeout=5", ignored: "connection_limit pool_timeout socket_timeout"},
	{query: "sslaccept=accept_invalid_certs&statement_cache_size=0", ignored: "statement_cache_size"},
	{query: "sslaccept=perhaps", wrong: "must be strict or accept_invalid_certs"},
	{query: "sslidentity=client.p12", wrong: "parameter sslidentity cannot be honoured: give the certificate as sslcert and sslkey"},
	// pgx and pgxpool
	{query: "pool_max_conns=5&pool_min_conns=1&pool_max_conn_lifetime=1h", ignored: "pool_max_conns pool_min_conns pool_max_conn_lifetime"},
	{query: "statement_cache_capacity=100&default_query_exec_mode=cache_statement"},
	// JDBC
	{query: "currentSchema=public&prepareThreshold=0&sslfactory=org.postgresql.ssl.DefaultJavaSSLFactory&ApplicationName=mine", ignored: "currentSchema prepareThreshold sslfactory"},
	{query: "tcpKeepAlive=true&connectTimeout=10&socketTimeout=30&reWriteBatchedInserts=true&loggerLevel=OFF", ignored: "socketTimeout reWriteBatchedInserts loggerLevel"},
	{query: "targetServerType=primary&loadBalanceHosts=true&channelBinding=prefer"},
	{query: "targetServerType=fastest", wrong: "parameter targetServerType=fastest: must be any"},
	{query: "gssEncMode=disable", ignored: "gssencmode"},
	// Others
	{query: "sslmode=disable&uselibpqcompat=true&pool_size=5&encoding=utf8", ignored: "uselibpqcompat pool_size encoding"},
	{query: "binary_parameters=yes", ignored: "binary_parameters"},
	// Mistakes
	{query: "sslmod=disable", wrong: "there is no parameter sslmod, and no session setting of that name"},
	{query: "lock_timout=5s", wrong: "there is no parameter lock_timout"},
	{query: "zeitlimit=5", wrong: "there is no parameter zeitlimit"},
	{query: "variables[host]=db", wrong: "there is no parameter variables[host]"},
}

// What a person sees of a wrong address, as other settings are read, names what is wrong with it.
func TestWhatIsWrongWithAnAddressIsNamed(t *testing.T) {
	t.Parallel()
	const separators = "are separated by spaces"
	for text, want := range map[string]string{
		"postgres://u:s3cret@h/d?connect_timeout=10s":                              "parameter connect_timeout=10s: must be a whole number of seconds",
		"postgres://u:s3cret@h/d?channelBinding=on":                                "parameter channel_binding=on: must be disable, prefer or require",
		"host=a,b port=1,2 sslmode=on password=s3cret":                             "parameter sslmode=on: must be disable, allow, ",
		"postgres://u:s3cret@a,b/d?port=1,2,3":                                     "parameter port: must be a number from 1 to 65535, for all hosts or for each",
		"host=h port=x password=s3cret":                                            "parameter port=x: must be a number from 1 to 65535",
		"host=h port=0 connect_timeout=5 password=s3cret":                          "parameter port=0: must be a number from 1 to 65535",
		"host=h require_auth=x password=s3cret":                                    "parameter require_auth=x: must be names of methods",
		"host=h sslcertmode=x password=s3cret":                                     "parameter sslcertmode=x: must be disable, allow or require",
		"host=h max_protocol_version=4 password=s3cret":                            "parameter max_protocol_version=4: must be 3.0, 3.2 or latest",
		"host=h min_protocol_version=3.2 max_protocol_version=3.0 password=s3cret": "the parameters host, max_protocol_version, min_protocol_version, password do not go together",
		"host=h statement_cache_capacity=some password=s3cret":                     "parameter statement_cache_capacity=some: must be a whole number",
		"host=h default_query_exec_mode=fast password=s3cret":                      "parameter default_query_exec_mode=fast: must be cache_statement, ",
		"postgres://u:s3cret@h/d?variables[time]=5s":                               "there is no parameter variables[time]",
		"postgres://u:s3cret@h/d?sslcert=/dev/null":                                `both "sslcert" and "sslkey" are required`,
		"Host=db;Port=5432;Username=u;Password=s3cret;Database=orders":             separators,
		"Host=db,Port=5432,Username=u,Password=s3cret,Database=orders":             separators,
		"jdbc:postgresql://db;user=u;password=s3cret":                              "a host has no ; = quotes or white space",
		"jdbc:postgresql://db/orders;user=u;password=s3cret":                       "its parameters come behind a ?",
		"postgres://u:s3cret%0A@h/d":                                               "its password has white space or an invisible character at an end",
		"host=h password='s3cret '":                                                "its password has white space or an invisible character at an end",
		"postgres://u@h/d?password=s3cret%E2%80%8B":                                "its password has white space or an invisible character at an end",
	} {
		var settings struct {
			URL postgres.Address `envconfig:"DATABASE_URL" secret:"url"`
		}
		err := env.Read(func(name string) (string, bool) {
			if name == "DATABASE_URL" {
				return text, true
			}
			return "", false
		}, &settings).Err()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestParametersOfOtherClients(t *testing.T) {
	t.Parallel()
	base := server(t)
	base.RawQuery = ""
	for _, test := range parameters {
		t.Run(test.query, func(t *testing.T) {
			t.Parallel()
			text := base.String() + "?" + test.query
			a, err := postgres.Parse(text)
			if test.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), test.wrong) {
					t.Fatalf("%v, want %s", err, test.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(a.Ignored(), " "); !strings.EqualFold(got, test.ignored) {
				t.Errorf("ignored are %s, want %s", got, test.ignored)
			}
			conn, err := pgx.ConnectConfig(t.Context(), a.Config("orderflow-test", 30*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(context.Background()) }()
			var encoding, rows, name string
			if err := conn.QueryRow(t.Context(), `select current_setting('client_encoding'), current_setting('row_security'), current_setting('application_name')`).Scan(&encoding, &rows, &name); err != nil {
				t.Fatal(err)
			}
			want := "orderflow-test"
			if strings.Contains(test.query, "mine") {
				want = "mine"
			}
			if encoding != "UTF8" || rows != "off" || name != want {
				t.Errorf("client_encoding %s, row_security %s, application_name %s", encoding, rows, name)
			}
		})
	}
}

func TestTheAddressSaysHowLongConnectingMayTake(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"postgres://h/db?connect_timeout=7": 7 * time.Second, "postgres://h/db": 30 * time.Second} {
		a, err := postgres.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Config("test", 30*time.Second).ConnectTimeout; got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
}

func TestSettingsInTheAddressAreTheSessions(t *testing.T) {
	t.Parallel()
	u := server(t)
	q := u.Query()
	q.Set("statement_timeout", "5432")
	q.Set("app.tenant", "it's one")
	q.Set("options", "-c lock_timeout=4321")
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	a, err := postgres.Parse(u.String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(t.Context(), a.Config("test", 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for name, want := range map[string]string{"statement_timeout": "5432ms", "app.tenant": "it's one", "lock_timeout": "4321ms"} {
		var got string
		if err := conn.QueryRow(t.Context(), `select current_setting($1)`, name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, %v", name, got, err)
		}
	}
}

func TestModesOfTLS(t *testing.T) {
	t.Parallel()
	const unverified = "jdbc:postgresql://h/d?ssl=true&sslfactory=org.postgresql.ssl.NonValidatingFactory"
	for text, want := range map[string]struct {
		tls, verified, fallback bool
	}{
		"postgres://u@h/d":                                  {true, false, true},
		"postgres://u@h/d?ssl=true":                         {true, false, false},
		"postgresql+asyncpg://u@h/d?ssl=require":            {true, false, false},
		"postgresql+asyncpg://u@h/d?ssl=verify-full":        {true, true, false},
		"postgres://u@h/d?ssl=0":                            {false, false, false},
		"postgres://u@h/d?sslmode=no-verify":                {true, false, false},
		"postgres://u@h/d?sslmode=disable&ssl=true":         {false, false, false},
		"postgres://u@h/d?sslaccept=strict":                 {true, true, false},
		"postgres://u@h/d?sslmode=require&sslaccept=strict": {true, true, false},
		"postgres://u@h/d?requiressl=1":                     {true, false, false},
		"postgres://u@h/d?sslrootcert=system":               {true, true, false},
		"jdbc:postgresql://h/d?user=u&ssl=true":             {true, true, false},
		unverified:                                          {true, false, false},
	} {
		a, err := postgres.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		c := a.Config("test", time.Second)
		got := want
		got.tls, got.verified, got.fallback = c.TLSConfig != nil, c.TLSConfig != nil && !c.TLSConfig.InsecureSkipVerify, len(c.Fallbacks) > 0
		if got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}

// Versions that the address forbids are not spoken to any host, and the system's own limits hold where it says nothing.
func TestVersionsOfTLS(t *testing.T) {
	t.Parallel()
	for query, want := range map[string][2]uint16{
		"":                                 {0, 0},
		"ssl_min_protocol_version=TLSv1.3": {tls.VersionTLS13, 0},
		"ssl_max_protocol_version=TLSv1.2": {0, tls.VersionTLS12},
		"ssl_min_protocol_version=TLSv1.2&ssl_max_protocol_version=TLSv1.3": {tls.VersionTLS12, tls.VersionTLS13},
	} {
		a, err := postgres.Parse("postgres://u@a,b/d?sslmode=prefer&" + query)
		if err != nil {
			t.Fatal(err)
		}
		c := a.Config("test", time.Second)
		all := []*tls.Config{c.TLSConfig}
		for _, f := range c.Fallbacks {
			if f.TLSConfig != nil {
				all = append(all, f.TLSConfig)
			}
		}
		if len(all) != 2 {
			t.Fatalf("%d ways with TLS to two hosts", len(all))
		}
		for i, way := range all {
			if got := [2]uint16{way.MinVersion, way.MaxVersion}; got != want {
				t.Errorf("%s: versions %x to host %d, want %x", query, got, i, want)
			}
		}
	}
}

func TestSeveralHosts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"postgres://u@a:1,b:2/d?sslmode=disable":                         "postgres://u@a:1,b:2/d",
		"postgresql+psycopg://u@/d?host=a:1&host=b:2&ssl=false":          "postgres://u@a:1,b:2/d",
		"postgresql+asyncpg://u@/d?host=a,b&port=1,2":                    "postgres://u@a:1,b:2/d",
		"host=a,b port=1,2 user=u dbname=d target_session_attrs=primary": "postgres://u@a:1,b:2/d",
		"postgres://u@[::1]:1/d":                                         "postgres://u@[::1]:1/d",
		"host=/var/run/postgresql user=u dbname=d port=1":                "postgres://u@/d?host=%2Fvar%2Frun%2Fpostgresql&port=1",
		"postgresql://u@%2Fvar%2Frun%2Fpostgresql:1/d":                   "postgres://u@/d?host=%2Fvar%2Frun%2Fpostgresql&port=1",
		"host='/my sockets;a=b' user=u dbname=d port=1":                  "postgres://u@/d?host=%2Fmy+sockets%3Ba%3Db&port=1",
	} {
		a, err := postgres.Parse(text)
		if err != nil || a.String() != want {
			t.Errorf("%s: %s, %v", text, a, err)
		}
	}
	first := map[string]bool{}
	for range 200 {
		a, err := postgres.Parse("postgres://u@a:1,b:2,c:3/d?load_balance_hosts=random")
		if err != nil {
			t.Fatal(err)
		}
		c := a.Config("test", time.Second)
		hosts := []string{c.Host}
		for _, f := range c.Fallbacks { // with TLS and without it
			hosts = append(hosts, f.Host)
		}
		if len(hosts) != 6 || hosts[0] != hosts[1] || hosts[2] != hosts[3] || hosts[4] != hosts[5] {
			t.Fatalf("what belongs to one host is torn apart: %v", hosts)
		}
		first[c.Host] = true
	}
	if len(first) != 3 {
		t.Errorf("the first is one of %v", first)
	}
}

// hostaddr says where a host is, which then needs no name server.
func TestHostAddressesAreNotLookedUp(t *testing.T) {
	t.Parallel()
	u := server(t)
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	ips, err := net.DefaultResolver.LookupHost(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = "no-such-host.invalid:" + port
	u.RawQuery = "sslmode=disable&hostaddr=" + ips[0]
	a, err := postgres.Parse(u.String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(t.Context(), a.Config("test", 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(context.Background())
	if _, err := postgres.Parse("postgres://h/d?hostaddr=h"); err == nil {
		t.Error("a name was taken for an address")
	}
	for _, text := range []string{"postgres://h/d?hostaddr=10.0.0.1,10.0.0.2", "postgres://h,i/d?hostaddr=10.0.0.1", "host=h hostaddr=10.0.0.1,10.0.0.2"} {
		if _, err := postgres.Parse(text); err == nil || !strings.Contains(err.Error(), "one for each host") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// With hostaddr a host still has its name: by that its certificate is verified, and its password found.
func TestAHostWithAnAddressKeepsItsName(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, hosts, addresses string }{
		{"postgres://u@a/d?hostaddr=10.0.0.1", "a", "10.0.0.1"},
		{"postgres://u@a:1,b:2/d?hostaddr=10.0.0.1,10.0.0.2", "a b", "10.0.0.1 10.0.0.2"},
		{"postgres://u@a,b,c/d?hostaddr=10.0.0.1,10.0.0.2,10.0.0.3&load_balance_hosts=random", "a b c", "10.0.0.1 10.0.0.2 10.0.0.3"},
		{"postgres://u@/d?host=a,b&hostaddr=10.0.0.1,10.0.0.2", "a b", "10.0.0.1 10.0.0.2"},
		{"host=a,b user=u hostaddr=10.0.0.1,10.0.0.2", "a b", "10.0.0.1 10.0.0.2"},
		{"postgres://u@/d?hostaddr=10.0.0.1", "10.0.0.1", "10.0.0.1"},
		{"postgres://u@:5432/d?hostaddr=10.0.0.1", "10.0.0.1", "10.0.0.1"},
		{"postgres://u@pg,pg/d?hostaddr=10.0.0.1,10.0.0.2", "pg", "10.0.0.1 10.0.0.2"},
		{"user=u hostaddr=10.0.0.1,10.0.0.2", "10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"},
	} {
		a, err := postgres.Parse(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		c := a.Config("test", time.Second)
		hosts := []string{c.Host}
		for _, f := range c.Fallbacks { // with TLS and without it
			if !slices.Contains(hosts, f.Host) {
				hosts = append(hosts, f.Host)
			}
		}
		slices.Sort(hosts)
		var addresses []string
		for _, host := range hosts {
			found, err := c.LookupFunc(t.Context(), host)
			if err != nil {
				t.Errorf("%s: %v", test.text, err)
			}
			addresses = append(addresses, found...)
		}
		if got := strings.Join(hosts, " "); got != test.hosts || strings.Join(addresses, " ") != test.addresses {
			t.Errorf("%s: hosts %s at %v", test.text, got, addresses)
		}
	}
}

// The environment belongs to the process: this test does not run beside others.
func TestAPasswordFromTheEnvironmentIsASecretLikeOthers(t *testing.T) {
	for _, password := range []string{"s3cret\n", "\ufeffs3cret", "s3cret\u200b", "s3cret "} {
		t.Setenv("PGPASSWORD", password)
		if _, err := postgres.Parse("postgres://u@h/d"); err == nil || !strings.Contains(err.Error(), "PGPASSWORD has white space") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", password, err)
		}
		if _, err := postgres.Parse("postgres://u:right@h/d"); err != nil {
			t.Errorf("it is not used: %v", err)
		}
	}
	t.Setenv("PGPASSWORD", "s3cret")
	if a, err := postgres.Parse("postgres://u@h/d"); err != nil || a.Config("", time.Second).Password != "s3cret" {
		t.Error(err)
	}
	t.Setenv("PGPASSWORD", "")
	file := filepath.Join(t.TempDir(), "passfile")
	if err := os.WriteFile(file, []byte("*:*:*:*:s3cret\u200b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Parse("postgres://u@h/d?passfile=" + file); err == nil || !strings.Contains(err.Error(), "the passfile") || strings.Contains(err.Error(), "s3cret") {
		t.Error(err)
	}
	for name, value := range map[string]string{"PGCONNECT_TIMEOUT": "10s", "PGSSLROOTCERT": "/no/such/file"} { // that one is read for TCP only
		t.Setenv(name, value)
		if _, err := postgres.Parse("postgres://u:s3cret@h/d"); err == nil || !strings.Contains(err.Error(), "libpq's variables") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
		t.Setenv(name, "")
	}
}

func TestIgnoredParametersAreACopy(t *testing.T) {
	t.Parallel()
	a, err := postgres.Parse("postgres://h/d?schema=public")
	if err != nil {
		t.Fatal(err)
	}
	a.Ignored()[0] = "x"
	if !slices.Equal(a.Ignored(), []string{"schema"}) {
		t.Error(a.Ignored())
	}
}

func FuzzErrorsShowNoPassword(f *testing.F) {
	for _, seed := range []string{"postgres://user:", "host=h password=", "jdbc:postgresql://h/d?password=", "postgres://h:1/d?x=1&password=", "Host=h;Password=", "jdbc:postgresql://h;password="} {
		f.Add(seed, "@host/db?x=1")
		f.Add(seed, " user=u")
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "S3cr3t"
		if strings.Contains(before+after, secret) || strings.Contains(before+after, "/") && strings.Contains(after, "service") {
			return
		}
		for _, text := range []string{
			"postgres://user:" + secret + "@" + after, "postgres://user:" + secret + after, "host=h password=" + secret + after, "postgres://h/d?password=" + secret + after,
			"Host=h;Port=1;Password=" + secret + after, "Database=d;Password=" + secret + after, "jdbc:postgresql://h/d;password=" + secret + after,
		} {
			if a, err := postgres.Parse(text); strings.Contains(fmt.Sprint(a, err), secret) {
				t.Errorf("%q: %s, %v", text, a, err)
			}
		}
	})
}
