package schema

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5"
)

// Role is a login role that Migrate creates. Without a name there is none.
type Role struct{ Name, Password string }

// Roles are the least-privilege roles of the parts.
type Roles struct{ API, Consumer, Metrics Role }

func (r Roles) validate(string) error { return nil }

func ensureRoles(context.Context, *pgx.Conn, Options, *slog.Logger) error { return nil }
