package tasks

import (
	"fmt"
	"strconv"

	"github.com/layshaft/layshaft/internal/wire"
)

// ID identifies a task or a group and is never used again. Zero means none. Its text form, as in
// commands and logs, is hexadecimal.
type ID uint64

// String returns the ID as 1 to 16 hexadecimal digits.
func (id ID) String() string { return strconv.FormatUint(uint64(id), 16) }

// ParseID parses the output of String, or the handle of a Gearman job, such as H:host:17. The error
// wraps [ErrInvalid].
func ParseID(text string) (ID, error) {
	n, ok := wire.ParseTaskID(text)
	if !ok {
		return 0, fmt.Errorf("%w: %q is not the ID of a task, which is 1 to 16 hexadecimal digits, or the handle of a Gearman job, such as H:host:17", ErrInvalid, text)
	}
	return ID(n), nil
}

// MarshalText returns String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is ParseID.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}

// Kind is the kind of an [Update].
type Kind uint8

// The kinds. After KindDone, KindFailed and KindCancelled no further update follows.
const (
	// KindData: Payload is a partial result.
	KindData Kind = iota + 1
	// KindWarning: Payload is a message for people.
	KindWarning
	// KindProgress: N of M parts are done.
	KindProgress
	// KindRetry: an attempt ended for Reason, with the error in Payload. Attempt N follows and
	// sends its partial results from the start.
	KindRetry
	// KindFollowed: the task is done. Further updates are about its follower, Next.
	KindFollowed
	// KindDone: Payload is the result.
	KindDone
	// KindFailed: the task failed for good, for Reason. Payload is the error.
	KindFailed
	// KindCancelled: the task was cancelled.
	KindCancelled
	// KindWaiting: the task has not started for two seconds. Payload is the reason in words, with
	// the command that helps if there is one. It is sent again when the reason changes.
	KindWaiting
)

var kinds = [...]string{"", "data", "warning", "progress", "retry", "followed", "done", "failed", "cancelled", "waiting"}

// String returns the kind in lower case, such as data.
func (k Kind) String() string {
	if k == 0 || int(k) >= len(kinds) {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return kinds[k]
}

// isLast reports whether no further update follows.
func (k Kind) isLast() bool { return k == KindDone || k == KindFailed || k == KindCancelled }

// Update is a message about a task for the clients waiting for it.
type Update struct {
	// Task is the ID of the task.
	Task ID
	// Index is the index of the task's input in Scatter, otherwise zero.
	Index int
	// Kind determines the meaning of the fields below.
	Kind Kind
	// N and M are the progress, or N is the number of the next attempt.
	N, M uint64
	// Next is the ID of the follower.
	Next ID
	// Reason is [ErrFailed], [ErrTimedOut] or [ErrLost].
	Reason error
	// Payload is the encoded value sent by the handler; see Decode. The receiver owns it.
	Payload []byte
}

// Decode decodes a payload; see the package documentation for the encoding. An empty payload is the
// zero value.
func Decode[T any](payload []byte) (T, error) { return decode[T](payload) }
