package replica

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// LeadWhenever calls lead with each tenure of this member, one after another, until ctx ends; then
// it returns nil. The context of lead ends with the tenure.
//
// At the end of ctx another member takes over first, and this one serves until then, unless
// handOver is set and returns false. When lead fails during its tenure, another member takes over
// too. If none can, LeadWhenever returns an error. It also returns an error of lead that wraps
// ErrDamaged, once another member has been asked.
//
// An error of lead that wraps ErrNotLeading is no failure: raft refuses entries during a transfer,
// also if the other member does not take over. The next tenure may then be one of this member.
func (r *Replica) LeadWhenever(ctx context.Context, handOver func() bool, lead func(ctx context.Context, t *Tenure) error) error {
	for {
		t, err := r.Lead(ctx)
		if err != nil {
			return nil // ctx or the replica has ended
		}
		err = t.during(ctx, handOver, lead)
		switch {
		case ctx.Err() != nil:
			return nil
		case t.hasEnded():
			r.log.Warn("another coordinator leads now", "leader", r.Leader())
			continue
		case errors.Is(err, ErrNotLeading) && !errors.Is(err, ErrDamaged):
			r.log.Info("leading ends", "err", err)
		default:
			r.log.Error("leading failed; another coordinator takes over", "err", err)
			failed := t.Transfer("")
			if errors.Is(err, ErrDamaged) {
				return err
			}
			if failed != nil && !errors.Is(failed, ErrNotLeading) {
				return fmt.Errorf("%w; no other coordinator takes over: %w", err, failed)
			}
		}
		select {
		case <-t.lost:
		case <-time.After(r.cfg.Timeout): // until the transfer has succeeded or failed
		case <-ctx.Done():
		}
	}
}

// during calls lead.
func (t *Tenure) during(ctx context.Context, handOver func() bool, lead func(ctx context.Context, t *Tenure) error) error {
	within, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go func() {
		select {
		case <-t.lost:
			cancel()
		case <-within.Done():
		}
	}()
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		defer cancel()
		if handOver != nil && !handOver() {
			return
		}
		if err := t.Transfer(""); err != nil {
			t.r.log.Debug("no other coordinator takes over", "err", err)
		}
	})
	err := lead(within, t)
	if !stop() {
		<-ended
	}
	return err
}

// hasEnded reports whether the tenure has ended.
func (t *Tenure) hasEnded() bool {
	select {
	case <-t.lost:
		return true
	default:
		return false
	}
}
