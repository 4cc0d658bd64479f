package dashboard

import (
	"html/template"

	"orderflow.example/services/api/internal/orders"
)

// functions are what the templates call.
var functions = template.FuncMap{
	// asset is where a file of static/ is, below the root.
	"asset": assetPath,

	// How figures, times and spans are written; see words.go.
	"count": count, "rate": rate, "age": age, "ago": ago, "since": since, "span": span, "clock": clock, "iso": iso,
	// share is a part of a whole as a percentage, for the width of a bar.
	"share": share,

	"attempts": func(n *int64) string { return plural(*n, "attempt", "attempts") },
	"moment":   parsedTime, "tone": tone, "fine": fine, "chart": chart,
	"statuses": func() []string { return []string{orders.StatusPending, orders.StatusCompleted, orders.StatusDead} },
}
