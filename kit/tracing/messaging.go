package tracing

import (
	"strconv"

	"go.opentelemetry.io/otel/attribute"
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

// Statement says that it is one statement, and one round trip to PostgreSQL, for so many messages. One is no batch: the conventions want
// db.operation.batch.size never to be 1.
func Statement(name string, messages int) []attribute.KeyValue {
	about := []attribute.KeyValue{
		attribute.String("db.system.name", "postgresql"),
		attribute.String("db.operation.name", name),
		attribute.Int("messaging.batch.message_count", messages),
	}
	if messages > 1 {
		about = append(about, attribute.Int("db.operation.batch.size", messages))
	}
	return about
}
