package worker

import "time"

// MeasureStepsBy has steps measured by a clock that a test can set forward. To be called before Run.
func (c *Consumer) MeasureStepsBy(now func() time.Time) { c.now = now }

// PauseBetweenLooks has the poller wait for so long after a read that has brought all that was due. To be called before Run.
func (c *Consumer) PauseBetweenLooks(d time.Duration) { c.lookPause = d }

// PauseBeforeAcks has results wait for others for so long at most. To be called before Run.
func (c *Consumer) PauseBeforeAcks(d time.Duration) { c.settlePause = d }

// SayLastWithin has a drain take so long at most to wake others, and to say that the consumer is gone. To be called before Run.
func (c *Consumer) SayLastWithin(d time.Duration) { c.notifyLimit, c.goneLimit = d, d }

// WriteWhatIsLeftWithin has a drain take so long at most for what is left when nothing is at work any more. To be called before the drain.
func (c *Consumer) WriteWhatIsLeftWithin(d time.Duration) { c.settleGrace = d }
