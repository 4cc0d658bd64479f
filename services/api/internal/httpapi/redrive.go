package httpapi

import (
	"context"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"

	"orderflow.example/services/api/internal/queue"
	"orderflow.example/services/api/internal/strictjson"
)

const (
	maxRedrive = 10_000
	maxReason  = 200 // characters
)

// Redrive documents what [decodeRedrive] reads.
type Redrive struct {
	MsgIDs []int64 `json:"msg_ids,omitempty" maxItems:"10000" doc:"those with these ids among the dead letters"`
	Reason string  `json:"reason,omitempty" maxLength:"200" doc:"those that died of it"`
	All    bool    `json:"all,omitempty" doc:"all of them"`
	DryRun bool    `json:"dry_run,omitempty" doc:"only say which"`
	Note   string  `json:"note,omitempty" maxLength:"200" doc:"why, for the history of the orders" example:"the warehouse is back"`
	Limit  int     `json:"limit,omitempty" minimum:"1" maximum:"10000" doc:"at most so many, the oldest first; without it 1,000 of a reason or of all, and every one of msg_ids"`
}

// redriveInput reads its body by itself and not by huma: what moves thousands of messages is read as strictly as an order. A
// dry run that is overruled by a second, differently written member, or a choice that means more than it says, must not be.
type redriveInput struct{ redrive Redrive }

// Resolve reads the body, for huma.
func (in *redriveInput) Resolve(ctx huma.Context) []error {
	var err error
	if in.redrive, err = decodeRedrive(humafiber.Unwrap(ctx).Request().Body()); err != nil {
		return []error{toProblem(err)}
	}
	return nil
}

func decodeRedrive(body []byte) (Redrive, error) {
	d := strictjson.NewDecoder(string(body))
	var in Redrive
	limit := int64(0)
	seen := make(map[string]bool)
	isObject, err := d.Object("body", func(key string) error {
		location := "body." + key
		if seen[key] {
			return d.Refuse(location, "is given twice")
		}
		seen[key] = true
		switch key {
		case "msg_ids":
			return decodeIDs(&d, &in.MsgIDs, location)
		case "reason":
			return d.Text(&in.Reason, "body", key, maxReason, nil)
		case "note":
			return d.Text(&in.Note, "body", key, maxReason, nil)
		case "all":
			return d.Bool(&in.All, location)
		case "dry_run":
			return d.Bool(&in.DryRun, location)
		case "limit":
			return d.Whole(&limit, location, 1, maxRedrive)
		}
		delete(seen, key)
		return d.Unknown("body", key)
	})
	if err := d.Finish(err); err != nil {
		return Redrive{}, err
	}
	chosen := 0
	for _, by := range []bool{len(in.MsgIDs) > 0, in.Reason != "", in.All} {
		if by {
			chosen++
		}
	}
	if isObject && chosen != 1 {
		d.Add("body", "must have exactly one of msg_ids, reason and all", "")
	}
	in.Limit = int(limit)
	switch {
	case limit > 0:
	case len(in.MsgIDs) > 0:
		in.Limit = maxRedrive
	default:
		in.Limit = 1000
	}
	return in, d.Finish(nil)
}

func decodeIDs(d *strictjson.Decoder, to *[]int64, location string) error {
	n := 0
	_, err := d.Array(location, func(i int) error {
		n = i + 1
		var id int64
		err := d.Whole(&id, location+"["+strconv.Itoa(i)+"]", 1, 1<<63-1)
		*to = append(*to, id)
		return err
	})
	if err == nil && n > maxRedrive {
		d.Add(location, "must hold at most "+strconv.Itoa(maxRedrive)+" ids", "")
	}
	return err
}

type redriveOutput struct {
	Body struct {
		DryRun     bool             `json:"dry_run"`
		Matched    int              `json:"matched" doc:"dead letters that were meant, up to limit"`
		MsgIDs     []int64          `json:"msg_ids" nullable:"false" doc:"their ids"`
		Redriven   []queue.Redriven `json:"redriven" nullable:"false" doc:"those that went back; not those whose order is not dead"`
		Untried    int              `json:"untried,omitempty" doc:"how many of them were not tried"`
		Incomplete string           `json:"incomplete,omitempty" doc:"why the rest was not tried, when it was not: the same call again goes on"`
	}
}

const redrivePath = "/dead-letters/redrive"

// redriving registers the call.
func (s *Server) redriving(op huma.Operation) {
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/json": {Schema: s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Redrive](), true, "")},
	}}
	op.Errors = append(op.Errors, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	register(s, op, s.redrive)
}

// redrive moves the chosen letters, in batches.
func (s *Server) redrive(ctx context.Context, in *redriveInput) (*redriveOutput, error) {
	r := &in.redrive
	chosen, err := s.cfg.Queue.Choose(ctx, queue.Choice{MsgIDs: r.MsgIDs, Reason: r.Reason, All: r.All, Limit: r.Limit})
	if err != nil {
		return nil, err
	}
	out := &redriveOutput{}
	out.Body.DryRun, out.Body.Matched, out.Body.MsgIDs, out.Body.Redriven = r.DryRun, len(chosen), make([]int64, len(chosen)), []queue.Redriven{}
	for i, letter := range chosen {
		out.Body.MsgIDs[i] = letter.MsgID
	}
	if r.DryRun || len(chosen) == 0 {
		return out, nil
	}
	done, err := queue.RedriveAll(queue.Batches(chosen), s.draining.Load, func(batch []int64) ([]queue.Redriven, error) {
		return s.cfg.Queue.Redrive(ctx, batch, operator(r.Note))
	})
	if err != nil && done.Tried == 0 {
		return nil, err
	}
	out.Body.Redriven, out.Body.Incomplete, out.Body.Untried = append(out.Body.Redriven, done.Moved...), done.Incomplete, len(chosen)-done.Tried
	if err != nil {
		s.cfg.Log.WarnContext(ctx, "redrive cut short", "tried", done.Tried, "matched", len(chosen), "error", err)
		out.Body.Incomplete = toProblem(err).Detail
	}
	s.cfg.Log.InfoContext(ctx, "dead letters redriven", "matched", len(chosen), "redriven", len(out.Body.Redriven), "untried", out.Body.Untried)
	return out, nil
}
