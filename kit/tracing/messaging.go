package tracing

import (
	"errors"
	"net"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// The names of attributes of messages and statements, as OpenTelemetry's semantic conventions 1.43 have them
// (https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/, .../db/database-spans/). They are not stable yet: this is the
// one place that knows them.
//
// Kinds of operations: create and send are a producer's, receive, process and settle a consumer's.

// Operation says what is done with messages of a queue: its kind, and the name that the program has for it.
func Operation(queue, kind, name string) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("messaging.system", "pgmq"),
		attribute.String("messaging.destination.name", queue),
		attribute.String("messaging.operation.type", kind),
		attribute.String("messaging.operation.name", name),
	}
}

// MessageID names the message.
func MessageID(id int64) attribute.KeyValue {
	return attribute.String("messaging.message.id", strconv.FormatInt(id, 10))
}

// Messages says for how many there is a span. One is no batch, and the conventions want neither count to be 1.
func Messages(n int) []attribute.KeyValue {
	if n == 1 {
		return nil
	}
	return []attribute.KeyValue{attribute.Int("messaging.batch.message_count", n)}
}

// Statement says that it is one statement, and one round trip to PostgreSQL, for so many messages. at is host and port, or a socket; where
// it, or the database, is not known it is empty.
func Statement(name string, messages int, database, at string) []attribute.KeyValue {
	about := append(Messages(messages), attribute.String("db.system.name", "postgresql"), attribute.String("db.operation.name", name))
	if messages > 1 {
		about = append(about, attribute.Int("db.operation.batch.size", messages))
	}
	if database != "" {
		about = append(about, attribute.String("db.namespace", database))
	}
	host, port, err := net.SplitHostPort(at)
	if n, wrong := strconv.Atoi(port); err == nil && wrong == nil {
		return append(about, attribute.String("server.address", host), attribute.Int("server.port", n))
	}
	if at != "" {
		about = append(about, attribute.String("server.address", at))
	}
	return about
}

// Refused marks the span of a statement as failed. kind is as in [Fail]; where it is empty it is the SQLSTATE that the server answered with.
func Refused(span trace.Span, kind string, err error) {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		span.SetAttributes(attribute.String("db.response.status_code", answer.Code))
		if kind == "" {
			kind = answer.Code
		}
	}
	if kind == "" {
		kind = "connection"
	}
	Fail(span, kind, err.Error())
}
