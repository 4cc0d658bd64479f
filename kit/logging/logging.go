// Package logging makes a program's logger. Logs go to standard error, results to standard output, so that neither spoils the other.
// Messages begin in lower case, and keys are in snake_case; only the lines that the Python example prints are written as it writes them.
//
// A log that cannot be written must never end the program, nor what it was doing: the line is lost.
package logging

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"

	"orderflow.example/kit/env"
)

// LogSettings are the variables of a program's log, to be embedded in its configuration.
type LogSettings struct {
	LogLevel  string `envconfig:"LOG_LEVEL" default:"info" desc:"debug, info, warn or error; -v is debug" allowed:"debug, info, warn or error"`
	LogFormat string `envconfig:"LOG_FORMAT" default:"auto" desc:"json, text, or auto: text on a terminal, JSON otherwise" allowed:"auto, json or text"`
}

// CheckLog checks them.
func (s LogSettings) CheckLog(p *env.Problems) {
	env.OneOf(p, "LOG_LEVEL", s.LogLevel, "debug", "info", "warn", "error")
	env.OneOf(p, "LOG_FORMAT", s.LogFormat, "auto", "json", "text")
}

// New makes a logger that writes to w. level is debug, info, warn or error; format is json, text, or auto, which is text when w is a
// terminal. Both are checked by [LogSettings.CheckLog]; a wrong one is info and JSON.
func New(w io.Writer, level, format string) *slog.Logger {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		least = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: least}
	if format == "text" || format == "auto" && IsTerminal(w) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	options.ReplaceAttr = withUnit
	return slog.New(slog.NewJSONHandler(w, options))
}

// withUnit writes a duration as text does, instead of a number of nanoseconds that does not say so.
func withUnit(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// terminal is a writer that knows whether it ends on a terminal, for what wraps one.
type terminal interface{ Terminal() bool }

// IsTerminal tells whether what is written to w is read by a person as it comes.
func IsTerminal(w io.Writer) bool {
	switch f := w.(type) {
	case *os.File:
		return term.IsTerminal(int(f.Fd())) //nolint:gosec // a file descriptor fits an int
	case terminal:
		return f.Terminal()
	}
	return false
}
