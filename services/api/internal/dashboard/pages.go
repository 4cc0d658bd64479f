package dashboard

import (
	"time"

	"orderflow.example/services/api/internal/orders"
	"orderflow.example/services/api/internal/queue"
)

// The models of the pages. A page of type XPage is rendered by the template "x.html" of templates/, which is given a pointer to it.
// Everything in it that people have written (names, errors, messages, reasons) is hostile: html/template escapes it, and it must not be
// made template.HTML, template.URL or the like.

// Page is what all pages have.
type Page struct {
	Title string // of the document, without the program's name
	// Root leads from this page to the dashboard's root: "./", "../", "../../". Links are Root + "ui/orders", never absolute: a proxy
	// may have cut a prefix off.
	Root    string
	Here    string // overview, dead-letters, orders, order, sign-in, problem: for the navigation
	Queue   string
	Version string
	Access  Access
	Done    string // what the action before has done, in words; empty: nothing to say
	Away    *Away  // the database cannot be used; nil: it can
}

// Access is what the reader of a page may do.
type Access struct {
	CanChange  bool   // forms that change something work; without it they are not shown
	SignedIn   bool   // there is a session: show "sign out"
	CanSignIn  bool   // there is a token to sign in with: show "sign in" when not CanChange
	ChangesOff bool   // the service has no ADMIN_TOKEN: nobody can change anything here
	CSRF       string // value of the hidden field "csrf" of every form that posts
}

// OverviewPage is GET /. Snapshot and Series are nil when the database is away.
type OverviewPage struct {
	Page
	Snapshot *Snapshot
	Series   *Series
}

// DeadLettersPage is GET /ui/dead-letters?reason=&text=&cursor=, and POST /ui/dead-letters/redrive with dry_run, which shows the same
// page with a Plan.
type DeadLettersPage struct {
	Page
	Filter  DeadLetterFilter
	Reasons []ReasonCount // the most frequent first
	Counted int           // how many of the newest letters Reasons were counted among; all of them when not Many
	Many    bool          // there are more than were counted
	Letters []queue.DeadLetter
	Next    string // cursor of the next page; empty: this is the last
	Plan    *RedrivePlan
}

// DeadLetterFilter chooses dead letters.
type DeadLetterFilter struct {
	Reason string // query and form field "reason": those that died of it; empty: whatever they died of
	Text   string // "text": those whose error or message has it, or whose order or msg_id it is; empty: all
}

// Any tells whether the filter leaves something out.
func (f DeadLetterFilter) Any() bool { return f != DeadLetterFilter{} }

// ReasonCount is how many letters died of a reason.
type ReasonCount struct {
	Reason  string // empty: none is noted
	Letters int
}

// RedrivePlan is the result of a dry run. Its form posts to ui/dead-letters/redrive: csrf, reason, text, up_to and confirm=yes.
type RedrivePlan struct {
	Matched int   // dead letters that would go back
	Most    bool  // there are more; one call moves no more than Matched, the oldest
	UpTo    int64 // msg_id of the newest of them: what dies later is not among them
}

// OrdersPage is GET /ui/orders?q=&by=&status=&cursor=.
type OrdersPage struct {
	Page
	Search OrderSearch
	Orders []orders.Order
	Next   string
}

// OrderSearch is what is looked for. An id that is there leads to the order's page at once.
type OrderSearch struct {
	Q      string // what was typed
	By     string // id, customer, key (the beginning of an idempotency key); empty: guess
	Status string // pending, completed, dead; empty: any
}

// OrderPage is GET /ui/orders/{id}.
type OrderPage struct {
	Page
	Order      orders.Order
	Story      []Moment // what happened to it, the first first
	TraceID    string   // empty: not known
	TraceURL   string   // where a person finds it; empty: nobody has said
	DeadLetter *int64   // msg_id among the dead letters, when it is dead and its letter is there: it can be redriven or deleted
}

// Moment is one entry of an order's story.
type Moment struct {
	At       time.Time
	Kind     string        // accepted, failed, permanent, timed_out, lease_lost, handed_back, buried, redriven, completed, waiting
	Title    string        // "Attempt 2 failed"
	Detail   string        // an error, say; may be empty
	Attempt  int           // 0: none
	Consumer string        // may be empty
	Waited   time.Duration // in the queue before; 0: not known
	Worked   time.Duration // by the handler; 0: not known
}

// SignInPage is GET and POST /ui/sign-in. Its form posts to ui/sign-in: csrf, token and next.
type SignInPage struct {
	Page
	Next  string // where to go afterwards: a path below Root, without it
	Wrong bool   // the token was not one that is known
	Wait  int    // seconds until the next try will be looked at; 0: now
}

// ProblemPage is what went wrong instead of any other page.
type ProblemPage struct {
	Page
	Status  int // of HTTP
	Detail  string
	TraceID string
}
