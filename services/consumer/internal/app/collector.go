package app

import (
	"os"
	"runtime/debug"
)

// collectorPercent is GOGC where nobody has set it. Nearly all that a consumer allocates is a batch's and soon garbage, and what it keeps is small, so
// collecting less often costs it 4 MiB and saves a fifth of its processor time (docs/benchmarks.md). GOMEMLIMIT bounds it as ever.
const collectorPercent = 150

// setCollector leaves a program with a handler of its own as it is: what that allocates is not known here.
func (a *App) setCollector() {
	if a.Handler == nil && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectorPercent)
	}
}
