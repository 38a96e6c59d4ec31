package gossip

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// Finder tracks the addresses of the members with one role. It is made by NewFinder. Its methods
// may be called concurrently.
type Finder struct {
	role string

	// mu guards the fields below.
	mu sync.Mutex
	// known lists addresses, newest first. When no member is alive, it keeps the last addresses.
	known   []string
	asked   int           // number of calls of Address since known changed
	changed chan struct{} // closed and replaced when known changes
}

// NewFinder returns a Finder for the members with a role. It starts without addresses.
func NewFinder(role string) *Finder { return &Finder{role: role, changed: make(chan struct{})} }

// Update sets the addresses from a list of live members. It has the signature of Config.Changed.
func (f *Finder) Update(members []Member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var fresh, kept []string
	for _, m := range members {
		switch {
		case m.Role != f.role, m.Address == "", slices.Contains(fresh, m.Address):
		case !slices.Contains(f.known, m.Address):
			fresh = append(fresh, m.Address)
		default:
			kept = append(kept, m.Address)
		}
	}
	slices.SortFunc(kept, func(a, b string) int { return cmp.Compare(slices.Index(f.known, a), slices.Index(f.known, b)) })
	known := append(fresh, slices.Compact(kept)...)
	if len(known) == 0 || slices.Equal(known, f.known) {
		return
	}
	f.known, f.asked = known, 0
	close(f.changed)
	f.changed = make(chan struct{})
}

// HasAddress reports whether an address is known.
func (f *Finder) HasAddress() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.known) > 0
}

// Address returns the gRPC address of a member with the role. It blocks until one is known or ctx
// ends. When there are several, for example for a while after a member moved, it returns the newest
// first and then the others in turn.
func (f *Finder) Address(ctx context.Context) (string, error) {
	for {
		f.mu.Lock()
		if n := len(f.known); n > 0 {
			defer f.mu.Unlock()
			f.asked++
			return f.known[(f.asked-1)%n], nil
		}
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// Addresses returns the gRPC addresses of the members with the role, the newest first, at least
// one. It blocks until they differ from known or ctx ends.
func (f *Finder) Addresses(ctx context.Context, known []string) ([]string, error) {
	for {
		f.mu.Lock()
		now, changed := f.known, f.changed
		f.mu.Unlock()
		if !slices.Equal(now, known) {
			return now, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
