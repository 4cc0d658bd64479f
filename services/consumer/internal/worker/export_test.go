package worker

import "time"

// MeasureStepsBy has steps measured by a clock that a test can set forward. To be called before Run.
func (c *Consumer) MeasureStepsBy(now func() time.Time) { c.now = now }

// PauseBetweenLooks has the poller wait for so long after a read that has brought all that was due. To be called before Run.
func (c *Consumer) PauseBetweenLooks(d time.Duration) { c.lookPause = d }

// PauseBeforeAcks has results wait for others for so long at most. To be called before Run.
func (c *Consumer) PauseBeforeAcks(d time.Duration) { c.settlePause = d }
