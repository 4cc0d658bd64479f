package schema

import (
	"encoding/base64"
	"strings"
	"testing"

	"orderflow.example/kit/testdb"
)

// The server's own verifier of a password, made again with the server's salt, must come out the same.
func TestScramVerifierIsWhatPostgresMakes(t *testing.T) {
	t.Parallel()
	conn := testdb.Connect(t, testdb.Server(t))

	for _, password := range []string{"pencil", `p@ss'w"ord\$1;--%41 `, strings.Repeat("long", 100)} {
		tx, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback(t.Context())
		_, err = tx.Exec(t.Context(), `
			set local password_encryption = 'scram-sha-256';
			create role schema_test_scram password '`+strings.ReplaceAll(password, "'", "''")+`'`)
		if err != nil {
			t.Fatal(err)
		}
		var theirs string
		if err := tx.QueryRow(t.Context(), `select rolpassword from pg_authid where rolname = 'schema_test_scram'`).Scan(&theirs); err != nil {
			t.Fatal(err)
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}

		_, rest, _ := strings.Cut(theirs, ":")
		salt, _, _ := strings.Cut(rest, "$")
		raw, err := base64.StdEncoding.DecodeString(salt)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := scramVerifier(password, raw)
		if err != nil {
			t.Fatal(err)
		}
		if ours != theirs {
			t.Errorf("password %q: ours %s, the server's %s", password, ours, theirs)
		}
	}
}

func TestEveryVerifierHasItsOwnSalt(t *testing.T) {
	t.Parallel()
	one, err := newVerifier("pencil")
	if err != nil {
		t.Fatal(err)
	}
	other, err := newVerifier("pencil")
	if err != nil {
		t.Fatal(err)
	}
	if one == other {
		t.Error(one)
	}
}
