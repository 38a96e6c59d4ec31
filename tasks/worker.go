package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/machine"
	"github.com/layshaft/layshaft/internal/wire/taskwire"
)

// Worker runs tasks of the functions added with [Handle]. Set its fields before Run; zero values
// are good defaults.
type Worker struct {
	// Name is shown in lists of workers. Empty means the name of the machine. A suffix makes it
	// unique.
	Name string
	// Concurrency is the maximum number of tasks running at once. Zero means one for each processor
	// that this process may use, times the largest BatchSize if the worker handles batches:
	// GOMAXPROCS, or the CPU quota of its cgroups if that is less.
	Concurrency int
	// Reserved is the number of slots kept for tasks of [High] priority. It must be less than
	// Concurrency, unless the worker is only for such tasks.
	Reserved int
	// SlotsOf is the worker ID of a layshaft worker; `layshaft worker list -o json` shows it. Tasks
	// then use the slots of that worker, and the coordinator divides them between tasks and
	// pipelines by priority. Concurrency still limits the tasks at once. Reserved must be 0, as
	// that worker reserves slots. While that worker is away, no task starts. Empty means own slots.
	SlotsOf string
	// MaxTasks makes Run return after this number of tasks. It is for programs restarted by a
	// supervisor, for example because of leaks. Zero means no limit.
	MaxTasks int
	// IdleExit makes Run return after this time without a task. Up to a quarter is added at random,
	// so that workers started together do not stop together. Zero means never.
	IdleExit time.Duration
	// Drain is how long running tasks may continue after the context of Run has ended. Then their
	// contexts end too, and one second later the tasks go to other workers. Zero means 30 s; a
	// negative value means not to wait.
	Drain time.Duration
	// Idle, if set, is called for work between tasks: when the worker starts and whenever its last
	// task has ended. Its context ends when a task arrives, or with Run. Calls never overlap.
	Idle func(ctx context.Context)
	// Hooks are called for the outcomes of tasks on this worker.
	Hooks Hooks
	// Gossip makes the worker a member of the cluster.
	Gossip Gossip

	cluster  Cluster
	handlers map[string]*handler
	slots    int // effective Concurrency during Run
	invalid  error
	state    workerState
}

// Hooks are functions called by a worker after a handler has returned, in the task's goroutine,
// before the report to the coordinator. Nil hooks are skipped. The hook depends on what the worker
// can tell by then: after the [HardLimit] it is Retry or Failed, whatever the handler returned. For
// a task that was cancelled, or lost with its worker, no hook is called.
type Hooks struct {
	// Done: the task is done.
	Done func(Event)
	// Warning: the handler called Warn.
	Warning func(Event)
	// Retry: the attempt failed or exceeded its limit, and another attempt follows.
	Retry func(Event)
	// Failed: the attempt failed or exceeded its limit, and was the last, or its error was Fatal.
	Failed func(Event)
}

// Event is the argument of a hook.
type Event struct {
	Task     ID     // ID of the task
	Function string // name of the function
	// Attempt is the number of the attempt, from 1.
	Attempt int
	// Took is the time since the attempt began.
	Took time.Duration
	// Err is the handler's error or panic, for Retry and Failed. It wraps [ErrTimedOut] after the
	// hard limit.
	Err error
	// Text is the message of Warning.
	Text string
}

// handler runs the tasks of one function.
type handler struct {
	timeout time.Duration
	batch   int // BatchSize; zero: none
	run     func(ctx context.Context, in input) ([]byte, error)
}

// input is the input of a task: a payload. If done is not nil, the payload encodes the results of a
// group, and the other fields have them decoded.
type input struct {
	payload []byte
	results [][]byte
	done    []bool
}

// NewWorker returns a worker. It does nothing until Run.
func NewWorker(cluster Cluster) *Worker {
	return &Worker{cluster: cluster, handlers: map[string]*handler{}}
}

// Handle makes the worker run tasks of a function. f gets the input and returns the result or an
// error; see [Fatal]. The context of f ends when the attempt is no longer needed: the task was
// cancelled, reached its [HardLimit], or lost its caller. The cause of the context is the reason. f
// is called from up to Worker.Concurrency goroutines at once. A panic in f is an error of the
// attempt and includes the stack.
//
// If the input cannot be decoded as an In, the task fails for good. A task may have several
// attempts; see [IdempotencyKey].
//
// Call Handle before Run. A function name that is empty, longer than 512 bytes or handled twice,
// and a nil f, are errors of Run. Handle takes the option [HardLimit], for all tasks of the
// function on this worker.
func Handle[In, Out any](w *Worker, function string, f func(ctx context.Context, in In) (Out, error), options ...Option) {
	s, err := handlerSpec(function, false, options)
	h := &handler{timeout: s.policy.hard, run: func(ctx context.Context, in input) ([]byte, error) {
		v, err := decodeInput[In](in)
		if err != nil {
			return nil, Fatal(fmt.Errorf("input of %s: %w", function, err))
		}
		out, err := f(ctx, v)
		if err != nil {
			return nil, err
		}
		return encodeResult(function, out)
	}}
	w.addHandler(function, h, f == nil, err)
}

// addHandler adds a function to the worker, or records why it is invalid.
func (w *Worker) addHandler(function string, h *handler, none bool, err error) {
	switch {
	case err != nil:
	case none:
		err = fmt.Errorf("%w: function %s has no handler", ErrInvalid, function)
	case w.handlers[function] != nil:
		err = fmt.Errorf("%w: function %s has two handlers", ErrInvalid, function)
	}
	w.invalid = errors.Join(w.invalid, err)
	w.handlers[function] = h
}

func encodeResult(function string, out any) ([]byte, error) {
	b, err := encode(out)
	if err != nil {
		return nil, Fatal(fmt.Errorf("result of %s: %w", function, err))
	}
	return b, nil
}

func decodeInput[In any](in input) (In, error) {
	if in.done == nil {
		return decode[In](in.payload)
	}
	switch any((*In)(nil)).(type) {
	case *[]byte, *string, *json.RawMessage:
		text, err := taskwire.GatheredJSON(in.payload)
		if err != nil {
			return *new(In), err
		}
		return decode[In](text)
	}
	return decodeGathered[In](in.results, in.done)
}

// runSafely calls the handler and converts a panic into an error.
func (h *handler) runSafely(ctx context.Context, in input) (out []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n\n%s", v, debug.Stack())
		}
	}()
	return h.run(ctx, in)
}

// maxSlots is the largest Concurrency.
const maxSlots = 1 << 16

// withDefaults checks the fields and returns their effective values.
func (w *Worker) withDefaults() (name string, slots int, drain time.Duration, err error) {
	slots, drain = w.Concurrency, w.Drain
	if slots == 0 {
		batch := 1
		for _, h := range w.handlers {
			batch = max(batch, h.batch)
		}
		slots = min(machine.Processors()*batch, maxSlots)
	}
	if drain == 0 {
		drain = 30 * time.Second
	}
	if name = w.Name; name == "" {
		name, _ = os.Hostname() // only for display
		name, _, _ = strings.Cut(name, ".")
	}
	name = fmt.Sprintf("%s-%d-%06x", name, os.Getpid(), rand.N(1<<24))
	switch {
	case w.invalid != nil:
		err = w.invalid
	case len(w.handlers) == 0:
		err = fmt.Errorf("%w: the worker has no function; add one with Handle", ErrInvalid)
	case slots < 0 || slots > maxSlots || w.Reserved < 0 || w.Reserved > slots:
		err = fmt.Errorf("%w: Concurrency %d, Reserved %d: use 1 to 65536, and Reserved at most Concurrency", ErrInvalid, slots, w.Reserved)
	case w.SlotsOf != "" && w.Reserved > 0:
		err = fmt.Errorf("%w: Reserved %d: set the reserved slots where worker %s is started", ErrInvalid, w.Reserved, w.SlotsOf)
	case w.MaxTasks < 0 || w.IdleExit < 0:
		err = fmt.Errorf("%w: MaxTasks %d, IdleExit %v must not be negative", ErrInvalid, w.MaxTasks, w.IdleExit)
	}
	return name, slots, drain, err
}
