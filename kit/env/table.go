package env

import (
	"fmt"
	"strings"
)

// Table documents the settings of the struct that target points to as a Markdown table, with a line about those that may stand in files.
func Table(target any) string {
	var (
		b       strings.Builder
		secrets []string
	)
	b.WriteString("| variable | default | meaning |\n|---|---|---|\n")
	for field := range fields(target) {
		name, byDefault := field.Tag.Get("envconfig"), field.Tag.Get("default")
		if byDefault != "" {
			byDefault = "`" + byDefault + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, byDefault, strings.ReplaceAll(field.Tag.Get("desc"), "|", `\|`))
		if field.Tag.Get("secret") != "" {
			secrets = append(secrets, "`"+name+FileSuffix+"`")
		}
	}
	if len(secrets) > 0 {
		fmt.Fprintf(&b, "\nFrom a file instead: %s name one that holds the value, up to the end of its last line.\n", strings.Join(secrets, ", "))
	}
	return b.String()
}
