package dashboard

import (
	"bytes"
	"context"
)

// live renders the parts of the overview that move: the data of the stream's event "page". They are the same for all viewers, so what only
// some may do is not among them. The page's script works them into the page by their ids. While the database is away, the snapshot is the
// last one there was, or nil.
func (d *Dashboard) live(ctx context.Context, snapshot *Snapshot, away *Away) []byte {
	var b bytes.Buffer
	model := OverviewPage{Page: Page{Root: "./", Here: "overview", Queue: d.cfg.Queue.Name(), Version: d.cfg.Version, Away: away}, Snapshot: snapshot}
	if err := pages.ExecuteTemplate(&b, "live", &model); err != nil {
		d.cfg.Log.ErrorContext(ctx, "the dashboard cannot be rendered", "error", err)
		return nil
	}
	return b.Bytes()
}
