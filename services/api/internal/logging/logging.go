// Package logging makes the program's logger. Logs go to standard error, results to standard output, so that neither
// spoils the other.
package logging

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// New makes a logger that writes to w. level is debug, info, warn or error; format is json, text, or auto, which is text
// when w is a terminal. Both are checked where they are read; a wrong one is info and JSON.
func New(w io.Writer, level, format string) *slog.Logger {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		least = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: least}
	if format == "text" || format == "auto" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) //nolint:gosec // a file descriptor fits an int
}
