package tasks

import (
	"fmt"
	"slices"
	"time"
)

// Option says how a task is run, or how its caller waits. Each says where it belongs when it is not for all of [Do], [Scatter],
// [Enqueue], [EnqueueAll] and [AddToGroup]; elsewhere it is an error of the call.
type Option interface{ apply(*spec) }

type option func(*spec)

func (o option) apply(s *spec) { o(s) }

// spec is what the options of a call amount to.
type spec struct {
	priority Priority
	unique   string
	due      time.Time
	after    time.Duration
	policy   policy
	keep     time.Duration // default of policy.keep
	group    ID
	place    int64 // of the last task that was handed over to the group
	then     []next
	lossy    bool
	partial  bool
	deadline time.Duration
	update   func(Update)
	invalid  error

	batchSize int
	batchWait time.Duration
}

// policy is how often and how long a task is tried; zero fields have the defaults of the options.
type policy struct {
	attempts                        int
	backoff, maxBackoff, soft, hard time.Duration
	keep                            *time.Duration // nil: the default of the call
}

// next is a task that follows.
type next struct {
	function string
	priority Priority
	policy   policy
}

// defaultKeep is how long the outcome of a task of Enqueue can be asked for.
const defaultKeep = 10 * time.Minute

// callSpec is specOf for a call of function.
func callSpec(function string, keep time.Duration, options []Option) (spec, error) {
	if function == "" || len(function) > 512 {
		return spec{}, fmt.Errorf("%w: %q is not the name of a function, which is 1 to 512 bytes", ErrInvalid, function)
	}
	return specOf(keep, options)
}

// specOf applies options; keep is the default of Keep.
func specOf(keep time.Duration, options []Option) (spec, error) {
	s := apply(options)
	s.keep = keep
	if s.batchSize != 0 || s.batchWait != 0 {
		s.refuse("BatchSize and BatchWait are for HandleBatch")
	}
	return s, s.invalid
}

func apply(options []Option) (s spec) {
	for _, o := range options {
		if o != nil {
			o.apply(&s)
		}
	}
	return s
}

// handlerSpec is the options of a handler.
func handlerSpec(function string, batch bool, options []Option) (spec, error) {
	if _, err := callSpec(function, 0, nil); err != nil {
		return spec{}, err
	}
	s := apply(options)
	p := s.policy
	switch {
	case !batch && (s.batchSize != 0 || s.batchWait != 0):
		s.refuse("BatchSize and BatchWait of function %s are for HandleBatch", function)
	case s.priority != Normal || s.unique != "" || !s.due.IsZero() || s.after != 0 || p.attempts != 0 || p.backoff != 0 || p.maxBackoff != 0 || p.soft != 0 || p.keep != nil ||
		s.then != nil || s.lossy || s.partial || s.deadline != 0 || s.update != nil:
		s.refuse("function %s: of options handlers take HardLimit, and those of batches BatchSize and BatchWait too; the others are for calls", function)
	}
	return s, s.invalid
}

// refuse notes the first error.
func (s *spec) refuse(format string, args ...any) {
	if s.invalid == nil {
		s.invalid = fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
	}
}

// duration sets a field to d, which must not be negative.
func duration(name string, d time.Duration, field func(*spec) *time.Duration) Option {
	return option(func(s *spec) {
		if d < 0 {
			s.refuse("%s %v is negative", name, d)
		}
		*field(s) = d
	})
}

// Priority orders tasks over all functions: every waiting task of [High] goes before those of [Normal], and those before [Low], but of
// the starts that could have been of a lower priority, one in 18 is Low and one in 18 Normal, so that none starves. It is an Option.
type Priority uint8

// The priorities. Without an option a task is Normal.
const (
	Normal Priority = iota
	High
	Low
)

func (p Priority) apply(s *spec) {
	if p > Low {
		s.refuse("priority %d is none of High, Normal and Low", p)
	}
	s.priority = p
}

// String returns high, normal or low.
func (p Priority) String() string {
	if p > Low {
		return fmt.Sprintf("priority %d", uint8(p))
	}
	return [...]string{"normal", "high", "low"}[p]
}

// Unique makes tasks of the same function and key one: while one has not ended, a second is not made, and whoever submits it gets the ID of the
// first and, with [Do], its updates from then on and its result. The options of the first count, but for [Keep], of which the longest does, and the
// survival that [Enqueue] promises. An empty key joins nothing.
// It is not for [Scatter], [EnqueueAll] and [AddToGroup].
func Unique(key string) Option { return option(func(s *spec) { s.unique = key }) }

// After makes the task start d from now at the soonest; zero means now.
func After(d time.Duration) Option {
	return duration("After", d, func(s *spec) *time.Duration { return &s.after })
}

// At makes the task start at t at the soonest. A time that has passed, and the zero time, mean now.
func At(t time.Time) Option { return option(func(s *spec) { s.due = t }) }

// Attempts is how often the task is tried at most, whether its attempts failed, took too long or were lost with their worker. Without
// it, and for zero, 5. After the last one a task of Enqueue is a dead letter; see [Client.Dead].
func Attempts(n int) Option {
	return option(func(s *spec) {
		if n < 0 || n >= 1<<16 {
			s.refuse("Attempts %d is not 0 to 65535", n)
		}
		s.policy.attempts = n
	})
}

// Backoff is the wait before the second attempt, which doubles with each one after it up to most. Without it, and for zero, 1 s and 1 hour.
// The first time that a task loses its worker it does not wait.
func Backoff(first, most time.Duration) Option {
	return option(func(s *spec) {
		if first < 0 || most < 0 {
			s.refuse("Backoff %v, %v: neither may be negative", first, most)
		}
		s.policy.backoff, s.policy.maxBackoff = first, most
	})
}

// SoftLimit is how long an attempt may run before its handler is asked to come to an end; see [Hurry]. Without it, and for zero, for ever.
func SoftLimit(d time.Duration) Option {
	return duration("SoftLimit", d, func(s *spec) *time.Duration { return &s.policy.soft })
}

// HardLimit is how long an attempt may run before it counts as failed; the context of its handler ends. Without it, and for zero,
// for ever: it has nothing to do with workers that die, which are noticed anyhow.
func HardLimit(d time.Duration) Option {
	return duration("HardLimit", d, func(s *spec) *time.Duration { return &s.policy.hard })
}

// Keep is how long outcome and result can be asked for after the end, with [Attach] and [Client.Status]. Without it 10 minutes after [Enqueue]
// and not at all after [Do] and [Scatter], which have handed the result over.
func Keep(d time.Duration) Option {
	return duration("Keep", d, func(s *spec) *time.Duration {
		s.policy.keep = new(time.Duration)
		return s.policy.keep
	})
}

// Lossy says that the coordinator need not write the task to disk before it accepts it: its restart then loses the task. It is for [Enqueue],
// [EnqueueAll] and [OpenGroup]; tasks that a caller waits for are always so, since they end with their caller.
func Lossy() Option { return option(func(s *spec) { s.lossy = true }) }

// Then makes a task of function follow this one, with its result as input. A second Then follows the first, and so on. The caller of [Do] gets
// the result of the last. Of options a follower takes a priority and those about attempts, limits and keeping.
func Then(function string, options ...Option) Option {
	return option(func(s *spec) {
		n, err := callSpec(function, 0, options)
		switch {
		case err != nil:
			s.refuse("Then %q: %v", function, err)
		case n.unique != "" || !n.due.IsZero() || n.after != 0 || n.then != nil || n.lossy || n.partial || n.deadline != 0 || n.update != nil:
			s.refuse("Then %q takes options about priority, attempts, limits and keeping only", function)
		}
		s.then = append(slices.Clip(s.then), next{function, n.priority, n.policy})
	})
}

// Partial makes a group go on although tasks of it failed or were cancelled; see [Gathered]. Without it the first of them ends the group. It is for [OpenGroup].
func Partial() Option { return option(func(s *spec) { s.partial = true }) }

// Deadline is how long the caller waits. After it [Do] returns an error that is [context.DeadlineExceeded], and [Scatter] yields that error for
// each input without a result; tasks that only this caller waits for are dropped. Without it, and for zero, as long as the context says.
func Deadline(d time.Duration) Option {
	return duration("Deadline", d, func(s *spec) *time.Duration { return &s.deadline })
}

// OnUpdate calls f with each update of a task while its caller waits, in order, the end too, from one goroutine. While f runs, the updates behind wait, at last
// in the handler's [Send]. It is for calls that wait: [Do], [Scatter], [Attach].
func OnUpdate(f func(Update)) Option { return option(func(s *spec) { s.update = f }) }
