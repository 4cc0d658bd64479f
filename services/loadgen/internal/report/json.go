package report

import (
	"encoding/json"
	"fmt"
	"os"
)

// WriteJSON writes the summary to a file.
func (s *Summary) WriteJSON(path string) error {
	body, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.WriteFile(path, append(body, '\n'), 0o644); err != nil { //nolint:gosec // a report is there to be read by others
		return fmt.Errorf("write the JSON report: %w", err)
	}
	return nil
}
