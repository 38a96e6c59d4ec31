// Package call runs the user's code of one attempt: the stage function and its scratch files. A
// worker calls it for programs of its own process, a child process for all others.
package call

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime/debug"
	"runtime/pprof"
	"strings"

	"github.com/layshaft/layshaft/internal/job"
)

// Label is the name of the profiler label under which user code runs; its value is the attempt.
// Stacks of a crashed process show the label. It marks the attempt that caused the crash.
const Label = "attempt"

// Run calls a stage function in a goroutine of its own and waits for its end. It returns a
// *job.Failure if the function panics or ends its goroutine.
func Run(ctx context.Context, stage func(context.Context, *job.Run) error, r *job.Run) error {
	ended := make(chan error, 1)
	go pprof.Do(ctx, pprof.Labels(Label, r.Attempt.String()), func(ctx context.Context) {
		returned := false
		var err error
		defer func() {
			if v := recover(); v != nil {
				err = panicFailure(v)
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

// Method calls a method of a user's type that decodes one value. A panic becomes an error, so that
// it counts against the record.
func Method(method func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v%s", v, Site(userFrames(string(debug.Stack()))))
		}
	}()
	return method()
}

// Site returns the place of the first of frames, such as " at main.go:12"; "" if it is unknown.
func Site(frames string) string {
	lines := strings.SplitN(frames, "\n", 3)
	if len(lines) < 2 {
		return ""
	}
	file, _, _ := strings.Cut(strings.TrimSpace(lines[1]), " ")
	return " at " + path.Base(file)
}

// panicFailure describes a panic by its value and the stack of user code below it. If the value
// is a *job.Failure, it returns the value. An iterator over a lost input panics with one, for
// example.
func panicFailure(v any) *job.Failure {
	var f *job.Failure
	if err, ok := v.(error); ok && errors.As(err, &f) {
		return f
	}
	return &job.Failure{Kind: job.Transient, Message: fmt.Sprintf("panic: %v", v), Detail: userFrames(string(debug.Stack()))}
}

// userFrames returns the frames of a stack between the panic and this package.
func userFrames(stack string) string {
	lines := strings.SplitAfter(stack, "\n")
	start, end := 1, len(lines) // the first line names the goroutine
	for i, l := range lines {
		if strings.HasPrefix(l, "panic(") {
			start = i + 2
		}
		if start > 1 && i >= start && strings.Contains(l, "internal/call.Run.") {
			end = i
			break
		}
	}
	// Frames of the runtime between panic and user code are left out: a nil map or an index adds
	// some.
	for start+2 < end && strings.HasPrefix(lines[start], "runtime.") {
		start += 2
	}
	return strings.Join(lines[min(start, end):end], "")
}
