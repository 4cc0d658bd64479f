package queue_test

import (
	"testing"

	"orderflow.example/services/consumer/internal/queue"
)

// A consumer that asked for less would start on a schema which lacks what its statements use. The template has the api's newest migration.
func TestSchemaVersionIsThatOfTheNewestMigration(t *testing.T) {
	b := setup(t)
	d, err := b.Describe(b.ctx, b.conn)
	if err != nil {
		t.Fatal(err)
	}
	if d.SchemaVersion != queue.SchemaVersion {
		t.Errorf("the api migrates to version %d, SchemaVersion is %d", d.SchemaVersion, queue.SchemaVersion)
	}
}
