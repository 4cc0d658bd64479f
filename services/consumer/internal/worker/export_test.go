package worker

import "time"

// MeasureStepsBy has steps measured by a clock that a test can set forward. To be called before Run.
func (c *Consumer) MeasureStepsBy(now func() time.Time) { c.watchSteps(now) }
