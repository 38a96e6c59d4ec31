package tasks

import (
	"fmt"
	"slices"
	"time"
)

// Option sets how a task runs, or how its caller waits. Unless its documentation lists other
// functions, an option is for [Do], [Scatter], [Enqueue], [EnqueueAll] and [AddToGroup]. Elsewhere
// it is an error.
type Option interface{ apply(*spec) }

type option func(*spec)

func (o option) apply(s *spec) { o(s) }

// spec is the sum of the options.
type spec struct {
	priority Priority
	unique   string
	fresh    bool // see Coalesce
	once     string
	due      time.Time
	after    time.Duration
	policy   policy
	keep     time.Duration // default of policy.keep
	group    ID
	place    int64 // number of tasks submitted to the group so far
	then     []next
	lossy    bool
	partial  bool
	deadline time.Duration
	update   func(Update)
	joined   *bool
	parent   ID // task whose handler waits
	trace    string
	invalid  error

	batchSize int
	batchWait time.Duration
}

// policy has the attempts and times of a task; zero fields mean the defaults of the options.
type policy struct {
	attempts                        int
	backoff, maxBackoff, soft, hard time.Duration
	keep                            *time.Duration // nil: spec.keep
}

// next is a follower.
type next struct {
	function string
	priority Priority
	policy   policy
}

// defaultKeep is the default of Keep for Enqueue.
const defaultKeep = 10 * time.Minute

// taskSpec is specOf for a task of function.
func taskSpec(function string, keep time.Duration, options []Option) (spec, error) {
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
		s.setInvalid("BatchSize and BatchWait are for HandleBatch")
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

// handlerSpec applies the options of a handler.
func handlerSpec(function string, batch bool, options []Option) (spec, error) {
	if _, err := taskSpec(function, 0, nil); err != nil {
		return spec{}, err
	}
	s := apply(options)
	p := s.policy
	switch {
	case !batch && (s.batchSize != 0 || s.batchWait != 0):
		s.setInvalid("BatchSize and BatchWait of function %s are for HandleBatch", function)
	case s.priority != Normal || s.unique != "" || s.once != "" || !s.due.IsZero() || s.after != 0 || p.attempts != 0 || p.backoff != 0 || p.maxBackoff != 0 || p.soft != 0 || p.keep != nil ||
		s.then != nil || s.lossy || s.partial || s.deadline != 0 || s.update != nil || s.joined != nil:
		s.setInvalid("function %s: handlers take only the option HardLimit, batch handlers BatchSize and BatchWait too", function)
	}
	return s, s.invalid
}

// setInvalid records the first error.
func (s *spec) setInvalid(format string, args ...any) {
	if s.invalid == nil {
		s.invalid = fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
	}
}

// duration returns an option that sets a field to d, which must not be negative.
func duration(name string, d time.Duration, field func(*spec) *time.Duration) Option {
	return option(func(s *spec) {
		if d < 0 {
			s.setInvalid("%s %v is negative", name, d)
		}
		*field(s) = d
	})
}

// Priority orders tasks over all functions: waiting tasks of [High] start before [Normal], and
// these before [Low]. So that no priority starves, 1 start in 18 is Low and 1 in 18 Normal if tasks
// of that priority could start. A Priority is an Option.
type Priority uint8

// The priorities. The default is Normal.
const (
	Normal Priority = iota
	High
	Low
)

func (p Priority) apply(s *spec) {
	if p > Low {
		s.setInvalid("priority %d is none of High, Normal and Low", p)
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

// Unique merges tasks with the same function and key. While one of them has not ended, a second
// submit creates no task: it joins the first and gets its ID. [Do] then returns the result of the
// first, and its updates from now on. [Joined] reports it.
//
// The input of the first submit counts, and the input of the second is dropped, even if the first
// task has not started or waits after a failure. The options of the first count, with these
// exceptions: the earlier start, the higher priority and the longest [Keep] of both count, and
// [Enqueue] makes the task durable. A submit without [After] ends a delay, also after a failure.
//
// The empty key merges nothing. Unique is not for [Scatter], [EnqueueAll] and [AddToGroup].
func Unique(key string) Option { return option(func(s *spec) { s.unique, s.fresh = key, false }) }

// Coalesce is [Unique] for tasks that bring something up to date, such as the document of a changed
// row: every submit is followed by a run that began after it. A submit that finds a task of its key
// waiting joins it. One that finds it running makes it run once more, when this run has ended, with
// all its attempts. So a thousand submits cost at most one run that waits, one task of a key runs
// at a time, and none reads what was there before a submit and leaves it at that.
//
// The ID and [IdempotencyKey] stay the same, and [Do] and [Attach] return the last result. All
// submits of a key should have the same input, since the input of the first submit counts: the key
// of the row, not its content.
func Coalesce(key string) Option { return option(func(s *spec) { s.unique, s.fresh = key, true }) }

// Once makes a submit safe to repeat: the first submit of a function with the key makes a task, and
// each later one returns the ID of that task, even if the task has ended, and after a restart of
// the coordinator. The input and the options of later submits are dropped. The coordinator
// remembers the last million submits. Unlike [Unique], it does not look at what a task is doing.
// Use a key that names one piece of work, such as an order, a day or workflow.Key. It is for
// [Enqueue] alone.
func Once(key string) Option { return option(func(s *spec) { s.once = key }) }

// Joined sets *joined to whether the submit joined a task with its [Unique] key instead of making
// one. It is for [Enqueue] and [Do].
func Joined(joined *bool) Option { return option(func(s *spec) { s.joined = joined }) }

// After delays the start of the task by at least d; zero means no delay.
func After(d time.Duration) Option {
	return duration("After", d, func(s *spec) *time.Duration { return &s.after })
}

// At delays the start of the task until t. A past time or the zero time means no delay.
func At(t time.Time) Option { return option(func(s *spec) { s.due = t }) }

// Attempts is the number of attempts that may fail or exceed their limit. The default, also for
// zero, is 5. After the last one, a task of Enqueue is a dead letter; see [Client.Dead].
//
// Attempts lost with their worker are counted apart. A task whose worker was lost runs alone next:
// its worker runs nothing else meanwhile. If it is lost again while it runs alone, this loss counts
// for it, and after that number of such losses the task fails. So a task that kills its process
// ends, and the tasks beside it do not. Attempts(1) means that a task never runs twice: a loss ends
// it too.
func Attempts(n int) Option {
	return option(func(s *spec) {
		if n < 0 || n >= 1<<16 {
			s.setInvalid("Attempts %d is not 0 to 65535", n)
		}
		s.policy.attempts = n
	})
}

// Backoff is the delay before the second attempt. It doubles with each further attempt, up to most.
// The defaults, also for zero, are 1 s and 1 hour. The first loss of a worker causes no delay.
func Backoff(first, most time.Duration) Option {
	return option(func(s *spec) {
		if first < 0 || most < 0 {
			s.setInvalid("Backoff %v, %v: neither may be negative", first, most)
		}
		s.policy.backoff, s.policy.maxBackoff = first, most
	})
}

// SoftLimit is the time after which the handler of an attempt is asked to finish; see [Hurry]. The
// default, also for zero, is no limit.
func SoftLimit(d time.Duration) Option {
	return duration("SoftLimit", d, func(s *spec) *time.Duration { return &s.policy.soft })
}

// HardLimit is the time after which an attempt counts as failed; the context of its handler ends
// then, and has it as its Deadline. The default, also for zero, is no limit. Lost workers are
// detected without it.
func HardLimit(d time.Duration) Option {
	return duration("HardLimit", d, func(s *spec) *time.Duration { return &s.policy.hard })
}

// Keep is how long the outcome and the result are available after the end, from [Attach] and
// [Client.Status]. The default is 10 minutes for [Enqueue]. It is zero for [Do] and [Scatter], as
// they return the result.
func Keep(d time.Duration) Option {
	return duration("Keep", d, func(s *spec) *time.Duration {
		s.policy.keep = new(time.Duration)
		return s.policy.keep
	})
}

// Lossy lets the coordinator accept the task before it is on disk: a restart of the coordinator
// then loses it. It is for [Enqueue], [EnqueueAll] and [OpenGroup]. Tasks of [Do] and [Scatter] are
// always lossy, as they end with their caller.
func Lossy() Option { return option(func(s *spec) { s.lossy = true }) }

// Then adds a follower: a task of function that runs after this one with its result as input. A
// second Then follows the first, and so on. [Do] returns the result of the last. A follower takes a
// priority and options for attempts, limits and keeping.
func Then(function string, options ...Option) Option {
	return option(func(s *spec) {
		n, err := taskSpec(function, 0, options)
		switch {
		case err != nil:
			s.setInvalid("Then %q: %v", function, err)
		case n.unique != "" || n.once != "" || !n.due.IsZero() || n.after != 0 || n.then != nil || n.lossy || n.partial || n.deadline != 0 || n.update != nil || n.joined != nil || n.parent != 0:
			s.setInvalid("Then %q takes options about priority, attempts, limits and keeping only", function)
		}
		s.then = append(slices.Clip(s.then), next{function, n.priority, n.policy})
	})
}

// Partial makes a group continue after tasks failed or were cancelled; see [Gathered]. Without it,
// the first such task ends the group. It is for [OpenGroup].
func Partial() Option { return option(func(s *spec) { s.partial = true }) }

// CalledBy declares that the running task waits for this call. In a handler the context does so: it
// is for programs that a handler has started, which get the ID in LAYSHAFT_TASK_ID. A worker whose
// tasks all wait lends their slots to the tasks that they wait for. It is for [Do], [Scatter] and
// [Attach]. An ID of zero, or of a task that has ended, has no effect.
func CalledBy(task ID) Option { return option(func(s *spec) { s.parent = task }) }

// Deadline is how long the caller waits. After it [Do] returns an error that is
// [context.DeadlineExceeded], and [Scatter] yields this error for each input without a result.
// Tasks without other waiting clients are dropped. The default, also for zero, is to wait until ctx
// ends.
func Deadline(d time.Duration) Option {
	return duration("Deadline", d, func(s *spec) *time.Duration { return &s.deadline })
}

// OnUpdate calls f with each update of a task while its caller waits, in order and including the
// end, from one goroutine. While f runs, later updates wait; in the end the handler's [Send]
// blocks. It is for [Do], [Scatter] and [Attach].
func OnUpdate(f func(Update)) Option { return option(func(s *spec) { s.update = f }) }
