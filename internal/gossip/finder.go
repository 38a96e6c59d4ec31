package gossip

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// Finder knows where the members of one role are. It is made by NewFinder, and its methods may be called concurrently.
type Finder struct {
	role string

	// mu guards the fields below.
	mu      sync.Mutex
	known   []string      // addresses, the newest first; the last ones when none is alive
	asked   int           // how often Address was called since known changed
	changed chan struct{} // closed and replaced when known changes
}

// NewFinder returns a Finder of the members of a role that knows nobody yet.
func NewFinder(role string) *Finder { return &Finder{role: role, changed: make(chan struct{})} }

// Hear takes in who lives; it is a Config.Changed.
func (f *Finder) Hear(members []Member) {
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

// Found says whether a member of the role is known.
func (f *Finder) Found() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.known) > 0
}

// Address returns where a member of the role serves gRPC; it blocks until one is known, and its error is why ctx ended before that. Of several, as
// there may be for a while after one moved, it returns the newest and then the others in turn.
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
