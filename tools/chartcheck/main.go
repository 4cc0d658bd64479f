// Chartcheck keeps what is generated from a chart's values.yaml current: values.schema.json, the names of other charts that
// are refused (files/instead.json), and the tables of the chart's README.md between its markers.
//
//	chartcheck write CHART   write them
//	chartcheck verify CHART  fail when that would change one
//
// What it must never do is hold facts about the chart: those stand in values.yaml. The checks of what the chart renders are
// the tests in ./chart.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"orderflow.example/tools/chartcheck/values"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "chartcheck:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 || args[0] != "write" && args[0] != "verify" {
		return errors.New("usage: chartcheck write|verify CHART")
	}
	verb, chart := args[0], args[1]
	source, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		return err
	}
	tree, err := values.Parse(source)
	if err != nil {
		return fmt.Errorf("values.yaml: %w", err)
	}
	schema, err := tree.Schema()
	if err != nil {
		return fmt.Errorf("values.schema.json: %w", err)
	}
	instead, err := tree.Instead()
	if err != nil {
		return err
	}
	readmePath := filepath.Join(chart, "README.md")
	readme, err := os.ReadFile(readmePath)
	if err != nil {
		return err
	}
	readme, err = values.ReplaceTables(readme, tree.Tables())
	if err != nil {
		return fmt.Errorf("README.md: %w", err)
	}
	return errors.Join(
		put(verb, filepath.Join(chart, "values.schema.json"), schema),
		put(verb, filepath.Join(chart, "files", "instead.json"), instead),
		put(verb, readmePath, readme),
	)
}

func put(verb, path string, want []byte) error {
	got, err := os.ReadFile(path)
	if err == nil && bytes.Equal(got, want) {
		return nil
	}
	if verb == "verify" {
		return fmt.Errorf("%s is out of date: run `make chart-docs`", path)
	}
	return os.WriteFile(path, want, 0o644)
}
