// Package values reads a chart's values.yaml with its comments and writes from it what must agree with it: the JSON schema
// and the tables of the README.
//
// The comment over a key is its description. A line `@schema {…}` in it adds JSON schema keywords to the type that the
// default already has, and makes a map with them a leaf: a value of its own rather than a group of values. A line `@synonyms a, b`
// names keys by which other charts know the value: beside it, or, with a slash before them, at the root.
package values

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Value is a key of values.yaml with what is known of it.
type Value struct {
	Key         string
	Path        string // dotted, from the root
	Description string
	Keywords    map[string]any // of @schema
	Synonyms    []string       // paths that are refused in favour of this one
	Default     *yaml.Node
	Children    []*Value // of a group, in the file's order
}

// Group says whether the value holds other values rather than being one.
func (v *Value) Group() bool { return len(v.Children) > 0 }

// Parse reads a values.yaml. Every key but a group needs a description: what nobody explained nobody can set.
func Parse(source []byte) (*Value, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(source, &document); err != nil {
		return nil, err
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("is not a map")
	}
	root := &Value{Default: document.Content[0]}
	return root, root.readChildren()
}

func (v *Value) readChildren() error {
	var problems []error
	for i := 0; i < len(v.Default.Content); i += 2 {
		key, value := v.Default.Content[i], v.Default.Content[i+1]
		child := &Value{Key: key.Value, Path: key.Value, Default: value}
		if v.Path != "" {
			child.Path = v.Path + "." + key.Value
		}
		if err := child.readComment(key.HeadComment, v.Path); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", child.Path, err))
		}
		v.Children = append(v.Children, child)
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 && child.Keywords == nil {
			problems = append(problems, child.readChildren())
			continue
		}
		if child.Description == "" {
			problems = append(problems, fmt.Errorf("%s: has no description", child.Path))
		}
	}
	return errors.Join(problems...)
}

// readComment takes the paragraph right over the key; rules and earlier paragraphs belong to the file's reader only.
func (v *Value) readComment(comment, parent string) error {
	paragraphs := strings.Split(comment, "\n\n")
	var words []string
	for line := range strings.SplitSeq(paragraphs[len(paragraphs)-1], "\n") {
		line = strings.TrimSpace(strings.TrimPrefix(line, "#"))
		if keywords, ok := strings.CutPrefix(line, "@schema "); ok {
			if err := json.Unmarshal([]byte(keywords), &v.Keywords); err != nil {
				return fmt.Errorf("@schema: %w", err)
			}
			continue
		}
		if synonyms, ok := strings.CutPrefix(line, "@synonyms "); ok {
			for name := range strings.SplitSeq(synonyms, ",") {
				path, atRoot := strings.CutPrefix(strings.TrimSpace(name), "/")
				if !atRoot && parent != "" {
					path = parent + "." + path
				}
				v.Synonyms = append(v.Synonyms, path)
			}
			continue
		}
		if strings.Trim(line, "-") != "" {
			words = append(words, line)
		}
	}
	v.Description = strings.Join(words, " ")
	return nil
}

// compact is the default as one line of JSON, which is YAML too.
func (v *Value) compact() (string, error) {
	var data any
	if err := v.Default.Decode(&data); err != nil {
		return "", err
	}
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(data); err != nil {
		return "", err
	}
	return strings.TrimSpace(line.String()), nil
}
