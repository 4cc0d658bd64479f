package config

import (
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// connectTimeout is how long an attempt to connect may take when the URL says nothing. Postgres on a network answers in
// milliseconds; what takes longer is hung, and the next attempt is the better bet.
const connectTimeout = time.Second

// driver is the part of a SQLAlchemy URL that names the Python driver: postgresql+psycopg2://.
var driver = regexp.MustCompile(`^(postgres(?:ql)?)\+[a-z0-9_]+(://)`)

// setting is what the name of a session's setting looks like. pgx takes a URL with a misspelt scheme and a parameter for one
// key=value pair: postgress://u:secret@db/x?charset=utf8 would set the first part to utf8 on whatever server is near.
var setting = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)

func parseDatabaseURL(value string) (*pgx.ConnConfig, error) {
	value = driver.ReplaceAllString(strings.TrimSpace(value), "$1$2")
	cfg, err := pgx.ParseConfig(value)
	if err != nil {
		return nil, err
	}
	for name := range cfg.RuntimeParams {
		if !setting.MatchString(name) {
			return nil, errors.New("no setting of a session has such a name")
		}
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "orderflow-api"
	}
	return cfg, nil
}
