package tasks

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// "layshaft task replay" starts a program with a worker, and names a file with a task in the
// environment. Worker.Run then runs the handler of that task once, in the foreground, and returns.
// It connects to no coordinator. Partial results and the result go to standard output, warnings and
// progress to standard error.

// replayed receives what the handler of a replayed task reports.
func replayed(p *tasksv1.TaskReport) error {
	switch c := p.GetContent().(type) {
	case *tasksv1.TaskReport_Data:
		_, err := os.Stdout.Write(c.Data)
		return err
	case *tasksv1.TaskReport_Warning:
		fmt.Fprintf(os.Stderr, "warning: %s\n", plain.Lines(string(c.Warning)))
	case *tasksv1.TaskReport_Progress:
		fmt.Fprintf(os.Stderr, "%d/%d\n", c.Progress.GetDone(), c.Progress.GetTotal())
	}
	return nil
}

// replay runs the handler of the task in a file. A panic is not caught: a debugger stops there.
func (w *Worker) replay(ctx context.Context, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%s: %w; only \"layshaft task replay\" should set it", report.ReplayEnv, err)
	}
	var r report.Replay
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("%s: %s: %w", report.ReplayEnv, file, err)
	}
	h := w.handlers[r.Function]
	if h == nil {
		return fmt.Errorf("this program has no handler for function %q, only for [%s]", r.Function, strings.Join(slices.Sorted(maps.Keys(w.handlers)), ", "))
	}
	if err := os.WriteFile(file+report.ReplayTaken, nil, 0o600); err != nil {
		return err
	}
	if h.timeout > 0 {
		fmt.Fprintf(os.Stderr, "the hard limit of %v does not apply to a replay\n", h.timeout)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &attemptRun{attempt: attempt{ID(r.Task), int64(r.Attempt)}, function: r.Function, last: true, softLimit: make(chan struct{}), cancel: cancel, worker: w, replay: true}
	w.state = workerState{ctx: ctx, attempts: map[attempt]*attemptRun{c.attempt: c}, changed: make(chan struct{}, 1), idle: make(chan struct{}, 1)}
	began := time.Now()
	out, err := h.run(context.WithValue(ctx, attemptKey{}, c), input{payload: r.Input})
	took := time.Since(began).Round(time.Millisecond)
	if err != nil {
		if isFatal(err) {
			err = fmt.Errorf("%w; no attempt would follow", err)
		}
		return fmt.Errorf("task %s of %s %w again after %v: %w", ID(r.Task), r.Function, ErrFailed, took, err)
	}
	_, werr := os.Stdout.Write(out)
	fmt.Fprintf(os.Stderr, "task %s of %s succeeded after %v: a result of %s; nothing was reported to the cluster\n", ID(r.Task), plain.Text(r.Function), took, report.Plural(len(out), "byte"))
	return werr
}
