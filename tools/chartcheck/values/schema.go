package values

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// One of a list.
const (
	stage     = ` *([0-9]+(\.[0-9]+)?(ms|s|m|h))+ *: *[0-9]+(\.[0-9]+)? *`
	threshold = ` *[a-z0-9_.]+ *(<=|>=|==|!=|<|>) *[0-9][0-9a-z.]*%? *`
)

// definitions are the shapes that values share. They are draft 7, which every Helm 3 and 4 understands.
var definitions = map[string]any{
	"duration": map[string]any{
		"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`,
		"description": "a duration such as 500ms, 10s or 1m30s",
	},
	"optionalDuration": map[string]any{
		"type": "string", "pattern": `^(([0-9]+(\.[0-9]+)?(ms|s|m|h))+)?$`,
		"description": "a duration such as 500ms, 10s or 1m30s, or nothing",
	},
	"stages": map[string]any{
		"type": "string", "pattern": `^(` + stage + `(,` + stage + `)*)?$`,
		"description": "durations with a rate each, such as 30s:100,2m:1000,30s:0, or nothing",
	},
	"thresholds": map[string]any{
		"type": "string", "pattern": `^(` + threshold + `(,` + threshold + `)*)?$`,
		"description": "conditions such as e2e_p99<1s,lost==0,error_rate<0.1%, or nothing",
	},
	"quantity": map[string]any{
		"type": []string{"string", "number"}, "pattern": `^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$`,
		"description": "a Kubernetes quantity such as 500m, 512Mi or 8Gi",
	},
	"quantities": map[string]any{
		"type": "object", "additionalProperties": map[string]any{"$ref": "#/definitions/quantity"},
	},
	"resources": map[string]any{
		"type": "object", "additionalProperties": false,
		"properties": map[string]any{
			"limits":   map[string]any{"$ref": "#/definitions/quantities"},
			"requests": map[string]any{"$ref": "#/definitions/quantities"},
		},
	},
	"labels":      map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "string"}},
	"annotations": map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "string"}},
	"objects":     map[string]any{"type": "array", "items": map[string]any{"type": "object"}},
	"strings":     map[string]any{"type": "array", "items": map[string]any{"type": "string", "minLength": 1}},
	"env": map[string]any{
		"type": "array",
		"items": map[string]any{
			"type": "object", "additionalProperties": false, "required": []string{"name"},
			"properties": map[string]any{
				"name":      map[string]any{"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
				"value":     map[string]any{"type": "string"},
				"valueFrom": map[string]any{"type": "object"},
			},
		},
	},
	"digest": map[string]any{
		"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$",
		"description": "sha256: and 64 hexadecimal digits, or nothing",
	},
	"intOrPercent": map[string]any{
		"anyOf": []any{
			map[string]any{"type": "integer", "minimum": 0},
			map[string]any{"type": "string", "pattern": "^[0-9]+%$"},
		},
	},
	"role": map[string]any{
		"type": "string", "pattern": "^([a-z_][a-z0-9_]{0,62})?$",
		"description": "a role's name in lower case, or nothing",
	},
}

// Schema is values.schema.json: a key that is not in values.yaml is refused everywhere.
func (v *Value) Schema() ([]byte, error) {
	schema, err := v.schema()
	if err != nil {
		return nil, err
	}
	instead := map[string]string{}
	if err := v.collectSynonyms(instead); err != nil {
		return nil, err
	}
	if err := admit(schema, instead); err != nil {
		return nil, err
	}
	schema["$schema"] = "http://json-schema.org/draft-07/schema#"
	schema["title"] = "values.yaml"
	schema["definitions"] = definitions
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(schema); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}

func (v *Value) schema() (map[string]any, error) {
	schema := map[string]any{}
	if v.Description != "" {
		schema["description"] = v.Description
	}
	if v.Group() {
		properties := map[string]any{}
		required := []string{}
		for _, child := range v.Children {
			one, err := child.schema()
			if err != nil {
				return nil, err
			}
			properties[child.Key] = one
			if child.required() {
				required = append(required, child.Key)
			}
		}
		schema["type"] = "object"
		schema["properties"] = properties
		if len(required) > 0 {
			schema["required"] = required
		}
		schema["additionalProperties"] = false
		return schema, nil
	}
	var data any
	if err := v.Default.Decode(&data); err != nil {
		return nil, fmt.Errorf("%s: %w", v.Path, err)
	}
	schema["default"] = data
	if _, shared := v.Keywords["$ref"]; !shared {
		kind, err := v.kind()
		if err != nil {
			return nil, err
		}
		schema["type"] = kind
	}
	maps.Copy(schema, v.Keywords)
	return schema, nil
}

// required says whether templates count on the key. Helm takes out of the values what somebody sets to null; a map or a list
// that is not there is an empty one, everything else would come out as a template's error or as a zero.
func (v *Value) required() bool {
	if v.Group() {
		return true
	}
	if kinds, several := v.Keywords["type"].([]any); several && slices.Contains(kinds, any("null")) {
		return false // its template knows what to do without it
	}
	return v.Default.Kind == yaml.ScalarNode && v.Default.Tag != "!!null"
}

// kind is the JSON type of the default; a null says nothing and needs a type in its @schema.
func (v *Value) kind() (any, error) {
	if kind, given := v.Keywords["type"]; given {
		return kind, nil
	}
	switch v.Default.Kind {
	case yaml.MappingNode:
		return "object", nil
	case yaml.SequenceNode:
		return "array", nil
	case yaml.ScalarNode:
		switch v.Default.Tag {
		case "!!str":
			return "string", nil
		case "!!int":
			return "integer", nil
		case "!!float":
			return "number", nil
		case "!!bool":
			return "boolean", nil
		}
	}
	return nil, fmt.Errorf("%s: its type does not follow from its default: give it one with @schema", v.Path)
}
