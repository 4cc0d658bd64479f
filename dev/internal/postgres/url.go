package postgres

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/postgres"
)

// normal returns a DATABASE_URL with a scheme that pgx understands: the services accept SQLAlchemy's (postgresql+psycopg2://), as the
// users of the Python example have them, and JDBC's.
func normal(databaseURL string) string {
	scheme, rest, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(databaseURL), "jdbc:"), "://")
	if !ok {
		return databaseURL
	}
	base, _, _ := strings.Cut(scheme, "+")
	return base + "://" + rest
}

// parseURL reads a DATABASE_URL in any form that the services take and returns it as a URL.
func parseURL(databaseURL string) (*url.URL, error) {
	if _, err := postgres.Parse(databaseURL); err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	databaseURL = normal(databaseURL)
	if strings.HasPrefix(databaseURL, "postgres://") || strings.HasPrefix(databaseURL, "postgresql://") {
		u, err := url.Parse(databaseURL)
		if err != nil {
			return nil, fmt.Errorf("DATABASE_URL is not a URL of a Postgres database") //nolint:perfsprint // url.Error would show the password
		}
		return u, nil
	}
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL is neither a URL nor key=value settings of a Postgres database") //nolint:perfsprint // the same
	}
	u := &url.URL{Scheme: "postgres", Path: "/" + config.Database}
	if config.Password != "" {
		u.User = url.UserPassword(config.User, config.Password)
	} else {
		u.User = url.User(config.User)
	}
	query := url.Values{}
	if strings.HasPrefix(config.Host, "/") { // a directory with the server's socket
		query.Set("host", config.Host)
		query.Set("port", strconv.Itoa(int(config.Port)))
	} else {
		u.Host = net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	}
	if config.TLSConfig == nil {
		query.Set("sslmode", "disable")
	}
	u.RawQuery = query.Encode()
	return u, nil
}

// given connects to the server behind DATABASE_URL.
func given(ctx context.Context, databaseURL string) (*Server, error) {
	u, err := parseURL(databaseURL)
	if err != nil {
		return nil, err
	}
	conn, err := connect(ctx, u.String(), 10*time.Second)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL is set to %s, but there is no answer: %w\n"+
			"  Start that server, or unset DATABASE_URL to have a private one started", u.Redacted(), err)
	}
	_ = conn.Close(ctx) // it answered, that is all we wanted to know
	return &Server{Source: "DATABASE_URL " + u.Redacted(), url: u.String()}, nil
}
