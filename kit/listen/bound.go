package listen

import "log/slog"

// SecondPort is how many connections the port for metrics and probes needs at most: a few scrapers and probes, which come again
// when theirs was closed for others.
const SecondPort = 32

// Below returns most, or as many connections as the process's limit of descriptors leaves when others are reserved for the rest
// of it; and says so.
func Below(most, reserved int, log *slog.Logger) int {
	limit := Descriptors()
	if limit == 0 || most <= limit-reserved {
		return most
	}
	bound := max(1, limit-reserved)
	log.Warn("the limit of open files allows fewer connections than are configured", "open_files", limit, "reserved", reserved, "connections", bound)
	return bound
}
