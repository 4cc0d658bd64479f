package values

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

const source = `# The file.

# A group.
web:
  # How many | pods.
  # @schema {"minimum": 1}
  replicas: 2
  # Labels.
  # @schema {"$ref": "#/definitions/labels"}
  labels: {a: b}
  # Time.
  # @schema {"type": ["string", "null"]}
  time: null

# ----------
# Stands alone.
name: ""
`

func TestSchemaRefusesWhatIsNotInTheFile(t *testing.T) {
	t.Parallel()
	text, err := parse(t, source).Schema()
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		AdditionalProperties bool
		Required             []string
		Properties           struct {
			Web struct {
				Description          string
				AdditionalProperties *bool
				Required             []string
				Properties           struct {
					Replicas struct {
						Type    string
						Minimum int
						Default int
					}
					Labels struct {
						Ref string `json:"$ref"`
					}
					Time struct{ Type []string }
				}
			}
			Name struct{ Type, Description string }
		}
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	web := schema.Properties.Web
	// replicas and name have to be there; labels may be taken away, and time is nothing already.
	if !slices.Equal(schema.Required, []string{"web", "name"}) || !slices.Equal(web.Required, []string{"replicas"}) {
		t.Errorf("required: %q, in web %q", schema.Required, web.Required)
	}
	if schema.AdditionalProperties || web.AdditionalProperties == nil || *web.AdditionalProperties {
		t.Errorf("unknown keys are let in:\n%s", text)
	}
	if web.Description != "A group." || web.Properties.Replicas.Type != "integer" || web.Properties.Replicas.Minimum != 1 ||
		web.Properties.Replicas.Default != 2 || web.Properties.Labels.Ref == "" || len(web.Properties.Time.Type) != 2 ||
		schema.Properties.Name.Type != "string" || schema.Properties.Name.Description != "Stands alone." {
		t.Errorf("got\n%s", text)
	}
}

func TestTablesNameEveryValue(t *testing.T) {
	t.Parallel()
	readme, err := ReplaceTables([]byte("before\n"+begin+"old\n"+end+"after\n"), parse(t, source).Tables())
	if err != nil {
		t.Fatal(err)
	}
	want := "before\n" + begin + `### everywhere

| key | default | meaning |
|---|---|---|
| ` + "`name` | `\"\"`" + ` | Stands alone. |

### web

A group.

| key | default | meaning |
|---|---|---|
| ` + "`web.replicas` | `2`" + ` | How many \| pods. |
| ` + "`web.labels` | `{\"a\":\"b\"}`" + ` | Labels. |
| ` + "`web.time` | `null`" + ` | Time. |
` + end + "after\n"
	if string(readme) != want {
		t.Errorf("got\n%s\nwant\n%s", readme, want)
	}
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"a:\n  # Told.\n  b: 1\n  c: 2\n": "a.c: has no description",
		"# Told.\n# @schema {\na: 1\n":    "a: @schema: unexpected end",
		"- 1\n":                           "is not a map",
	} {
		_, err := Parse([]byte(source))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", source, err, want)
		}
	}
	_, err := parse(t, "# Told.\na: null\n").Schema()
	if err == nil || !strings.Contains(err.Error(), "a: its type does not follow") {
		t.Errorf("a null without a type: got %v", err)
	}
}

func parse(t *testing.T, source string) *Value {
	t.Helper()
	root, err := Parse([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestNamesOfOtherChartsReachTheTemplateThatRefusesThem(t *testing.T) {
	t.Parallel()
	tree := parse(t, `# A group.
web:
  # Pods.
  # @synonyms replicaCount, /replicaCount
  replicas: 2
`)
	instead, err := tree.Instead()
	if err != nil {
		t.Fatal(err)
	}
	var names map[string]string
	if err := json.Unmarshal(instead, &names); err != nil {
		t.Fatal(err)
	}
	if len(names) != 2 || names["web.replicaCount"] != "web.replicas" || names["replicaCount"] != "web.replicas" {
		t.Fatalf("%v", names)
	}
	schema, err := tree.Schema()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(schema), "Refused: use web.replicas."); got != 2 {
		t.Errorf("the schema lets %d of 2 names pass", got)
	}
}

func TestASynonymMustNotBeAValue(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"# A.\n# @synonyms b\na: 1\n# B.\nb: 2\n", "# A.\n# @synonyms c\na: 1\n# B.\n# @synonyms c\nb: 2\n", "# A.\n# @synonyms /x.y\na: 1\n"} {
		if _, err := parse(t, source).Schema(); err == nil {
			t.Errorf("%q: no error", source)
		}
	}
}
