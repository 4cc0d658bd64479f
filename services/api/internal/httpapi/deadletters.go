package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"orderflow.example/services/api/internal/queue"
)

type listDeadLettersInput struct {
	Reason string `query:"reason" maxLength:"200" doc:"only those that died of it" example:"max_attempts"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50"`
	Cursor string `query:"cursor" maxLength:"1024" doc:"next_cursor of the page before"`
}

type listDeadLettersOutput struct {
	Body struct {
		DeadLetters []queue.DeadLetter `json:"dead_letters" nullable:"false" doc:"may be fewer than limit, even none, on a page that is not the last"`
		NextCursor  *string            `json:"next_cursor" doc:"null on the last page"`
	}
}

type deadLetterInput struct {
	ID   int64  `path:"id" minimum:"1" doc:"msg_id among the dead letters"`
	Note string `query:"note" maxLength:"200" doc:"why, for the history of the order"`
}

// operator is who makes a call that takes the admin token, as an order's history tells it.
func operator(note string) queue.Operator { return queue.Operator{By: "api, admin token", Note: note} }

type redriveOneOutput struct {
	Body queue.Redriven
}

// deadLetters are the calls about messages that were given up. Those that change something need the admin token.
func (s *Server) deadLetters() {
	register(s, huma.Operation{
		OperationID: "list-dead-letters", Method: http.MethodGet, Path: "/dead-letters", Tags: []string{"dead letters"},
		Summary: "Messages that were given up, newest first", Errors: []int{http.StatusUnprocessableEntity},
	}, func(ctx context.Context, in *listDeadLettersInput) (*listDeadLettersOutput, error) {
		page, err := s.cfg.Queue.DeadLetters(ctx, queue.LetterFilter{Reason: in.Reason}, in.Limit, in.Cursor)
		if err != nil {
			return nil, err
		}
		out := &listDeadLettersOutput{}
		out.Body.DeadLetters = page.DeadLetters
		out.Body.NextCursor = optional(page.Next)
		return out, nil
	})

	changing := func(id, method, path, summary, description string, errors ...int) huma.Operation {
		return s.forAdmins(huma.Operation{
			OperationID: id, Method: method, Path: path, Tags: []string{"dead letters"}, Summary: summary, Description: description, Errors: errors,
		})
	}
	s.redriving(changing("redrive-dead-letters", http.MethodPost, redrivePath, "Put dead letters back into the queue",
		"Choose by exactly one of msg_ids, reason and all. Each goes back with its order, which is pending again with fresh attempts."))
	register(s, changing("redrive-dead-letter", http.MethodPost, "/dead-letters/{id}/redrive", "Put one dead letter back into the queue", "",
		http.StatusNotFound, http.StatusConflict),
		func(ctx context.Context, in *deadLetterInput) (*redriveOneOutput, error) {
			redriven, err := s.cfg.Queue.RedriveOne(ctx, in.ID, operator(in.Note))
			if err != nil {
				return nil, err
			}
			s.cfg.Log.InfoContext(ctx, "dead letter redriven", "dead_msg_id", redriven.MsgID, "msg_id", redriven.NewMsgID, "order_id", redriven.OrderID)
			return &redriveOneOutput{redriven}, nil
		})
	register(s, changing("delete-dead-letter", http.MethodDelete, "/dead-letters/{id}", "Delete a dead letter for good", "Its order stays dead.",
		http.StatusNotFound),
		func(ctx context.Context, in *deadLetterInput) (*struct{}, error) {
			if err := s.cfg.Queue.Delete(ctx, in.ID, operator(in.Note)); err != nil {
				return nil, err
			}
			s.cfg.Log.InfoContext(ctx, "dead letter deleted", "dead_msg_id", in.ID)
			return &struct{}{}, nil
		})
}
