package child

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"runtime/pprof"
	"strings"

	"github.com/layshaft/layshaft/internal/job"
)

// Label is the name of the profiler label under which user code runs; its value is the attempt. The stacks of a process that crashes show it, so that
// the attempt that brought it down can be told from those that went down with it.
const Label = "attempt"

// call runs a stage function. A panic, and a goroutine that ends itself, become a failure.
func call(ctx context.Context, stage func(context.Context, *job.Run) error, r *job.Run) error {
	ended := make(chan error, 1)
	go pprof.Do(ctx, pprof.Labels(Label, r.Attempt.String()), func(ctx context.Context) {
		returned := false
		var err error
		defer func() {
			if v := recover(); v != nil {
				err = panicked(v)
			} else if !returned {
				err = &job.Failure{Kind: job.Transient, Message: "user code ended its goroutine (runtime.Goexit)"}
			}
			ended <- err
		}()
		err = stage(ctx, r)
		returned = true
	})
	return <-ended
}

// panicked describes a panic by its value and the stack of user code below it.
func panicked(v any) *job.Failure {
	var f *job.Failure
	if err, ok := v.(error); ok && errors.As(err, &f) {
		return f // thrown through user code, such as by an iterator over a lost input
	}
	return &job.Failure{Kind: job.Transient, Message: fmt.Sprintf("panic: %v", v), Detail: trim(string(debug.Stack()))}
}

// trim cuts a stack down to the frames between the panic and this package.
func trim(stack string) string {
	lines := strings.SplitAfter(stack, "\n")
	start, end := 1, len(lines) // the first line names the goroutine
	for i, l := range lines {
		if strings.HasPrefix(l, "panic(") {
			start = i + 2
		}
		if start > 1 && i >= start && strings.Contains(l, "internal/child.call.") {
			end = i
			break
		}
	}
	// Frames of the runtime between panic and user code, such as of a nil map or an index, are left out.
	for start+2 < end && strings.HasPrefix(lines[start], "runtime.") {
		start += 2
	}
	return strings.Join(lines[min(start, end):end], "")
}
