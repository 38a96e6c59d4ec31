// Package hold keeps what a run needs from outside for as long as it lasts, in the process that
// planned it: for example a transaction of a database whose snapshot all readers share.
//
// A source asks for it while it lists its splits. The end of the run closes it.
package hold

import (
	"context"
	"errors"
	"strings"
	"sync"
)

// ErrLost means that what a run held is gone, and that its input has changed since. The run can
// only start over.
var ErrLost = errors.New("the snapshot of the job is lost")

// IsLost reports whether an error, perhaps in the words of another process, is ErrLost.
func IsLost(err error) bool {
	return err != nil && (errors.Is(err, ErrLost) || strings.Contains(err.Error(), ErrLost.Error()))
}

// Held is something that lasts as long as a run.
type Held interface {
	// Lost returns why it no longer serves the run; nil if it does. It may wait for an answer from
	// outside.
	Lost() error
	Close()
}

// Set holds what one run needs. The zero value is ready.
type Set struct {
	// mu guards the fields below. It is held while something is opened.
	mu     sync.Mutex
	names  []string
	all    []Held
	closed bool
}

type key struct{}

// With returns a context with a set.
func With(ctx context.Context, s *Set) context.Context { return context.WithValue(ctx, key{}, s) }

// Of returns the set of a context, or nil if no run is being planned.
func Of(ctx context.Context) *Set {
	s, _ := ctx.Value(key{}).(*Set)
	return s
}

// Get returns what is held under a name. It calls open the first time.
func (s *Set) Get(name string, open func() (Held, error)) (Held, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, n := range s.names {
		if n == name {
			return s.all[i], nil
		}
	}
	if s.closed {
		return nil, errors.New(name + ": the run has ended")
	}
	h, err := open()
	if err == nil {
		s.names, s.all = append(s.names, name), append(s.all, h)
	}
	return h, err
}

// Empty reports whether the run holds nothing.
func (s *Set) Empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all) == 0
}

// Lost returns why something no longer serves the run; nil if everything does.
func (s *Set) Lost() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.all {
		if err := h.Lost(); err != nil {
			return err
		}
	}
	return nil
}

// Close closes everything. A second Close does nothing.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.all {
		h.Close()
	}
	s.names, s.all, s.closed = nil, nil, true
}
