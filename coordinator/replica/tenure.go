package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/layshaft/layshaft/internal/state"
)

// Tenure is the time for which this member leads. Methods may be called concurrently.
type Tenure struct {
	r    *Replica
	term uint64
	lost chan struct{}

	// transfer is Replica.transfer. It guards silent: the IDs of members that did not take over in
	// this term when Transfer asked.
	transfer lock
	silent   map[string]bool
}

// Lead blocks until this member leads and its databases have everything that was decided before. It
// returns ErrStopped after Run has ended, or the cause of ctx.
func (r *Replica) Lead(ctx context.Context) (*Tenure, error) {
	for {
		r.mu.Lock()
		run, changes, changed := r.raft, r.changes, r.changed
		r.mu.Unlock()
		if run != nil && run.State() == raft.Leader {
			term := run.CurrentTerm()
			if err := r.ask(func() error { return run.Barrier(0).Error() }); err == nil && run.CurrentTerm() == term && r.d.flush() == nil {
				if t := r.begin(term, changes); t != nil {
					return t, nil
				}
				continue
			}
		}
		select {
		case <-changed:
		case <-time.After(formEvery): // raft is not there yet
		case <-r.ended:
			return nil, ErrStopped
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// begin registers a tenure, unless leadership has changed. Nobody uses a former one of this term
// any longer.
func (r *Replica) begin(term uint64, changes int) *Tenure {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changes != changes || r.raft.State() != raft.Leader {
		return nil
	}
	silent := map[string]bool{}
	if former := r.tenure; former != nil && former.term == term {
		silent = former.silent
	}
	r.tenure = &Tenure{r: r, term: term, lost: make(chan struct{}), transfer: r.transfer, silent: silent}
	return r.tenure
}

// Lost returns a channel that is closed when the tenure has ended.
func (t *Tenure) Lost() <-chan struct{} { return t.lost }

// Term returns the number of the tenure; later tenures have greater ones, on all members.
func (t *Tenure) Term() uint64 { return t.term }

// Pending is a proposed batch.
type Pending struct {
	d    *databases
	done chan error // gets the outcome
}

// Wait blocks until the batch has taken effect on this member and is in the log of a majority. The
// error wraps ErrNotLeading if the tenure has ended; the batch may or may not take effect then.
func (p Pending) Wait() error {
	if err := p.Decided(context.Background()); err != nil {
		return err
	}
	return p.d.flush()
}

// Decided is Wait without the effect on this member, which follows: Flush waits for it. If ctx ends
// first, it returns the cause of ctx, and the batch may or may not take effect.
func (p Pending) Decided(ctx context.Context) error {
	var err error
	select {
	case err = <-p.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotLeading, err)
	}
	return nil
}

// Propose proposes a batch. Batches of one goroutine take effect in the order of the calls.
func (t *Tenure) Propose(b *Batch) Pending {
	p := Pending{d: t.r.d, done: make(chan error, 1)}
	if !t.r.mayAsk() {
		p.done <- raft.ErrRaftShutdown
		return p
	}
	future := t.r.raft.Apply(b.entry(t.term), 0)
	go func() {
		defer t.r.asked.Done()
		err := future.Error()
		if err == nil {
			err, _ = future.Response().(error)
		}
		p.done <- err
	}()
	return p
}

// Flush blocks until the databases of this member have all decided batches.
func (t *Tenure) Flush() error { return t.r.d.flush() }

// DB returns a database for reading.
func (t *Tenure) DB(s Store) *state.DB { return t.r.DB(s) }

// errLaterTenure means that this member leads, but in a later tenure.
var errLaterTenure = errors.New("this coordinator leads anew")

// Verify blocks until a majority has confirmed that this member leads, and still in this tenure.
func (t *Tenure) Verify() error {
	err := t.r.ask(func() error { return t.r.raft.VerifyLeader().Error() })
	if err == nil && t.r.raft.CurrentTerm() != t.term {
		err = errLaterTenure
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotLeading, err)
	}
	return nil
}
