package audit

import (
	"fmt"
	"time"

	"orderflow.example/services/loadgen/internal/client"
)

// walker goes through a listing page by page, and notices when that has no end: a cursor that comes back, a page that does (under a cursor that is
// always new), or pages upon pages without an order of the run.
type walker struct {
	patience time.Duration
	cursors  map[string]bool
	ends     map[[2]int64]bool // the first and last id of the pages so far
	found    time.Time         // when an order of the run was last on a page
}

func newWalker(patience time.Duration) *walker {
	return &walker{patience: max(patience, time.Second), cursors: map[string]bool{}, ends: map[[2]int64]bool{}, found: time.Now()}
}

// next is the cursor to go on with after a page on which there were orders of the run, or not; "" at the end. why is not empty when the listing
// itself would not have ended there.
func (w *walker) next(page *client.Page, found bool) (cursor, why string) {
	if page.Next == "" || len(page.Orders) == 0 {
		return "", ""
	}
	now := time.Now()
	if found {
		w.found = now
	}
	ends := [2]int64{int64(page.Orders[0].ID), int64(page.Orders[len(page.Orders)-1].ID)}
	switch {
	case w.cursors[page.Next]:
		return "", "the listing turns in a circle: its cursor came back"
	case w.ends[ends]:
		return "", "the listing turns in a circle: a page came back under another cursor"
	case now.Sub(w.found) > w.patience:
		return "", fmt.Sprintf("the listing was left when it had gone on for %s without an order of this run", now.Sub(w.found).Round(time.Second))
	}
	w.cursors[page.Next], w.ends[ends] = true, true
	return page.Next, ""
}
