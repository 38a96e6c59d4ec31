package tasks

import (
	"errors"
	"fmt"

	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/wire"
)

// Errors for use with [errors.Is].
var (
	// ErrInvalid marks an option, a name or a size out of bounds. Repeating the request cannot
	// help.
	ErrInvalid = wire.ErrInvalid
	// ErrUnavailable: the coordinator could not be reached within the time set in [Cluster].
	ErrUnavailable = wire.ErrUnavailable
	// ErrForbidden: the certificate of this process does not permit the request.
	ErrForbidden = wire.ErrForbidden
	// ErrFull: a task was refused because a queue limit was reached, or memory or disk is full. A
	// later attempt may succeed.
	ErrFull = errors.New("full")
	// ErrUnknown: the task does not exist, or ended longer ago than [Keep]. From DropFunction: the
	// function does not exist.
	ErrUnknown = errors.New("unknown task")
	// ErrUnknownSchedule: the schedule does not exist.
	ErrUnknownSchedule = errors.New("unknown schedule")
	// ErrExists: another schedule has the name.
	ErrExists = errors.New("a schedule of this name has another definition")

	// ErrFailed: the task failed for good, after its last attempt or with a [Fatal] error.
	ErrFailed = errors.New("failed")
	// ErrTimedOut: the last attempt exceeded its [HardLimit]. The error is ErrFailed too.
	ErrTimedOut = errors.New("took longer than its hard limit")
	// ErrLost: the last attempt was lost with its worker. The error is ErrFailed too.
	ErrLost = errors.New("its worker was lost")
	// ErrCancelled: the task was cancelled, or dropped because nobody waited for it.
	ErrCancelled = errors.New("cancelled")
)

// Error is the outcome of a task that failed or was cancelled.
type Error struct {
	// ID is the task's ID.
	ID ID
	// Function is the task's function; empty after [Attach] by ID.
	Function string
	// Reason is [ErrFailed], [ErrTimedOut], [ErrLost] or [ErrCancelled].
	Reason error
	// Message is the text of the handler's error.
	Message string
}

// Error returns the task, the reason and the message. It has several lines if the message has.
func (e *Error) Error() string {
	text := "task "
	if e.Function != "" {
		text += plain.Text(e.Function) + " "
	}
	text += fmt.Sprintf("%s: %v", e.ID, e.Reason)
	if e.Message != "" {
		text += ": " + plain.Lines(e.Message)
	}
	return text
}

// Unwrap returns Reason, and ErrFailed in addition to ErrTimedOut and ErrLost.
func (e *Error) Unwrap() []error {
	if e.Reason == ErrTimedOut || e.Reason == ErrLost {
		return []error{e.Reason, ErrFailed}
	}
	return []error{e.Reason}
}

// fatal is an error after which no further attempt is made.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

// Fatal marks an error returned by a handler as permanent: the task fails at once, without further
// attempts. Other errors are transient, and the task is attempted again. Fatal(nil) is nil.
func Fatal(err error) error {
	if err == nil {
		return nil
	}
	return fatal{err}
}

// isFatal reports whether err or an error it wraps is marked as fatal.
func isFatal(err error) bool {
	var f fatal
	return errors.As(err, &f)
}
