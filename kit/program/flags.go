// Package program owns the shape of a program: commands and flags, signals, exit codes, and the order in which parts are stopped.
// It must never decide what a command does, nor write anything that a command did not ask for but errors and help.
package program

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"orderflow.example/kit/env"
)

// Flag is a command-line flag that is a variable's twin: it takes precedence over the environment.
type Flag struct {
	Name     string
	Variable string
	Value    string   // what the flag means, when it takes no value; empty: it takes one
	Commands []string // those that have it; none: all
}

// Verbose is the flag that every program has.
var Verbose = Flag{Name: "v", Variable: "LOG_LEVEL", Value: "debug"}

// parse reads flags, which may stand before and after the command. The error is flag.ErrHelp when help is asked for.
func parse(args []string, flags []Flag) (command string, overrides map[string]string, err error) {
	overrides = make(map[string]string)
	set := flag.NewFlagSet("", flag.ContinueOnError)
	set.SetOutput(io.Discard) // errors are returned, as one line
	var used []Flag
	for _, f := range flags {
		if f.Value == "" {
			set.Func(f.Name, f.Variable, func(text string) error {
				overrides[f.Variable] = text
				used = append(used, f)
				return nil
			})
			continue
		}
		set.BoolFunc(f.Name, f.Variable, func(text string) error {
			if text != "true" {
				return errors.New("it takes no value")
			}
			overrides[f.Variable] = f.Value
			used = append(used, f)
			return nil
		})
	}
	if err := set.Parse(args); err != nil {
		return "", nil, err
	}
	if set.NArg() > 0 {
		command = set.Arg(0)
		if err := set.Parse(set.Args()[1:]); err != nil {
			return "", nil, err
		}
	}
	if set.NArg() > 0 {
		return "", nil, fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	for _, f := range used {
		if len(f.Commands) > 0 && !slices.Contains(f.Commands, command) {
			return "", nil, fmt.Errorf("flag -%s is for: %s", f.Name, strings.Join(named(f.Commands), ", "))
		}
	}
	return command, overrides, nil
}

// named are commands as a message has them: also the one that has no name.
func named(commands []string) []string {
	names := slices.Clone(commands)
	for i, name := range names {
		names[i] = cmp.Or(name, "(no command)")
	}
	return names
}

// override is lookup with what flags have set.
func override(lookup env.Lookup, overrides map[string]string) env.Lookup {
	return func(name string) (string, bool) {
		if value, set := overrides[name]; set {
			return value, true
		}
		return lookup(name)
	}
}
