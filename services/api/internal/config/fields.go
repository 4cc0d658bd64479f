package config

import (
	"fmt"
	"iter"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
)

// fields are the settable fields of a configuration, in the order in which they are documented.
func fields(cfg *Config) iter.Seq2[reflect.StructField, reflect.Value] {
	return func(yield func(reflect.StructField, reflect.Value) bool) {
		value := reflect.ValueOf(cfg).Elem()
		for i := range value.NumField() {
			field := value.Type().Field(i)
			if field.Tag.Get("ignored") == "true" {
				continue
			}
			if !yield(field, value.Field(i)) {
				return
			}
		}
	}
}

// Table documents the variables as a Markdown table.
func Table() string {
	var b strings.Builder
	b.WriteString("| variable | default | meaning |\n|---|---|---|\n")
	for field := range fields(&Config{}) {
		byDefault := field.Tag.Get("default")
		if byDefault != "" {
			byDefault = "`" + byDefault + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", field.Tag.Get("envconfig"), byDefault, field.Tag.Get("desc"))
	}
	return b.String()
}

// LogValue is the configuration as it is printed at start: with what is secret masked.
func (c *Config) LogValue() slog.Value {
	var attrs []slog.Attr
	for field, value := range fields(c) {
		name := strings.ToLower(field.Tag.Get("envconfig"))
		switch {
		case name == "database_url":
			attrs = append(attrs, slog.String(name, describe(c.Database)))
		case field.Tag.Get("secret") == "true":
			if value.String() != "" {
				attrs = append(attrs, slog.String(name, "***"))
			}
		case value.Kind() == reflect.String && value.String() == "":
		default:
			attrs = append(attrs, slog.String(name, fmt.Sprint(value.Interface())))
		}
	}
	return slog.GroupValue(attrs...)
}

// Size is a number of bytes, written with or without a unit.
type Size int64

var units = []struct {
	suffix string
	bytes  Size
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}

// Decode reads a size, for envconfig.
func (s *Size) Decode(value string) error {
	for _, u := range units {
		digits, found := strings.CutSuffix(value, u.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 32)
		if err != nil {
			return err
		}
		*s = Size(n) * u.bytes
		return nil
	}
	return fmt.Errorf("no size: %s", value)
}

// String writes the size in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range units {
		if s != 0 && s%u.bytes == 0 && u.suffix != "B" {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
