package postgres

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// Refusal says in words why the server will refuse every attempt to connect until somebody changes something: a permanent error, which is
// no outage. It is empty for everything else, as for a server that is away. It names nothing that is not for everybody to see; the error
// itself says more.
func Refusal(err error) string {
	var (
		connect   *pgconn.ConnectError
		server    *pgconn.PgError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
	)
	if !errors.As(err, &connect) {
		return ""
	}
	for _, refused := range []error{errStatementMode, errNoSecond} {
		if errors.Is(err, refused) {
			return refused.Error()
		}
	}
	switch {
	case errors.As(err, &server):
		return refusals[server.Code]
	case errors.As(err, &authority), errors.As(err, &hostname), errors.As(err, &invalid), errors.As(err, &verify):
		return "database's certificate is not accepted"
	case strings.Contains(err.Error(), "server refused TLS connection"):
		return "database does not speak TLS, which sslmode requires"
	}
	return ""
}

// refusals by SQLSTATE. Not all that they mean here is in their names.
var refusals = map[string]string{
	pgerrcode.InvalidPassword:                   "database refuses the password", // also an unknown role, which the server does not tell from that
	pgerrcode.InvalidAuthorizationSpecification: "database refuses the role",     // unknown, may not log in, or no line in pg_hba.conf
	pgerrcode.InvalidCatalogName:                "database does not exist",
	pgerrcode.InsufficientPrivilege:             "role may not connect to the database",               // no CONNECT privilege
	pgerrcode.UndefinedObject:                   "database does not know a parameter of DATABASE_URL", // unrecognized configuration parameter
	pgerrcode.InvalidName:                       "database does not know a parameter of DATABASE_URL", // invalid configuration parameter name
	pgerrcode.InvalidParameterValue:             "database refuses the value of a parameter",          // invalid_parameter_value
	pgerrcode.ObjectNotInPrerequisiteState:      "database takes no connections",                      // datallowconn = false
	pgerrcode.FeatureNotSupported:               "database does not speak this version of the protocol",
	pgerrcode.ProtocolViolation:                 "connection pooler refuses the connection", // PgBouncer: a user, database or parameter that it does not know
}

// EndsSession tells whether a server's error is the end of a session that had begun. Whether what the session was doing has been done is not
// known then, whatever the SQLSTATE says: a server that cannot write its log panics with that of a full disk or of an input/output error,
// also when the record of a commit is there already, and comes back with what was committed.
func EndsSession(err *pgconn.PgError) bool {
	switch cmp.Or(err.SeverityUnlocalized, err.Severity) { // the latter is in the server's language
	case "FATAL", "PANIC":
		return !beginnings[err.Code]
	}
	return false
}

// beginnings are the SQLSTATEs that a server ends only a session's beginning with. A pooler passes them on to a client that waits for one of
// the server's connections, and has not sent its statement.
var beginnings = map[string]bool{
	pgerrcode.InvalidPassword: true, pgerrcode.InvalidAuthorizationSpecification: true, pgerrcode.InvalidCatalogName: true,
	pgerrcode.TooManyConnections: true, pgerrcode.CannotConnectNow: true,
}

// ReadOnly is why a server does not take writes that answers otherwise.
const ReadOnly = "database is read-only: a standby, or set to be (default_transaction_read_only)"

// NoWriter says in words why none of the servers that an attempt has led to is used, although one answers; empty for everything else.
func NoWriter(err error) string {
	var replaced *ReplacedError
	switch {
	case errors.As(err, &replaced):
		return "database is " + replaced.Error()
	case errors.Is(err, pgconn.ErrReadOnlyConnection):
		return ReadOnly
	case errors.Is(err, ErrDistrusted):
		return "database does not finish what it is asked to"
	}
	return ""
}

// Brief is the text of an error in one line: pgx lists one for each address and each try with and without TLS, mostly the same.
func Brief(err error) string { return brief(err.Error()) }

func brief(text string) string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, " ")
}

// Outage tells news from repetition: of the errors of one outage, each is worth one line in the log, and not one with each attempt. The
// zero value is ready; it may be used by several goroutines.
type Outage struct {
	mu   sync.Mutex
	seen map[string]bool
}

// What differs between attempts that fail alike: the local port of a connection, addresses that take turns, and when it is found that
// the other side has ended a connection: while it is made, by the first write, by reading.
var (
	ephemeral = regexp.MustCompile(`:\d+->|\bPID \d+`)
	ended     = regexp.MustCompile(`(?m)\): .*(?:EOF|connection reset by peer|broken pipe)$`)
)

// mostErrors is how many different errors of one outage are told.
const mostErrors = 20

// News reports whether err is one that this outage has not had yet.
func (o *Outage) News(err error) bool {
	text := brief(ended.ReplaceAllString(ephemeral.ReplaceAllString(err.Error(), ""), "): ended"))
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen[text] || len(o.seen) >= mostErrors {
		return false
	}
	if o.seen == nil {
		o.seen = make(map[string]bool)
	}
	o.seen[text] = true
	return true
}

// Over ends the outage.
func (o *Outage) Over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.seen)
}
