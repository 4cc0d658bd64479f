package alerts

import (
	"strings"
	"time"
)

// expected is what an alert is to be, beside raised by its fault: how urgent, and how soon. It says what the chart means, in a second place:
// a hold or a severity that somebody changes has to be changed here, too.
type expected struct {
	severity string
	// How long its fault lasts before it fires. What asks for a rate needs longer than its hold, until the rate has come up.
	least, most time.Duration
}

const (
	critical = "critical" // orders are not taken, not processed, or lost: somebody has to get up
	warning  = "warning"  // in the morning
)

var alerts = map[string]expected{
	"OrderflowOrdersWait":         {critical, 2 * time.Minute, 3 * time.Minute},
	"OrderflowApiRefuses":         {critical, 5 * time.Minute, 7 * time.Minute},
	"OrderflowNotDurable":         {critical, 5 * time.Minute, 6 * time.Minute},
	"OrderflowApiGone":            {critical, 3 * time.Minute, 4 * time.Minute},
	"OrderflowDatabaseAway":       {critical, time.Minute, 2 * time.Minute},
	"OrderflowConsumersGone":      {critical, 3 * time.Minute, 4 * time.Minute},
	"OrderflowBreakerOpen":        {critical, time.Minute, 2 * time.Minute},
	"OrderflowConsumerFailsAlone": {warning, 5 * time.Minute, 6 * time.Minute},
	"OrderflowPaused":             {warning, 30 * time.Minute, 31 * time.Minute},
	"OrderflowOrdersStranded":     {critical, time.Minute, 2 * time.Minute},
	"OrderflowBalanceUnknown":     {warning, 5 * time.Minute, 6 * time.Minute},
	"OrderflowHousekeepingFails":  {warning, 15 * time.Minute, 17 * time.Minute},
	"OrderflowDeadLetters":        {warning, 0, time.Minute},
	"OrderflowAttemptsFail":       {warning, 10 * time.Minute, 18 * time.Minute},
	"OrderflowLeasesLost":         {warning, 10 * time.Minute, 18 * time.Minute},
	"OrderflowHandlersStuck":      {warning, 5 * time.Minute, 6 * time.Minute},
	"OrderflowConnectionsShort":   {warning, 5 * time.Minute, 6 * time.Minute},
	"OrderflowVacuumHeldBack":     {warning, 5 * time.Minute, 6 * time.Minute},
	"OrderflowDoctorAdvises":      {warning, 15 * time.Minute, 16 * time.Minute},
}

// speaks wants that what an alert says is whole: that it names each pod, kind or check that its words are about.
func (w *world) speaks(alert string) {
	w.Helper()
	told := w.prometheus.Told(alert)
	if len(told) == 0 {
		w.Fatalf("%s says nothing", alert)
	}
	for _, text := range told {
		if text == "" || strings.HasPrefix(text, " ") || strings.Contains(text, "  ") || strings.Contains(text, " .") || strings.Contains(text, "<no value>") || strings.Contains(text, "{{") {
			w.Errorf("%s says %q", alert, text)
		}
	}
}
