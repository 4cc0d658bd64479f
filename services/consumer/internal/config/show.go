package config

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"time"
)

// sqlalchemyDriver is what SQLAlchemy puts behind the scheme, as in the Python example: postgresql+psycopg2://.
var sqlalchemyDriver = regexp.MustCompile(`^(postgres(?:ql)?)\+[a-z0-9_]+://`)

func stripDriver(address string) string {
	return sqlalchemyDriver.ReplaceAllString(strings.TrimSpace(address), "$1://")
}

// secretParameter is a password in the key=value form or among a URL's parameters.
var secretParameter = regexp.MustCompile(`(?i)((?:ssl)?password|token|secret|key)\s*=\s*('(?:[^'\\]|\\.)*'|[^\s&]*)`)

const mask = "xxxxx"

// maskURL returns the address without its password and without what looks like a secret among its parameters.
func maskURL(address string) string {
	if scheme, rest, found := strings.Cut(address, "://"); found {
		u, err := url.Parse(address)
		if err != nil {
			// Not an address: whatever stands before the last @ may be a password.
			if at := strings.LastIndex(rest, "@"); at >= 0 {
				rest = mask + rest[at:]
			}
			return secretParameter.ReplaceAllString(scheme+"://"+rest, "$1="+mask)
		}
		if _, has := u.User.Password(); has {
			u.User = url.UserPassword(u.User.Username(), mask)
		}
		address = u.String()
	}
	return secretParameter.ReplaceAllString(address, "$1="+mask)
}

// LogValue shows every setting with secrets masked.
func (c Config) LogValue() slog.Value {
	v := reflect.ValueOf(c)
	attrs := make([]slog.Attr, 0, v.NumField())
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		key := strings.ToLower(tag.Get("envconfig"))
		switch value := v.Field(i).Interface().(type) {
		case string:
			switch {
			case tag.Get("secret") == "url":
				value = maskURL(value)
			case tag.Get("secret") == "all" && value != "":
				value = mask
			}
			attrs = append(attrs, slog.String(key, value))
		case time.Duration:
			attrs = append(attrs, slog.String(key, value.String()))
		default:
			attrs = append(attrs, slog.Any(key, value))
		}
	}
	return slog.GroupValue(attrs...)
}

// WriteTable prints the variables as the Markdown table of the README.
func WriteTable(w io.Writer) error {
	lines := []string{"| variable | default | meaning |", "|---|---|---|"}
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		def := tag.Get("default")
		if def != "" {
			def = "`" + def + "`"
		}
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s |", tag.Get("envconfig"), def, tag.Get("desc")))
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	return err
}
