package queue

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Operator is who changes something by hand, as an order's history tells it.
type Operator struct {
	By   string // by which way, and with what right: nobody is known by name
	Note string // why, in his words; may be empty
}

// Sign makes the schema's functions note who it is, until the transaction ends.
func (o Operator) Sign(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `select set_config('orderflow.operator', $1, true), set_config('orderflow.operator_note', $2, true)`, o.By, o.Note)
	return err
}
