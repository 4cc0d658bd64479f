//go:build !unix

package app

import "time"

// processCPU is not known here.
func processCPU() time.Duration { return 0 }
