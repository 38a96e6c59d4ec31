package main

import (
	"context"
	"fmt"
	"os"

	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/spelling"
	"github.com/layshaft/layshaft/tasks"
)

// unknownFunction returns a sentence if the coordinator has no function of a name, with a similar
// name if there is one. It is empty for a known name, and for none.
func unknownFunction(name string, known []tasks.Function) string {
	var names []string
	for _, f := range known {
		if f.Name == name {
			return ""
		}
		names = append(names, f.Name)
	}
	if name == "" {
		return ""
	}
	text := fmt.Sprintf("no worker or task has used the function %q", name)
	if len(names) == 0 {
		return text
	}
	if near := spelling.Nearest(name, names); near != "" {
		text += fmt.Sprintf("; did you mean %s?", plain.Word(near))
	}
	return text
}

// change runs a command that changes a function, and prints what it did. A function that nobody has
// used is changed too, since it may be set up before its first worker, but a note says so.
func (f *clientFlags) change(ctx context.Context, function, did string, use func(*tasks.Client) error) error {
	return f.client(func(c *tasks.Client) error {
		before, err := c.Overview(ctx)
		if err != nil {
			return err
		}
		if err := use(c); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "function %s: %s\n", plain.Word(function), did)
		if text := unknownFunction(function, before.Functions); text != "" {
			fmt.Fprintf(os.Stderr, "layshaft: %s; the setting counts once it has a worker, and layshaft task drop -function %s removes it\n", text, plain.Word(function))
		}
		return nil
	})
}

// noteNone prints why a selection of dead letters is empty.
func noteNone(ctx context.Context, c *tasks.Client, function string, n int) error {
	if n > 0 {
		return nil
	}
	all, err := c.Overview(ctx)
	if err != nil {
		return err
	}
	text := unknownFunction(function, all.Functions)
	switch {
	case text != "":
	case function != "":
		text = fmt.Sprintf("function %s has no such dead letters", plain.Word(function))
	default:
		text = "there are no such dead letters"
	}
	fmt.Fprintln(os.Stderr, "layshaft:", text)
	return nil
}

// knownName adds a similar name to the error of a function that does not exist.
func knownName(ctx context.Context, c *tasks.Client, function string, err error) error {
	if err == nil {
		return nil
	}
	all, failed := c.Overview(ctx)
	if failed != nil {
		return err
	}
	if text := unknownFunction(function, all.Functions); text != "" {
		return clearerError{text + "; layshaft task status lists the functions", err}
	}
	return err
}

// clearerError has other words for an error, and its exit code.
type clearerError struct {
	text string
	err  error
}

func (e clearerError) Error() string { return e.text }
func (e clearerError) Unwrap() error { return e.err }

// whyNoRetry describes a task that cannot be queued again.
func whyNoRetry(ctx context.Context, c *tasks.Client, id tasks.ID) string {
	s, err := c.Status(ctx, id)
	switch {
	case err != nil:
		return "is not known; layshaft task dead lists dead letters"
	case s.State == tasks.StateDone || s.State == tasks.StateCancelled:
		return fmt.Sprintf("is %s; only failed tasks can be queued again: submit a new one", s.State)
	case s.State != tasks.StateFailed:
		return fmt.Sprintf("is %s, so it has not ended", s.State)
	}
	return "has no input any more, or a task with its unique key has not ended"
}

// waitingTasks counts the tasks that wait for a slot, and the tasks that wait for their time.
func waitingTasks(functions []tasks.Function) (ready, delayed int) {
	for _, f := range functions {
		ready += int(f.WaitingHigh + f.WaitingNormal + f.WaitingLow)
		delayed += int(f.Counts.Delayed)
	}
	return ready, delayed
}

// backlog is a text about waiting tasks, or empty.
func backlog(functions []tasks.Function) (text string) {
	ready, delayed := waitingTasks(functions)
	if ready > 0 {
		text = fmt.Sprintf("; %s wait", report.Plural(ready, "task"))
		if ready == 1 {
			text += "s"
		}
	}
	if delayed > 0 {
		text += fmt.Sprintf("; %d delayed", delayed)
	}
	return text
}
