package tasks

import (
	"fmt"
	"strconv"
)

// ID names a task or a group for ever. Zero is none. Its text form, which commands and logs show, is hexadecimal.
type ID uint64

// String returns the ID as 1 to 16 hexadecimal digits.
func (id ID) String() string { return strconv.FormatUint(uint64(id), 16) }

// ParseID is the opposite of String. The error wraps [ErrInvalid].
func ParseID(text string) (ID, error) {
	n, err := strconv.ParseUint(text, 16, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%w: %q is not the ID of a task, which is 1 to 16 hexadecimal digits", ErrInvalid, text)
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

// Kind says what an [Update] tells.
type Kind uint8

// The kinds. KindDone, KindFailed and KindCancelled end a task: nothing follows.
const (
	KindData      Kind = iota + 1 // a partial result is in Payload
	KindWarning                   // a text for people is in Payload
	KindProgress                  // N of M parts are done
	KindRetry                     // an attempt ended for Reason, with an error in Payload; attempt N comes next and sends its partial results anew
	KindFollowed                  // the task is done, and the one that follows it, Next, is told from now on
	KindDone                      // the result is in Payload
	KindFailed                    // for Reason, for good; the error is in Payload
	KindCancelled                 // by somebody
)

var kinds = [...]string{"", "data", "warning", "progress", "retry", "followed", "done", "failed", "cancelled"}

// String returns the kind in lower case, such as data.
func (k Kind) String() string {
	if k == 0 || int(k) >= len(kinds) {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return kinds[k]
}

// ends tells whether nothing follows.
func (k Kind) ends() bool { return k == KindDone || k == KindFailed || k == KindCancelled }

// Update is one thing that a task tells those who wait for it.
type Update struct {
	// Task is whose update it is.
	Task ID
	// Index is the place of the task's input in the call of Scatter; zero in other calls.
	Index int
	// Kind says what it tells, and which of the fields below have a meaning.
	Kind Kind
	// N and M are the progress, or N is the number of the next attempt.
	N, M uint64
	// Next is the task that follows.
	Next ID
	// Reason is [ErrFailed], [ErrTimedOut] or [ErrLost].
	Reason error
	// Payload is what the handler sent, as it travels: see Decode. It belongs to whoever gets the update.
	Payload []byte
}

// Decode returns a payload as a value; see the package documentation for the form of payloads. An empty payload is the zero value.
func Decode[T any](payload []byte) (T, error) { return decode[T](payload) }
