// Package postgres owns how a program gets to PostgreSQL: what DATABASE_URL may say, how connections are dialled, what every session is
// set to, and which errors will not pass by waiting.
//
// It must never end the program because the database is away, never repeat a statement, and never show a password. It knows no tables.
package postgres

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/dial"
	"orderflow.example/kit/pooling"
)

// Address is DATABASE_URL, read: where the database is, and how to connect to it.
type Address struct {
	config   *pgx.ConnConfig
	keep     dial.KeepAlive
	hostAddr map[string][]string // addresses of hosts that are not to be looked up
	settings map[string]string   // of the session
	ignored  []string
	password *password // of a file; nil: config's
	route    *Route
	pooler   *pooler // what is known of one in between
}

// Allowed is what an error says that an address must be.
func (*Address) Allowed() string {
	return "postgres://user:password@host:port/database?parameter=value or the libpq form host=… port=… dbname=…"
}

// Parse reads an address: a URL (also SQLAlchemy's postgresql+driver:// and JDBC's jdbc:postgresql://) or key=value pairs. Parameters
// that other clients have are mapped where they mean something here, and are [Address.Ignored] where they do not. Anything else is an
// error that names the parameter. Errors do not show the password.
func Parse(text string) (Address, error) {
	var a Address
	return a, a.Decode(text)
}

// Decode is [Parse], for envconfig.
func (a *Address) Decode(text string) error {
	base, pairs, err := split(strings.TrimSpace(text))
	if err != nil {
		return err
	}
	r := &reading{
		out: make(map[string]string), settings: make(map[string]string), keep: dial.Default,
		jdbc: strings.HasPrefix(strings.TrimSpace(text), "jdbc:"),
	}
	for _, p := range pairs {
		if err := r.parameter(p.name, p.value); err != nil {
			return err
		}
	}
	r.finish(namesHosts(base))
	config, err := r.parse(base)
	if err != nil {
		return err
	}
	fromFile, err := findPassword(config)
	if err != nil {
		return err
	}
	if err := r.limitTLS(config); err != nil {
		return err
	}
	addresses, err := r.hostAddresses(base)
	if err != nil {
		return err
	}
	if r.shuffle {
		shuffle(config)
	}
	*a = Address{config: config, keep: r.keep, settings: r.settings, ignored: r.ignored, hostAddr: addresses, password: fromFile, pooler: &pooler{told: r.pooled}}
	a.route = a.newRoute()
	return nil
}

// parse has pgx read an address.
func (r *reading) parse(base string) (*pgx.ConnConfig, error) {
	// Without its parameters first: pgx's own errors may quote the part with the password.
	if _, err := pgx.ParseConfig(base); err != nil {
		if _, err := pgx.ParseConfig("host=localhost"); err != nil { // by TCP, with which alone variables about TLS are read
			return nil, elsewhere("one of libpq's variables, whose names begin with PG, has a value that cannot be read")
		}
		return nil, errors.New("user, password, host, port or database cannot be read: percent-encode special characters in a password")
	}
	if err := r.findFiles(); err != nil {
		return nil, err
	}
	config, err := pgx.ParseConfig(join(base, r.out))
	if err != nil {
		return nil, r.atFault(base, err)
	}
	if err := misread(config); err != nil {
		return nil, err
	}
	return config, r.checkPassword(base, config)
}

// elsewhere says that something is wrong that an address names, and not the address.
type elsewhere string

func (e elsewhere) Error() string    { return string(e) }
func (e elsewhere) Sentence() string { return string(e) }

// Config is what pgx connects with. Application is the session's name, and timeout how long one attempt to connect to one host may take;
// both unless the address says otherwise. The connections have the settings of [session] and of the address.
func (a Address) Config(application string, timeout time.Duration) *pgx.ConnConfig {
	config := a.config.Copy()
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = timeout
	}
	if config.RuntimeParams["application_name"] == "" {
		const longest = 63 // NAMEDATALEN - 1
		config.RuntimeParams["application_name"] = strings.ToValidUTF8(application[:min(len(application), longest)], "")
	}
	// pgx speaks UTF-8. In a database of another encoding the server's default would be that one, and store each byte of a letter as one.
	config.RuntimeParams["client_encoding"] = "UTF8"
	config.DialFunc = a.keep.Dial
	if len(a.hostAddr) > 0 {
		config.LookupFunc = a.lookup(config.LookupFunc)
	}
	if a.route != nil {
		a.route.apply(&config.Config)
	}
	pooling.Prepare(&config.Config)
	if a.password != nil {
		a.password.apply(&config.Config)
	}
	config.AfterConnect = a.session(&config.Config)
	return config
}

func (a Address) newRoute() *Route {
	r := &Route{several: len(a.hosts()) > 1}
	for _, host := range a.hosts() {
		name, _, err := net.SplitHostPort(host)
		if err == nil && net.ParseIP(name) == nil && !strings.HasPrefix(name, "/") && len(a.hostAddr[name]) == 0 {
			r.hosts = append(r.hosts, name)
		}
	}
	return r
}

// Route is the way to the server that takes writes, which all connections by this address share; nil for the zero address.
func (a Address) Route() *Route { return a.route }

// Ignored are the names of the parameters that mean nothing here.
func (a Address) Ignored() []string { return slices.Clone(a.ignored) }

// User is the role that connects.
func (a Address) User() string {
	if a.config == nil {
		return ""
	}
	return a.config.User
}

// String is the address as it may be shown: made from its parts, so that the password cannot be among them.
func (a Address) String() string {
	if a.config == nil {
		return ""
	}
	u := url.URL{Scheme: "postgres", User: url.User(a.config.User), Path: "/" + a.config.Database}
	if strings.HasPrefix(a.config.Host, "/") {
		u.RawQuery = url.Values{"host": {a.config.Host}, "port": {strconv.Itoa(int(a.config.Port))}}.Encode()
	} else {
		u.Host = strings.Join(a.hosts(), ",")
	}
	return u.String()
}

// hosts are those of the address, each once.
func (a Address) hosts() []string {
	hosts := []string{hostPort(a.config.Host, a.config.Port)}
	for _, f := range a.config.Fallbacks { // with TLS and without it
		if host := hostPort(f.Host, f.Port); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

func hostPort(host string, port uint16) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s:%d", host, port)
}

type pair struct{ name, value string }

var (
	// scheme is that of a URL. SQLAlchemy puts the Python driver behind it; JDBC puts itself before it.
	scheme = regexp.MustCompile(`^(?:jdbc:)?postgres(?:ql)?(?:\+[a-z0-9_]+)?://`)
	// name is what a parameter's name looks like. What does not may be part of a password, and is not shown.
	name = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
	// variable is how Rails writes a session's setting.
	variable = regexp.MustCompile(`^variables\[([A-Za-z_][A-Za-z0-9_.-]*)\]$`)
)

// split takes an address apart: the part without parameters, fit for pgx, and the parameters. In the key=value form everything is one.
func split(text string) (base string, pairs []pair, err error) {
	prefix := scheme.FindString(text)
	if prefix == "" {
		if before, _, url := strings.Cut(text, "://"); url && !strings.ContainsAny(before, "= ") {
			return "", nil, errors.New("its scheme is neither postgres:// nor postgresql://")
		}
		if !strings.Contains(text, "=") {
			return "", nil, errors.New("it is neither a URL nor key=value pairs")
		}
		pairs, err = keyValues(text)
		return "", pairs, err
	}
	rest := text[len(prefix):]
	userinfo := ""
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' { // as libpq looks for it
		userinfo, rest = rest[:i+1], rest[i+1:]
	}
	rest, query, _ := strings.Cut(rest, "?")
	if strings.Contains(rest, "@") {
		return "", nil, errors.New("@ and / in a password have to be written as %40 and %2F")
	}
	pairs, err = queryPairs(query)
	return "postgres://" + userinfo + rest, pairs, err
}

// namesHosts tells whether there are hosts in the part without parameters.
func namesHosts(base string) bool {
	_, rest, _ := strings.Cut(base, "://")
	rest = rest[strings.Index(rest, "@")+1:]
	return rest != "" && !strings.ContainsAny(rest[:1], ":/")
}

// hostsOf are the names of hosts in the part without parameters, without their ports.
func hostsOf(base string) (hosts []string) {
	_, rest, _ := strings.Cut(base, "://")
	rest, _, _ = strings.Cut(rest[strings.Index(rest, "@")+1:], "/")
	for host := range strings.SplitSeq(rest, ",") {
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
		if plain, err := url.PathUnescape(host); err == nil {
			host = plain
		}
		hosts = append(hosts, host)
	}
	return hosts
}

// queryPairs reads a URL's parameters. Unlike in forms, a plus sign is one.
func queryPairs(query string) (pairs []pair, err error) {
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		key, value, found := strings.Cut(part, "=")
		if plain, err := url.PathUnescape(key); err == nil && variable.MatchString(plain) {
			key = plain
		}
		if !found || !name.MatchString(key) && !variable.MatchString(key) {
			return nil, errors.New("its parameters must be name=value, with & between them")
		}
		if value, err = url.PathUnescape(value); err != nil {
			return nil, fmt.Errorf("parameter %s is not percent-encoded correctly", key)
		}
		if runsOn(key, value, false) {
			return nil, fmt.Errorf("parameter %s goes on with what looks like another: there is & between a URL's parameters, no semicolon or comma", key)
		}
		pairs = append(pairs, pair{key, value})
	}
	return pairs, nil
}

// keyValues reads libpq's key=value form: values with spaces are quoted, and a backslash takes the next character as it is.
func keyValues(text string) (pairs []pair, err error) {
	const space = " \t\n\r\v\f"
	for text = strings.TrimLeft(text, space); text != ""; text = strings.TrimLeft(text, space) {
		key, rest, found := strings.Cut(text, "=")
		key = strings.TrimRight(key, space)
		if !found || !name.MatchString(key) {
			return nil, errors.New("its parts must be name=value, with spaces between them, and values with spaces in single quotes")
		}
		rest = strings.TrimLeft(rest, space)
		quoted := strings.HasPrefix(rest, "'")
		if quoted {
			rest = rest[1:]
		}
		var value strings.Builder
		i := 0
		for ; i < len(rest); i++ {
			switch c := rest[i]; {
			case c == '\\' && i+1 < len(rest):
				i++
				value.WriteByte(rest[i])
				continue
			case c == '\\':
				continue
			case quoted && c == '\'' || !quoted && strings.IndexByte(space, c) >= 0:
			default:
				value.WriteByte(c)
				continue
			}
			break
		}
		if quoted {
			if i >= len(rest) {
				return nil, fmt.Errorf("the quotation of %s has no end", key)
			}
			i++
		}
		rest = rest[min(i, len(rest)):]
		if !quoted && runsOn(key, value.String(), len(pairs) == 0 && strings.TrimLeft(rest, space) == "") {
			return nil, errSeparators
		}
		pairs = append(pairs, pair{key, value.String()})
		text = rest
	}
	return pairs, nil
}

// join puts parameters behind an address.
func join(base string, parameters map[string]string) string {
	var b strings.Builder
	b.WriteString(base)
	separator := "?"
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		if base == "" {
			fmt.Fprintf(&b, "%s='%s' ", key, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(parameters[key]))
			continue
		}
		b.WriteString(separator + key + "=" + strings.ReplaceAll(url.QueryEscape(parameters[key]), "+", "%20"))
		separator = "&"
	}
	return b.String()
}

// Note logs which parameters of the address mean nothing here, when there are some.
func (a Address) Note(log *slog.Logger) {
	if len(a.ignored) > 0 {
		log.Info("DATABASE_URL has parameters that mean nothing here", "ignored", strings.Join(a.ignored, ", "))
	}
}
