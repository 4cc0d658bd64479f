package values

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

const (
	begin = "<!-- values -->\n"
	end   = "<!-- /values -->\n"
)

// Tables are Markdown: one table for each group at the root, under the group's description; what stands alone comes first.
func (v *Value) Tables() []byte {
	var text bytes.Buffer
	alone := &Value{Key: "everywhere"}
	for _, child := range v.Children {
		if !child.Group() {
			alone.Children = append(alone.Children, child)
		}
	}
	for _, group := range append([]*Value{alone}, v.Children...) {
		if !group.Group() {
			continue
		}
		fmt.Fprintf(&text, "### %s\n\n", group.Key)
		if group.Description != "" {
			fmt.Fprintf(&text, "%s\n\n", group.Description)
		}
		text.WriteString("| key | default | meaning |\n|---|---|---|\n")
		group.rows(&text)
		text.WriteString("\n")
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n"))
}

func (v *Value) rows(text *bytes.Buffer) {
	for _, child := range v.Children {
		if child.Group() {
			child.rows(text)
			continue
		}
		value, err := child.compact()
		if err != nil {
			value = err.Error() // Parse has decoded it before
		}
		fmt.Fprintf(text, "| `%s` | `%s` | %s |\n", child.Path, cell(value), cell(child.Description))
	}
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// ReplaceTables puts tables between the markers of a README.
func ReplaceTables(readme, tables []byte) ([]byte, error) {
	before, rest, found := bytes.Cut(readme, []byte(begin))
	if !found {
		return nil, errors.New("has no line " + strings.TrimSpace(begin))
	}
	_, after, found := bytes.Cut(rest, []byte(end))
	if !found {
		return nil, errors.New("has no line " + strings.TrimSpace(end))
	}
	return bytes.Join([][]byte{before, []byte(begin), tables, []byte(end), after}, nil), nil
}
