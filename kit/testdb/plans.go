package testdb

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Plans are what the server did for the statements of some connections, told by auto_explain: what was looked at is counted in pages, which
// are the same on a busy machine.
type Plans struct {
	tb  testing.TB
	mu  sync.Mutex
	all []Plan
}

// Plan is how one statement was executed.
type Plan struct {
	Query string
	Pages int    // of tables and indexes that were looked at
	Text  string // the plan, as JSON
	root  node
}

type node struct {
	Type     string  `json:"Node Type"`
	Relation string  `json:"Relation Name"`
	Rows     float64 `json:"Actual Rows"`
	Hit      int     `json:"Shared Hit Blocks"`
	Read     int     `json:"Shared Read Blocks"`
	Plans    []node  `json:"Plans"`
}

// Explain makes connections by a configuration tell their plans. It is for the superuser's; the statements cost a little more.
func Explain(tb testing.TB, cfg *pgx.ConnConfig) *Plans {
	tb.Helper()
	p := &Plans{tb: tb}
	maps.Copy(cfg.RuntimeParams, map[string]string{
		"session_preload_libraries": "auto_explain", "auto_explain.log_min_duration": "0", "auto_explain.log_analyze": "on", "auto_explain.log_buffers": "on",
		"auto_explain.log_timing": "off", "auto_explain.log_format": "json", "auto_explain.log_level": "notice", "auto_explain.log_nested_statements": "on",
	})
	cfg.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) { p.note(notice.Message) }
	return p
}

func (p *Plans) note(message string) {
	_, text, found := strings.Cut(message, "plan:\n")
	if !found {
		return
	}
	var told struct {
		Query string `json:"Query Text"`
		Plan  node
	}
	if err := json.Unmarshal([]byte(text), &told); err != nil {
		p.tb.Errorf("a plan cannot be read: %v\n%s", err, text)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, Plan{Query: told.Query, Pages: told.Plan.Hit + told.Plan.Read, Text: text, root: told.Plan})
}

// Take returns the plans since the last time.
func (p *Plans) Take() []Plan {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := p.all
	p.all = nil
	return taken
}

// Scanned are the tables that were read from end to end, by more rows than that.
func (p Plan) Scanned(most int) []string { return p.root.scanned(most) }

func (n node) scanned(most int) (tables []string) {
	if n.Type == "Seq Scan" && n.Rows > float64(most) {
		tables = append(tables, fmt.Sprintf("%s (%.0f rows)", n.Relation, n.Rows))
	}
	for _, of := range n.Plans {
		tables = append(tables, of.scanned(most)...)
	}
	return tables
}
