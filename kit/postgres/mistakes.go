package postgres

import (
	"cmp"
	"errors"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/secret"
)

// This file has what is said of an address that cannot be meant as it is written. pgx's own errors name no parameter, or quote the whole text.

// mustBe is what the values must be that pgx reads itself.
var mustBe = map[string]string{
	"channel_binding":            "disable, prefer or require",
	"connect_timeout":            "a whole number of seconds",
	"default_query_exec_mode":    "cache_statement, cache_describe, describe_exec, exec or simple_protocol",
	"description_cache_capacity": "a whole number",
	"max_protocol_version":       "3.0, 3.2 or latest",
	"min_protocol_version":       "3.0, 3.2 or latest",
	"port":                       "a number from 1 to 65535, for all hosts or for each",
	"require_auth":               "names of methods, as scram-sha-256 or md5",
	"sslcertmode":                "disable, allow or require",
	"sslmode":                    "disable, allow, prefer, require, verify-ca or verify-full",
	"statement_cache_capacity":   "a whole number",
}

// atFault finds the parameter with which pgx cannot read an address that it can read without parameters. Of all together it says what together is.
func (r *reading) atFault(base string, together error) error {
	for _, key := range slices.Sorted(maps.Keys(mustBe)) {
		value, given := r.out[key]
		if !given {
			continue
		}
		alone := map[string]string{key: value}
		if hosts := r.out["host"]; hosts != "" {
			alone["host"] = hosts // there may be a port for each
		}
		if _, err := pgx.ParseConfig(join(base, alone)); err != nil {
			return wrong(key, value, errors.New("must be "+mustBe[key]))
		}
	}
	return cmp.Or(errors.Unwrap(together), errors.New("the parameters "+strings.Join(slices.Sorted(maps.Keys(r.out)), ", ")+" do not go together"))
}

// nextPart is the beginning of the next part where parts are separated as .NET does it, or JDBC for other databases.
var nextPart = regexp.MustCompile(`[;,]\s*[A-Za-z][A-Za-z _]*=`)

// errSeparators is about key=value pairs of .NET. To libpq all that follows would belong to the first value, which is looked up or shown.
var errSeparators = errors.New("its parts are separated by spaces, not by semicolons or commas: host=… port=… user=… password=… dbname=…")

// runsOn tells whether a value, which was not quoted, goes on with the parts behind it. A password may look like that; not if it is all there is.
func runsOn(key, value string, alone bool) bool {
	if strings.Contains(strings.ToLower(key), "password") && !alone {
		return false
	}
	return nextPart.MatchString(value) || strings.HasSuffix(value, ";")
}

// misread says why a config cannot be what was meant, if it cannot. What it says shows nothing of it: it may have the password.
func misread(config *pgx.ConnConfig) error {
	ways := append([]*pgconn.FallbackConfig{{Host: config.Host, Port: config.Port}}, config.Fallbacks...)
	for _, way := range ways {
		if network, _ := pgconn.NetworkAddress(way.Host, way.Port); network != "unix" && strings.ContainsFunc(way.Host, noHost) {
			return errors.New("a host has no ; = quotes or white space in it: a URL's parameters come behind a ?, with & between them")
		}
	}
	for what, value := range map[string]string{"database": config.Database, "user": config.User} {
		if nextPart.MatchString(value) {
			return errors.New("its " + what + " goes on with what looks like a parameter: its parameters come behind a ?, with & between them")
		}
	}
	return nil
}

func noHost(r rune) bool { return strings.ContainsRune(";=\"'`", r) || unicode.IsSpace(r) }

// checkPassword refuses a password that is not as a secret is: what nobody sees at an end, a newline say, makes another one of it. It says
// where it comes from; what PGPASSWORD_FILE names is looked at each time that it is read.
func (r *reading) checkPassword(base string, config *pgx.ConnConfig) error {
	if secret.Trim(config.Password) == config.Password {
		return nil
	}
	const unseen = " has white space or an invisible character at an end (a newline? echo leaves one, printf does not)"
	userinfo, _, found := strings.Cut(base, "@")
	switch {
	case config.Password == os.Getenv("PGPASSWORD"):
		return elsewhere("PGPASSWORD" + unseen)
	case r.out["password"] != "", found && strings.Contains(strings.TrimPrefix(userinfo, "postgres://"), ":"):
		return errors.New("its password" + unseen)
	default:
		return elsewhere("the password of the passfile or the service" + unseen)
	}
}
