package httpapi

import (
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"

	"orderflow.example/services/api/internal/queue"
	"orderflow.example/services/api/internal/strictjson"
)

// Pause documents what [decodePause] reads.
type Pause struct {
	Reason string `json:"reason,omitempty" maxLength:"200" doc:"why, for those who find the queue paused: GET /queue and the consumers say it" example:"the warehouse moves"`
}

// pauseInput reads its body by itself, which may be missing, and as strictly as a redrive's: a misspelt reason is none.
type pauseInput struct{ pause Pause }

// Resolve reads the body, for huma.
func (in *pauseInput) Resolve(ctx huma.Context) []error {
	body := humafiber.Unwrap(ctx).Request().Body()
	if len(body) == 0 {
		return nil
	}
	var err error
	if in.pause, err = decodePause(body); err != nil {
		return []error{toProblem(err)}
	}
	return nil
}

func decodePause(body []byte) (in Pause, err error) {
	d := strictjson.NewDecoder(string(body))
	seen := false
	_, err = d.Object("body", func(key string) error {
		switch {
		case key != "reason":
			return d.Unknown("body", key)
		case seen:
			return d.Refuse("body."+key, "is given twice")
		}
		seen = true
		return d.Text(&in.Reason, "body", key, maxReason, nil)
	})
	return in, d.Finish(err)
}

type consumingOutput struct {
	Body struct {
		Queue     string          `json:"queue"`
		Consuming queue.Consuming `json:"consuming"`
	}
}

// pausing registers the calls that stop the consumers and let them go on.
func (s *Server) pausing() {
	op := s.forAdmins(huma.Operation{
		OperationID: "pause-queue", Method: http.MethodPost, Path: "/queue/pause", Tags: []string{"queue"},
		Summary: "Stop the consumers of the queue",
		Description: "What they work on they finish; nothing else is begun until the queue is resumed, whatever restarts meanwhile. Orders are still accepted. " +
			"A queue that is paused stays as it is, with the reason that it has.",
		RequestBody: &huma.RequestBody{Content: map[string]*huma.MediaType{
			"application/json": {Schema: s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Pause](), true, "")},
		}},
		Errors: []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType},
	})
	register(s, op, func(ctx context.Context, in *pauseInput) (*consumingOutput, error) {
		return s.changeConsuming(ctx, "pause asked for", func(ctx context.Context) (queue.Consuming, error) { return s.cfg.Queue.Pause(ctx, in.pause.Reason) })
	})
	op = s.forAdmins(huma.Operation{
		OperationID: "resume-queue", Method: http.MethodPost, Path: "/queue/resume", Tags: []string{"queue"},
		Summary: "End a pause", Description: "A queue that is not paused stays as it is. An open breaker stays open.",
	})
	register(s, op, func(ctx context.Context, _ *struct{}) (*consumingOutput, error) {
		return s.changeConsuming(ctx, "resume asked for", s.cfg.Queue.Resume)
	})
}

// changeConsuming changes one row, within the time of any other request.
func (s *Server) changeConsuming(ctx context.Context, done string, change func(context.Context) (queue.Consuming, error)) (*consumingOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	consuming, err := change(ctx)
	if err != nil {
		return nil, err
	}
	s.cfg.Log.InfoContext(ctx, done, "state", consuming.State, "by", consuming.By, "reason", consuming.Reason)
	out := &consumingOutput{}
	out.Body.Queue, out.Body.Consuming = s.cfg.Queue.Name(), consuming
	return out, nil
}
