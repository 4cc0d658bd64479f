package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"

	"orderflow.example/dev/internal/logline"
	"orderflow.example/dev/internal/proc"
	"orderflow.example/dev/internal/screen"
	"orderflow.example/dev/internal/stack"
)

// view is what a person sees of the running stack: the screen on a terminal, otherwise lines that begin with the process's name.
type view interface {
	line(service stack.Service, l proc.Line)
	title(service stack.Service, text string)
	status(s screen.Status)
	// run shows the view until the context ends; screen.ErrQuit when the person wants to stop.
	run(ctx context.Context) error
}

// newView returns the screen when input and output are terminals that can show one.
func newView(stdout io.Writer) view {
	out, ok := stdout.(*os.File)
	dumb := os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == ""
	if ok && !dumb && term.IsTerminal(int(out.Fd())) && term.IsTerminal(int(os.Stdin.Fd())) {
		return screenView{screen.New(os.Stdin, out)}
	}
	return &lineView{out: stdout}
}

type screenView struct{ *screen.Screen }

func pane(service stack.Service) screen.Pane {
	switch service {
	case stack.API:
		return screen.API
	case stack.Consumer:
		return screen.Consumers
	default:
		return screen.Loadgen
	}
}

func (v screenView) line(service stack.Service, l proc.Line) {
	v.Line(pane(service), l.Process, logline.Parse(l.Text))
}

func (v screenView) title(service stack.Service, text string) { v.Title(pane(service), text) }
func (v screenView) status(s screen.Status)                   { v.Status(s) }
func (v screenView) run(ctx context.Context) error            { return v.Run(ctx) }

// lineView prints each line as `consumer-1 | …`.
type lineView struct {
	mu    sync.Mutex
	out   io.Writer
	width int
}

func (v *lineView) line(_ stack.Service, l proc.Line) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.width = max(v.width, len(l.Process))
	fmt.Fprintf(v.out, "%-*s | %s\n", v.width, l.Process, logline.Parse(l.Text))
}

func (v *lineView) title(stack.Service, string) {}
func (v *lineView) status(screen.Status)        {}
func (v *lineView) run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
