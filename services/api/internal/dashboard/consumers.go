package dashboard

import (
	"time"

	"orderflow.example/services/api/internal/isotime"
)

// Kinds and states of processes that are decided by.
const (
	kindConsumer = "consumer"
	stateGone    = "gone"
	stateSilent  = "silent"
)

// silentAfter is how long a process may be silent: it has then missed a report, and a second one is overdue.
func (p *process) silentAfter() float64 { return 2*p.Every + 2 }

func (p *process) silent() bool { return p.Ago > p.silentAfter() }

// vanished tells whether it has been silent for so long that it is not shown any more.
func (p *process) vanished() bool { return p.Ago > 5*p.silentAfter() }

// consumers are the consumers among the processes, as they are shown.
func (r *reports) consumers(processes []process, now time.Time) []Consumer {
	list := []Consumer{}
	for _, p := range processes {
		if p.Kind != kindConsumer || p.State == stateGone || p.vanished() {
			continue
		}
		c := Consumer{
			Name: p.Name, Key: p.Key, State: p.State, Since: isotime.Time{Time: p.StartedAt}, Busy: p.Busy, Capacity: p.Capacity,
			PerSecond: r.rate(p.Key, now, completed), Completed: p.Completed, Failures: p.Failed,
			SeenAt: isotime.Time{Time: p.SeenAt}, SeenAgo: rounded(p.Ago),
		}
		if p.silent() {
			c.State, c.PerSecond = stateSilent, number(0)
		}
		list = append(list, c)
	}
	return list
}

func accepted(p *process) int64  { return p.Accepted }
func completed(p *process) int64 { return p.Completed }
func retried(p *process) int64   { return p.Retried }
