package workflow

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime/debug"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/retry"
)

// Config says where a workflow runs.
type Config struct {
	// Dir holds the results of steps, in a directory for each workflow. It is required, and made
	// if it is missing. Only one process may run a workflow of Dir at a time. On Unix, another one
	// gets an error at once.
	Dir string
	// Parallel is the limit of steps that run at once. Zero means no limit.
	Parallel int
	// Log receives a line for each step. Nil means silence.
	Log *slog.Logger
}

// StepError is the error of a step.
type StepError struct {
	Step     string
	Attempts int
	Err      error
}

func (e *StepError) Error() string {
	if e.Attempts > 1 {
		return fmt.Sprintf("step %s, after %d attempts: %v", e.Step, e.Attempts, e.Err)
	}
	return fmt.Sprintf("step %s: %v", e.Step, e.Err)
}

func (e *StepError) Unwrap() error { return e.Err }

// Run runs the steps that are not done yet. It returns when all are done, or when no other step can
// run: steps that do not need a failed one still run. The error then joins a StepError for each
// failed step. If ctx ends, Run waits for the running steps and returns the cause.
func (d *Definition[P]) Run(ctx context.Context, c Config, params P) error {
	w, err := d.plan(params)
	if err != nil {
		return err
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.Dir == "":
		return errors.New("workflow " + d.name + ": Config.Dir is empty; name a directory for the results of steps")
	case c.Parallel < 0:
		return fmt.Errorf("workflow %s: Parallel %d is negative; use 0 for no limit", d.name, c.Parallel)
	}
	s, err := openStore(c.Dir, d.name, params)
	if err == nil {
		defer s.close()
		err = w.run(ctx, c, s)
	}
	if err != nil {
		return fmt.Errorf("workflow %s: %w", d.name, err)
	}
	return nil
}

func (w *Workflow) run(ctx context.Context, c Config, s *store) error {
	done, err := s.load(w.steps)
	if err == nil && len(done) == len(w.steps) { // the last process ended before it could end the run
		if err = s.finish(w.steps); err == nil {
			err = s.begin()
		}
		if err == nil {
			done, err = s.load(w.steps)
		}
	}
	if err != nil {
		return err
	}
	for name := range done {
		c.Log.Info("step kept", "workflow", w.name, "run", s.run, "step", name)
	}
	type end struct {
		step *step
		err  error
	}
	ends := make(chan end)
	started, running := map[string]bool{}, 0
	var failed []error
	for {
		for _, st := range w.steps {
			if done[st.name] || started[st.name] || ctx.Err() != nil || !allDone(st.after, done) || c.Parallel > 0 && running == c.Parallel {
				continue
			}
			started[st.name] = true
			running++
			go func() { ends <- end{st, w.attempts(ctx, c, s, st)} }()
		}
		if running == 0 {
			break
		}
		e := <-ends
		running--
		if e.err != nil {
			failed = append(failed, e.err)
			continue
		}
		done[e.step.name] = true
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case len(failed) > 0:
		return errors.Join(failed...)
	}
	return s.finish(w.steps)
}

func allDone(steps []*step, done map[string]bool) bool {
	for _, s := range steps {
		if !done[s.name] {
			return false
		}
	}
	return true
}

// attempts runs a step until it is done, has failed for the last time, or ctx ends.
func (w *Workflow) attempts(ctx context.Context, c Config, s *store, st *step) error {
	log := c.Log.With("workflow", w.name, "run", s.run, "step", st.name)
	pause := retry.Backoff{Min: time.Second, Max: time.Minute}
	for n := 1; ; n++ {
		begun := time.Now()
		err := w.attempt(ctx, s, st)
		if err == nil {
			log.Info("step done", "attempt", n, "took", time.Since(begun).Round(time.Millisecond))
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if n == st.attempts {
			return &StepError{st.name, n, err}
		}
		log.Warn("step failed, will run again", "attempt", n, "of", st.attempts, "err", err)
		if err := pause.Wait(ctx); err != nil {
			return err
		}
	}
}

// attempt runs a step once, and stores its result.
func (w *Workflow) attempt(ctx context.Context, s *store, st *step) (err error) {
	if st.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, st.timeout, fmt.Errorf("the attempt took longer than %v", st.timeout))
		defer cancel()
	}
	value, err := call(context.WithValue(ctx, placeKey{}, &place{st, s.run}), st)
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		return err
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("its result cannot be stored as JSON: %w", err)
	}
	stored, err := st.decode(text)
	if err != nil {
		return fmt.Errorf("its result cannot be read from JSON: %w", err)
	}
	if again, err := json.Marshal(stored); err != nil || !bytes.Equal(again, text) || hidesFields(reflect.TypeOf(value)) {
		return fmt.Errorf("its result %T is another one after JSON; export its fields, and use bytes in place of text that is not UTF-8", value)
	}
	if err := s.store(st.name, text); err != nil {
		return err
	}
	st.value = stored
	return nil
}

// hidesFields reports whether a struct has only fields that JSON leaves out.
func hidesFields(t reflect.Type) bool {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct || t.NumField() == 0 || t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return false
	}
	for i := range t.NumField() {
		if t.Field(i).IsExported() {
			return false
		}
	}
	return true
}

// call calls the function of a step.
func call(ctx context.Context, st *step) (value any, err error) {
	ended := make(chan struct{})
	go func() { // runtime.Goexit in the function ends this goroutine alone
		defer close(ended)
		err = errors.New("its function ended its goroutine, as runtime.Goexit and t.FailNow do; return an error instead")
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
			}
		}()
		value, err = st.run(ctx)
	}()
	<-ended
	return value, err
}

// newRun returns the ID of a new run.
func newRun() string {
	return time.Now().UTC().Format("20060102-150405-") + strings.ToLower(rand.Text()[:6])
}
