// Package workflow runs steps in the order in which they need each other: pipelines, reports, tasks
// and any other code of a nightly run.
//
//	var nightly = workflow.Define("nightly", func(w *workflow.Workflow, in Params) {
//		orders := workflow.Step(w, "orders", func(ctx context.Context) (workflow.Files, error) {
//			return workflow.WaitForFiles(ctx, in.Target, nil, in.Orders)
//		})
//		totals := workflow.Step(w, "totals", func(ctx context.Context) (int, error) {
//			rows, err := Totals.Collect(ctx, in.Target, orders.Value(ctx).Paths())
//			return len(rows), err
//		}, workflow.After(orders), workflow.Retry(3))
//		workflow.Step(w, "mail", func(ctx context.Context) (workflow.None, error) {
//			_, err := client.Enqueue(ctx, "mail", Mail{totals.Value(ctx)}, tasks.Once(workflow.Key(ctx)))
//			return workflow.None{}, err
//		}, workflow.After(totals))
//	})
//
//	err := nightly.Run(ctx, workflow.Config{Dir: "/var/lib/nightly"}, params)
//
// Steps without a step between them run at once. The result of each step is stored in Dir before
// the next ones start. A run that was killed, or in which a step failed, continues when Run is
// called again with the same parameters: steps that are done keep their results. When all steps are
// done, the next call starts anew. So a workflow fits a schedule:
//
//	layshaft schedule add nightly '30 2 * * *' -- nightly
//
// A step may run again after a crash, even if it had done its work just before. Pipelines with
// Local.State then use what is done, and tasks.Once with [Key] submits no task twice. A name
// identifies a step: a new program keeps the results of a run that has not ended, as far as names
// and types are the same.
package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"time"
)

// None is the result of a step that has none.
type None struct{}

// Definition is a workflow with its parameters.
type Definition[P any] struct {
	name  string
	build func(w *Workflow, params P)
}

// Define names a workflow. build adds its steps; it must add the same ones for the same parameters.
// It is called by each Run and Draw, so it must do no work itself.
func Define[P any](name string, build func(w *Workflow, params P)) *Definition[P] {
	return &Definition[P]{name, build}
}

// plan returns the steps for parameters.
func (d *Definition[P]) plan(params P) (*Workflow, error) {
	w := &Workflow{name: d.name, byName: map[string]*step{}}
	switch {
	case !isName(d.name):
		return nil, fmt.Errorf("workflow %q: its name must be of the form %s", d.name, names)
	case d.build == nil:
		return nil, fmt.Errorf("workflow %s: its function is nil", d.name)
	}
	d.build(w, params)
	if len(w.steps) == 0 && len(w.errs) == 0 {
		return nil, fmt.Errorf("workflow %s has no steps: add some with workflow.Step", d.name)
	}
	return w, errors.Join(w.errs...)
}

// names is the form of the names of workflows and steps, which are names of files, too.
var names = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

func isName(s string) bool { return names.MatchString(s) }

// Workflow collects the steps of a Definition.
type Workflow struct {
	name   string
	steps  []*step
	byName map[string]*step
	errs   []error
}

func (w *Workflow) refuse(step, format string, args ...any) {
	w.errs = append(w.errs, fmt.Errorf("workflow %s: step %s: %w", w.name, step, fmt.Errorf(format, args...)))
}

// step is a step without the type of its result.
type step struct {
	w        *Workflow
	name     string
	after    []*step
	attempts int
	timeout  time.Duration
	run      func(ctx context.Context) (any, error)
	decode   func(text json.RawMessage) (any, error)

	value any // once the step is done
	last  any // of the last run that ended; nil if there is none
}

// follows reports whether other must be done before s.
func (s *step) follows(other *step) bool {
	return slices.ContainsFunc(s.after, func(a *step) bool { return a == other || a.follows(other) })
}

// Result is the result of a step.
type Result[T any] struct{ s *step }

// Step adds a step. Its result is stored as JSON, so only exported fields of it remain. A panic of
// f is an error. The name is unique in the workflow.
func Step[T any](w *Workflow, name string, f func(ctx context.Context) (T, error), opts ...Option) *Result[T] {
	s := &step{w: w, name: name, attempts: 1}
	s.run = func(ctx context.Context) (any, error) {
		v, err := f(ctx)
		return v, err
	}
	s.decode = func(text json.RawMessage) (any, error) {
		var v T
		err := json.Unmarshal(text, &v)
		return v, err
	}
	switch {
	case !isName(name):
		w.refuse(fmt.Sprintf("%q", name), "the name must be of the form %s", names)
	case w.byName[name] != nil:
		w.refuse(name, "there are two steps of this name")
	case f == nil:
		w.refuse(name, "its function is nil")
	}
	for _, o := range opts {
		if o != nil {
			o(s)
		}
	}
	w.steps = append(w.steps, s)
	w.byName[name] = s
	return &Result[T]{s}
}

// Value returns the result, in a step that comes after this one. In other places it panics, because
// the result may not exist there.
func (r *Result[T]) Value(ctx context.Context) T {
	at := atStep(ctx)
	if at == nil || !at.step.follows(r.s) {
		panic(fmt.Sprintf("workflow: the result of step %s is needed where it may not exist: add workflow.After for that step", r.s.name))
	}
	v, _ := r.s.value.(T) // a result of an interface type may be nil
	return v
}

// Last returns the result in the last run of the workflow that ended, with any parameters, and
// whether there is one. Any step may ask for it.
func (r *Result[T]) Last(ctx context.Context) (v T, ok bool) {
	if atStep(ctx) == nil {
		panic(fmt.Sprintf("workflow: the last result of step %s is only known in a step", r.s.name))
	}
	v, ok = r.s.last.(T)
	return v, ok
}

func (r *Result[T]) stepOf() *step { return r.s }

// Awaited is a Result of any type.
type Awaited interface{ stepOf() *step }

// Option changes how a step runs.
type Option func(s *step)

// After makes a step wait until other steps are done. Without After, a step starts at once.
func After(steps ...Awaited) Option {
	return func(s *step) {
		for _, a := range steps {
			if a == nil || reflect.ValueOf(a).IsNil() || a.stepOf().w != s.w {
				s.w.refuse(s.name, "After names a step that does not belong to this workflow")
				continue
			}
			s.after = append(s.after, a.stepOf())
		}
	}
}

// Retry makes a step that fails run again, up to attempts times in all. The default is 1: no
// retries. The pauses between attempts begin at a second and double up to a minute.
func Retry(attempts int) Option {
	return func(s *step) {
		if attempts < 1 {
			s.w.refuse(s.name, "Retry(%d): a step needs at least one attempt", attempts)
		}
		s.attempts = attempts
	}
}

// Timeout limits the time of one attempt: the context of its function ends then. The default is no
// limit.
func Timeout(d time.Duration) Option {
	return func(s *step) {
		if d <= 0 {
			s.w.refuse(s.name, "Timeout(%v): use a positive duration", d)
		}
		s.timeout = d
	}
}

// place is where a function of a step runs.
type place struct {
	step *step
	run  string
}

type placeKey struct{}

func atStep(ctx context.Context) *place {
	p, _ := ctx.Value(placeKey{}).(*place)
	return p
}

// Key returns a text that stays the same when a step runs again in the same run of the workflow,
// and differs from all others: a key by which tasks and other systems recognise what they have done
// already. Outside of a step it is empty.
func Key(ctx context.Context) string {
	p := atStep(ctx)
	if p == nil {
		return ""
	}
	return p.step.w.name + "/" + p.run + "/" + p.step.name
}
