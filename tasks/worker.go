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
	"github.com/layshaft/layshaft/internal/wire"
)

// Worker runs tasks of the functions that [Handle] gives it. Its fields may be set until Run; zero values are good.
type Worker struct {
	// Name is shown where workers are listed. Empty means the name of the machine. A part that makes it unique is added.
	Name string
	// Concurrency is how many tasks run at once. Zero means the number of processors that this process
	// may use, times the largest BatchSize if the worker handles batches.
	Concurrency int
	// Reserved is how many of them only tasks of [High] priority may be. It must be less than Concurrency, unless the worker is for such alone.
	Reserved int
	// SlotsOf is the lasting name of a layshaft worker, the ID of `layshaft worker list -o json`, whose slots the tasks take: the coordinator
	// shares them out between tasks and attempts of pipelines, by priority. Concurrency then bounds the tasks at once, and Reserved must be 0:
	// that worker reserves slots. While it is not there no task starts. Empty means slots of its own.
	SlotsOf string
	// MaxTasks is after how many tasks Run returns, for programs that a supervisor starts anew to be rid of what they leaked. Zero means never.
	MaxTasks int
	// IdleExit is after how long without a task Run returns; a random part of up to a quarter is added, so that workers that began together
	// do not leave together. Zero means never.
	IdleExit time.Duration
	// Drain is how long running tasks may go on after the context of Run has ended. Then theirs end too, and after another second they are given to others.
	// Zero means 30 s; less than zero does not wait.
	Drain time.Duration
	// Idle, if not nil, is called whenever the worker has nothing to run any more, and when it begins, for work between tasks. Its context ends when a task
	// comes, or with Run. It is not called twice at once.
	Idle func(ctx context.Context)
	// Hooks hear what becomes of tasks on this worker.
	Hooks Hooks
	// Gossip makes the worker a member of the cluster.
	Gossip Gossip

	cluster  Cluster
	handlers map[string]*handler
	slots    int // Concurrency that Run uses
	invalid  error
	state    workerState
}

// Hooks are functions that a worker calls, from the goroutine of the task, when its handler has returned and before the coordinator hears of that. Nil ones are
// not called. They say what becomes of the task as far as the worker knows then: after the [HardLimit] that is Retry or Failed, whatever the handler
// returned, and a task that was cancelled, or lost with its worker, has no hook.
type Hooks struct {
	Done    func(Event) // the task is done
	Warning func(Event) // the handler called Warn
	Retry   func(Event) // the attempt failed or took too long, and there will be another
	Failed  func(Event) // the attempt failed or took too long, and it was the last, or its error Fatal
}

// Event is what a hook hears.
type Event struct {
	Task     ID
	Function string
	Attempt  int           // from 1
	Took     time.Duration // since the attempt began
	Err      error         // of Retry and Failed: what the handler returned, or what it panicked with; it wraps [ErrTimedOut] after the hard limit
	Text     string        // of Warning
}

// handler runs the tasks of one function.
type handler struct {
	timeout time.Duration
	batch   int // BatchSize; zero: none
	run     func(ctx context.Context, in input) ([]byte, error)
}

// input is what a task comes with: a payload, and, if done is not nil, the results of a group, which the payload encodes.
type input struct {
	payload []byte
	results [][]byte
	done    []bool
}

// NewWorker returns a worker that does nothing until Run.
func NewWorker(cluster Cluster) *Worker {
	return &Worker{cluster: cluster, handlers: map[string]*handler{}}
}

// Handle has a worker run tasks of a function. f gets the input, and returns the result or an error: see [Fatal]. Its context ends when the attempt is not wanted
// any more, with the reason as its cause: the task was cancelled, has reached its [HardLimit], or its caller has gone. f is called from many
// goroutines at once, up to Worker.Concurrency. A panic in f is an error of the attempt, with the stack.
//
// An input that is not an In fails the task for good. An attempt may be made more than once; see [IdempotencyKey].
//
// Handle must not be called after Run. A name that was given already, is empty or has more than 512 bytes, and a nil f, are errors of Run.
// Of options it takes [HardLimit], for all tasks of the function on this worker.
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
	w.handle(function, h, f == nil, err)
}

// handle gives the worker a function, or notes why it is invalid.
func (w *Worker) handle(function string, h *handler, none bool, err error) {
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
		text, err := wire.GatheredJSON(in.payload)
		if err != nil {
			return *new(In), err
		}
		return decode[In](text)
	}
	return decodeGathered[In](in.results, in.done)
}

// safely calls the handler, and makes an error of a panic.
func (h *handler) safely(ctx context.Context, in input) (out []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n\n%s", v, debug.Stack())
		}
	}()
	return h.run(ctx, in)
}

// maxSlots is the largest Concurrency.
const maxSlots = 1 << 16

// withDefaults checks the fields, and returns what Run uses of them.
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
		name, _ = os.Hostname() // it is for people
		name, _, _ = strings.Cut(name, ".")
	}
	name = fmt.Sprintf("%s-%d-%06x", name, os.Getpid(), rand.N(1<<24))
	switch {
	case w.invalid != nil:
		err = w.invalid
	case len(w.handlers) == 0:
		err = fmt.Errorf("%w: the worker has no function; give it some with Handle", ErrInvalid)
	case slots < 0 || slots > maxSlots || w.Reserved < 0 || w.Reserved > slots:
		err = fmt.Errorf("%w: Concurrency %d, Reserved %d: use 1 to 65536, and no more reserved than that", ErrInvalid, slots, w.Reserved)
	case w.SlotsOf != "" && w.Reserved > 0:
		err = fmt.Errorf("%w: Reserved %d: slots of %s are reserved where that worker is started", ErrInvalid, w.Reserved, w.SlotsOf)
	case w.MaxTasks < 0 || w.IdleExit < 0:
		err = fmt.Errorf("%w: MaxTasks %d, IdleExit %v must not be negative", ErrInvalid, w.MaxTasks, w.IdleExit)
	}
	return name, slots, drain, err
}
