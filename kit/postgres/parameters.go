package postgres

import (
	"crypto/tls"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/dial"
)

// reading is an address whose parameters are being read.
type reading struct {
	jdbc     bool
	out      map[string]string // parameters as pgx knows them
	settings map[string]string // of the session
	ignored  []string

	keep           dial.KeepAlive
	shuffle        bool
	hosts, addrs   []string
	minTLS, maxTLS uint16
	fallbackName   string
	verify         bool   // sslaccept=strict
	ssl            string // an sslmode by another name
	pooled         *bool  // pgbouncer=
}

//go:embed settings.txt
var settingsFile string

// settings are the names of a session's settings that a server may know.
var settings = func() map[string]bool {
	known := make(map[string]bool)
	for line := range strings.Lines(settingsFile) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			known[line] = true
		}
	}
	return known
}()

// passed are parameters that pgx reads itself.
var passed = words(`host port dbname database user password passfile connect_timeout sslmode sslkey sslcert sslcertmode sslrootcert
	sslnegotiation sslpassword sslsni krbspn krbsrvname service servicefile min_protocol_version max_protocol_version
	channel_binding require_auth options application_name statement_cache_capacity description_cache_capacity default_query_exec_mode`)

// renamed are parameters that pgx knows by another name.
var renamed = map[string]string{
	"dbname":             "database",
	"applicationname":    "application_name", // JDBC, as what follows
	"connecttimeout":     "connect_timeout",
	"kerberosservername": "krbsrvname",
	"channelbinding":     "channel_binding",
}

// meaningless are parameters of other clients, about what those clients do and this one does in its own way, if at all.
var meaningless = words(`
	authtype tty gsslib gssdelegation sslcompression sslkeylogfile client_encoding encoding charset
	oauth_issuer oauth_client_id oauth_client_secret oauth_scope
	pool_max_conns pool_min_conns pool_min_idle_conns pool_max_conn_lifetime pool_max_conn_idle_time pool_health_check_period
	pool_max_conn_lifetime_jitter pool_ping_timeout
	schema connection_limit pool_timeout socket_timeout max_idle_connection_lifetime single_use_connections statement_cache_size
	workaround row_security
	prepared_statement_cache_size prepared_statement_name_func async_fallback command_timeout timeout max_cached_statement_lifetime
	max_cacheable_statement_size prepare_threshold autocommit connection_factory cursor_factory
	currentschema preparethreshold preparedstatementcachequeries preparedstatementcachesizemib defaultrowfetchsize logintimeout sockettimeout
	cancelsignaltimeout hostrecheckseconds readonly readonlymode binarytransfer binarytransferenable binarytransferdisable stringtype
	rewritebatchedinserts assumeminserverversion autosave cleanupsavepoints preferquerymode receivebuffersize sendbuffersize
	maxsendbuffersize logunclosedconnections loggerlevel loggerfile protocolversion jaaslogin jaasapplicationname usespnego sspiserviceclass
	escapesyntaxcallmode quotereturningidentifiers databasemetadatacachefields databasemetadatacachefieldsmib unknownlength maxresultbuffer
	allowencodingchanges disablecolumnsanitiser hideunprivilegedobjects logservererrordetail adaptivefetch adaptivefetchminimum
	adaptivefetchmaximum groupstartupparameters xmlfactoryfactory querytimeout sslresponsetimeout sslhostnameverifier sslpasswordcallback
	gssresponsetimeout tcpnodelay
	pool pool_size max_connections min_connections statement-cache-capacity uselibpqcompat binary_parameters disable_prepared_binary_result
	prepared_statements checkout_timeout reaping_frequency idle_timeout conn_max_age conn_health_checks disable_server_side_cursors`)

// impossible are parameters that ask for something that this client cannot do, and that would be missed.
var impossible = map[string]string{
	"requirepeer": "the server's user is not checked", "sslcrl": "certificates are not checked for having been revoked",
	"sslcrldir": "certificates are not checked for having been revoked", "scram_client_key": "a password is needed",
	"scram_server_key": "a password is needed", "sslidentity": "give the certificate as sslcert and sslkey",
	"socketfactory": "there are no Java classes here", "authenticationpluginclassname": "there are no Java classes here",
	"localsocketaddress": "the local address cannot be chosen",
}

func words(text string) map[string]bool {
	set := make(map[string]bool)
	for _, word := range strings.Fields(text) {
		set[word] = true
	}
	return set
}

// parameter reads one. Names are compared without regard to case: libpq's are lower, JDBC's are mixed.
func (r *reading) parameter(given, value string) error {
	key := strings.ToLower(given)
	if setting := variable.FindStringSubmatch(key); setting != nil { // as Rails writes them, which has settings there and nothing else
		if key, given = setting[1], setting[1]; !settings[key] && !strings.Contains(key, ".") {
			return fmt.Errorf("there is no parameter variables[%s], and no session setting of that name; for a setting newer than this program write options=-c %s=…", given, given)
		}
		r.settings[key] = value
		return nil
	}
	if known, ok := r.special(key, value); ok {
		return wrong(given, value, known)
	}
	if other, ok := renamed[key]; ok {
		key = other
	}
	switch {
	case key == "host":
		r.hosts = append(r.hosts, strings.Split(value, ",")...)
	case passed[key]:
		r.out[key] = value
	case impossible[key] != "":
		return fmt.Errorf("parameter %s cannot be honoured: %s", given, impossible[key])
	case settings[key], strings.Contains(key, "."):
		r.settings[given] = value
	case meaningless[key]:
		r.ignored = append(r.ignored, given)
	default:
		return fmt.Errorf("there is no parameter %s, and no session setting of that name; for a setting newer than this program write options=-c %s=…", given, given)
	}
	return nil
}

// wrong says what is wrong with a value, and shows it where nothing in it can be a password: what follows a separator that is none might be.
func wrong(name, value string, err error) error {
	switch {
	case err == nil:
		return nil
	case plain.MatchString(value):
		return fmt.Errorf("parameter %s=%s: %w", name, value, err)
	}
	return fmt.Errorf("parameter %s: %w", name, err)
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_.-]*$`)

// writers are the values of target_session_attrs that a server which takes writes satisfies. No other server is ever used, see [Route], so
// they make no difference.
var writers = []string{"read-write", "primary", "any", "prefer-standby"}

// special reads parameters that mean something which pgx has another way for. The error is about the value.
func (r *reading) special(key, value string) (err error, ok bool) { //nolint:revive // whether it is one decides what the error means
	switch key {
	case "keepalives", "tcpkeepalive":
		r.keep.Enable, err = boolean(value)
	case "keepalives_idle":
		err = seconds(value, &r.keep.Idle)
	case "keepalives_interval":
		err = seconds(value, &r.keep.Interval)
	case "keepalives_count":
		err = natural(value, &r.keep.Count)
	case "tcp_user_timeout":
		var ms int
		if err = natural(value, &ms); ms > 0 {
			r.keep.Unacknowledged = time.Duration(ms) * time.Millisecond
		}
	case "load_balance_hosts":
		r.shuffle = value == "random"
		err = oneOf(value, "random", "disable")
	case "loadbalancehosts":
		r.shuffle, err = boolean(value)
	case "hostaddr":
		r.addrs = strings.Split(value, ",")
		for _, addr := range r.addrs {
			if addr != "" && net.ParseIP(addr) == nil {
				err = errors.New("must be IP addresses, one for each host")
			}
		}
	case "gssencmode":
		r.ignored = append(r.ignored, key)
		if strings.EqualFold(value, "require") {
			err = errors.New("connections encrypted by GSSAPI cannot be made; disable or prefer can be honoured")
		}
	case "replication":
		on, wrongValue := boolean(value)
		if on || wrongValue != nil {
			err = errors.New("replication connections execute no statements: leave it out")
		}
	case "pgbouncer": // Prisma
		var on bool
		if on, err = boolean(value); err == nil {
			r.pooled = &on
		}
	case "fallback_application_name":
		r.fallbackName = value
	case "requiressl":
		on, wrongValue := boolean(value)
		if err = wrongValue; on {
			r.ssl = "require"
		}
	case "ssl":
		err = r.sslMode(strings.ToLower(value))
	case "sslmode":
		if strings.EqualFold(value, "no-verify") { // node-postgres
			value = "require"
		}
		r.out[key] = strings.ToLower(value)
	case "sslaccept": // Prisma
		r.verify = value == "strict"
		err = oneOf(value, "strict", "accept_invalid_certs")
	case "sslfactory": // JDBC
		if strings.HasSuffix(value, ".NonValidatingFactory") {
			r.ssl = "require"
		} else {
			r.ignored = append(r.ignored, key)
		}
	case "ssl_min_protocol_version":
		r.minTLS, err = tlsVersion(value)
	case "ssl_max_protocol_version":
		r.maxTLS, err = tlsVersion(value)
	case "target_session_attrs":
		err = oneOf(value, writers...)
	case "targetservertype": // JDBC
		err = oneOf(strings.ToLower(value), "any", "primary", "master", "preferprimary", "prefersecondary", "preferslave")
	default:
		return nil, false
	}
	return err, true
}

// sslMode reads ssl=, which is true or false, or an sslmode as asyncpg has it.
func (r *reading) sslMode(value string) error {
	switch value {
	case "disable", "allow", "prefer", "require", "verify-ca", "verify-full":
		r.ssl = value
		return nil
	case "no-verify":
		r.ssl = "require"
		return nil
	}
	on, err := boolean(value)
	switch {
	case err != nil:
		return errors.New("must be true, false or what sslmode may be")
	case !on:
		r.ssl = "disable"
	case r.jdbc && r.ssl == "":
		r.ssl = "verify-full" // as JDBC has it
	case r.ssl == "":
		r.ssl = "require"
	}
	return nil
}

// finish settles what depends on several parameters; named says that there are hosts before them.
func (r *reading) finish(named bool) {
	if r.out["sslmode"] == "" && r.ssl != "" {
		r.out["sslmode"] = r.ssl
	}
	if mode := r.out["sslmode"]; r.verify && (mode == "" || mode == "prefer" || mode == "allow" || mode == "require") {
		r.out["sslmode"] = "verify-full"
	}
	if r.out["application_name"] == "" && r.fallbackName != "" {
		r.out["application_name"] = r.fallbackName
	}
	if len(r.hosts) == 0 && !named {
		r.hosts = r.addrs
	}
	if len(r.hosts) == 0 {
		return
	}
	// SQLAlchemy has several hosts as host=a:5432&host=b:5433.
	ports, own := make([]string, len(r.hosts)), false
	for i, host := range r.hosts {
		before, port, found := strings.Cut(host, ":")
		if _, err := strconv.ParseUint(port, 10, 16); found && err == nil {
			r.hosts[i], ports[i], own = before, port, true
		}
	}
	r.out["host"] = strings.Join(r.hosts, ",")
	if own {
		r.out["port"] = strings.Join(ports, ",")
	}
}

// findFiles looks for the files that the address names. pgx's own error would read as one of the address.
func (r *reading) findFiles() error {
	for _, parameter := range []string{"sslrootcert", "sslcert", "sslkey"} {
		path := r.out[parameter]
		if path == "" || parameter == "sslrootcert" && path == "system" {
			continue
		}
		file, err := os.Open(path) //nolint:gosec // the operator names it
		if err == nil {
			err = file.Close()
		}
		if err != nil {
			why := err
			if p := (*os.PathError)(nil); errors.As(err, &p) {
				why = p.Err
			}
			return elsewhere(fmt.Sprintf("its %s is the file %s, which cannot be read: %v (in Kubernetes: has the Secret that key?)", parameter, path, why))
		}
	}
	return nil
}

// hostAddresses are those that hostaddr gives to the hosts of an address, in their order. A host may stand there once for each of its addresses.
func (r *reading) hostAddresses(base string) (map[string][]string, error) {
	if len(r.addrs) == 0 {
		return nil, nil
	}
	hosts := r.hosts
	if len(hosts) == 0 { // they are before the parameters
		hosts = hostsOf(base)
	}
	if len(hosts) != len(r.addrs) {
		return nil, fmt.Errorf("parameter hostaddr: must be IP addresses, one for each host: there are %d for %d (a host may be named once for each of its addresses)", len(r.addrs), len(hosts))
	}
	addresses := make(map[string][]string)
	for i, host := range hosts {
		if r.addrs[i] != "" {
			addresses[host] = append(addresses[host], r.addrs[i])
		}
	}
	return addresses, nil
}

// limitTLS applies the versions of TLS that were asked for.
func (r *reading) limitTLS(config *pgx.ConnConfig) error {
	if r.minTLS > 0 && r.maxTLS > 0 && r.minTLS > r.maxTLS {
		return errors.New("ssl_min_protocol_version is above ssl_max_protocol_version")
	}
	limit := func(c *tls.Config) {
		if c == nil {
			return
		}
		if r.minTLS > 0 {
			c.MinVersion = r.minTLS
		}
		if r.maxTLS > 0 {
			c.MaxVersion = r.maxTLS
		}
	}
	limit(config.TLSConfig)
	for _, f := range config.Fallbacks {
		limit(f.TLSConfig)
	}
	return nil
}

// byHost are the ways to each host, with TLS and without it, in their order.
func byHost(config *pgx.ConnConfig) (hosts [][]*pgconn.FallbackConfig) {
	all := append([]*pgconn.FallbackConfig{{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}}, config.Fallbacks...)
	for i, f := range all {
		if i > 0 && all[i-1].Host == f.Host && all[i-1].Port == f.Port {
			hosts[len(hosts)-1] = append(hosts[len(hosts)-1], f)
			continue
		}
		hosts = append(hosts, []*pgconn.FallbackConfig{f})
	}
	return hosts
}

// shuffle puts the hosts into an order of this process's own, and leaves together what belongs to one host.
func shuffle(config *pgx.ConnConfig) {
	hosts := byHost(config)
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	all := slices.Concat(hosts...)
	config.Host, config.Port, config.TLSConfig, config.Fallbacks = all[0].Host, all[0].Port, all[0].TLSConfig, all[1:]
}

func boolean(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "1", "true", "on", "yes", "t", "y":
		return true, nil
	case "0", "false", "off", "no", "f", "n":
		return false, nil
	}
	return false, errors.New("must be 1 or 0")
}

// natural reads a number. Zero means the default, as for libpq.
func natural(text string, target *int) error {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return errors.New("must be a whole number")
	}
	if n > 0 {
		*target = int(n) //nolint:gosec // 31 bits
	}
	return nil
}

func seconds(text string, target *time.Duration) error {
	var n int
	if err := natural(text, &n); err != nil {
		return err
	}
	if n > 0 {
		*target = time.Duration(n) * time.Second
	}
	return nil
}

func oneOf(value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return errors.New("must be " + strings.Join(allowed, " or "))
}

func tlsVersion(text string) (uint16, error) {
	version, ok := map[string]uint16{
		"": 0, "tlsv1": tls.VersionTLS10, "tlsv1.0": tls.VersionTLS10, "tlsv1.1": tls.VersionTLS11, "tlsv1.2": tls.VersionTLS12, "tlsv1.3": tls.VersionTLS13,
	}[strings.ToLower(text)]
	if !ok {
		return 0, errors.New("must be TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3")
	}
	return version, nil
}
