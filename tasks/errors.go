package tasks

import (
	"errors"
	"fmt"

	"github.com/layshaft/layshaft/internal/wire"
)

// Errors that callers branch on, with [errors.Is].
var (
	// ErrInvalid means that a call makes no sense: an option, a name or a size is out of bounds. Trying again cannot help.
	ErrInvalid = wire.ErrInvalid
	// ErrUnavailable means that the coordinator could not be reached for as long as [Cluster] says.
	ErrUnavailable = wire.ErrUnavailable
	// ErrForbidden means that the certificate of this process does not entitle it to the call.
	ErrForbidden = wire.ErrForbidden
	// ErrFull means that a task was refused because a queue limit was reached, or memory or disk are full. It may go through later.
	ErrFull = errors.New("full")
	// ErrUnknown means that there is no such task, or no more: it ended, and was kept as long as [Keep] says. Or there is no such function to drop.
	ErrUnknown = errors.New("unknown task")

	// ErrFailed means that a task has failed for good: after its last attempt, or with an error that is [Fatal].
	ErrFailed = errors.New("failed")
	// ErrTimedOut means that the last attempt took longer than its [HardLimit]. Such an error is ErrFailed too.
	ErrTimedOut = errors.New("took longer than its hard limit")
	// ErrLost means that the last attempt was lost with its worker. Such an error is ErrFailed too.
	ErrLost = errors.New("its worker was lost")
	// ErrCancelled means that somebody cancelled the task, or that it was dropped because nobody waited for it any more.
	ErrCancelled = errors.New("cancelled")
)

// Error is how a task ended that is not done.
type Error struct {
	// ID is the task's.
	ID ID
	// Function is what it called; empty after [Attach] by ID.
	Function string
	// Reason is [ErrFailed], [ErrTimedOut], [ErrLost] or [ErrCancelled].
	Reason error
	// Message is what the handler reported, the text of its error.
	Message string
}

// Error tells it as one line, or more when the message has more.
func (e *Error) Error() string {
	text := "task "
	if e.Function != "" {
		text += e.Function + " "
	}
	text += fmt.Sprintf("%s: %v", e.ID, e.Reason)
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Unwrap returns Reason, and ErrFailed with those that are such.
func (e *Error) Unwrap() []error {
	if e.Reason == ErrTimedOut || e.Reason == ErrLost {
		return []error{e.Reason, ErrFailed}
	}
	return []error{e.Reason}
}

// fatal is an error that another attempt would not help.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

// Fatal marks an error that a handler returns: the task fails at once, whatever attempts are left. Errors without the mark are
// transient: the task is tried again. Fatal(nil) is nil.
func Fatal(err error) error {
	if err == nil {
		return nil
	}
	return fatal{err}
}

// isFatal tells whether err or what it wraps is marked.
func isFatal(err error) bool {
	var f fatal
	return errors.As(err, &f)
}
