package mapreduce

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/filesys"
)

// None is the row type of a plan without rows. Such a plan writes only to sinks and named outputs.
type None struct{}

// Nothing is the result of a plan that writes only to sinks and named outputs.
func Nothing(p *Plan) Dataset[None] {
	n := newNode[None](p, "Nothing", []Option(nil))
	n.union = true // a union of no datasets
	return Dataset[None]{n}
}

// Output gives a dataset a name, so that Rows can read it beside the plan's own rows.
func Output[T any](p *Plan, name string, d Dataset[T]) {
	if p == nil {
		panic(noPlan{PlanError{Op: "Output", At: caller(), Err: errors.New("its plan is nil; use the plan that Define passes to its function")}})
	}
	if name == "" {
		d.n.refuse(fmt.Errorf("an output needs a name; the empty name belongs to the plan's own rows"))
	}
	for _, o := range p.outs {
		if o.name == name && o.sink == nil {
			d.n.refuse(fmt.Errorf("two outputs are named %q; give each its own name", name))
		}
	}
	gather(p, name, d)
}

func gather[T any](p *Plan, name string, d Dataset[T]) {
	vc := valueCodec[T](d.n)
	p.outs = append(p.outs, &out{name: name, n: d.n, at: caller(),
		gather: func(e *env, w *port) (any, func() error) {
			b := &bursts{to: w}
			var buf []byte
			return func(t *T) {
				buf = vc.Append(buf[:0], t)
				if err := b.add(nil, buf); err != nil {
					e.fail(err)
				}
			}, b.flush
		}})
}

// sinkRole is a sink with its type erased.
type sinkRole struct {
	name    string
	place   string // absolute path; empty if the sink is not a PlacedSink
	holds   bool   // the sink is a MemorySink
	check   func(ctx context.Context) error
	open    func(e *env, t SinkTask, done func(part []byte)) (push any, flush func() error, err error)
	finish  func(ctx context.Context, job string, parts [][]byte) error
	abandon func(ctx context.Context, job string) error
	// published is PublishedSink.Published; nil if the sink does not have it.
	published func(ctx context.Context, job string, ended time.Time) (bool, error)
	requeue   RequeueSink // nil if the sink is none
}

// placeOf returns the absolute path of a PlacedSink, else "".
func placeOf(sink any) string {
	if s, ok := sink.(PlacedSink); ok {
		return absolute(s.Place())
	}
	return ""
}

// absolute returns a path that is equal for all spellings of one place. It does not resolve links.
func absolute(path string) string {
	if filesys.Scheme(path) == "" {
		if abs, err := filepath.Abs(path); err == nil {
			return abs
		}
	}
	return filesys.Clean(path)
}

// isWithin reports whether path lies below dir.
func isWithin(path, dir string) bool {
	return strings.HasPrefix(path, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
}

// checkPlace returns an error if a sink of the plan writes where another one does.
func (p *Plan) checkPlace(name, place string) error {
	for _, o := range p.outs {
		if o.sink == nil {
			continue
		}
		both := place != "" && o.sink.place != ""
		switch {
		case o.sink.name == name:
			return fmt.Errorf("two datasets are written to %s; give each its own place, or join them by Union", name)
		case both && place == o.sink.place:
			return fmt.Errorf("%s writes to the same place as %s, %s; give each its own", name, o.sink.name, place)
		case both && isWithin(place, o.sink.place):
			return fmt.Errorf("%s writes inside the place of %s; give each its own", name, o.sink.name)
		case both && isWithin(o.sink.place, place):
			return fmt.Errorf("%s writes inside the place of %s; give each its own", o.sink.name, name)
		}
	}
	return nil
}

// WriteTo writes all records to a sink. The output becomes visible when the whole job is done.
func WriteTo[T any](d Dataset[T], s Sink[T]) {
	p := planOf(d.n)
	if isNil(s) {
		d.n.refuse(fmt.Errorf("WriteTo: the sink is nil"))
		return
	}
	name, place := s.String(), placeOf(s)
	if err := p.checkPlace(name, place); err != nil {
		d.n.refuse(err)
	}
	safe := guarded[T]{s}
	var published func(ctx context.Context, job string, ended time.Time) (bool, error)
	if p, ok := any(s).(PublishedSink); ok {
		published = func(ctx context.Context, job string, ended time.Time) (there bool, err error) {
			err = safe.guard("Published", func() (err error) { there, err = p.Published(ctx, job, ended); return err })
			return there, err
		}
	}
	requeue, _ := any(s).(RequeueSink)
	d.n.useBudget(s)
	at := caller()
	_, holds := any(s).(MemorySink)
	p.outs = append(p.outs, &out{name: name, n: d.n, at: at, sink: &sinkRole{
		name:  name,
		place: place,
		holds: holds,
		check: safe.Check,
		open: func(e *env, t SinkTask, done func([]byte)) (any, func() error, error) {
			if replays.Load() {
				return func(*T) {}, func() error { return nil }, nil
			}
			w, err := s.Open(e.ctx, t)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", s, err)
			}
			operator := "write at " + at
			if w, ok := w.(RefusingWriter); ok {
				w.SetBad(func(err error, record []byte) error {
					where := e.where
					defer func() { e.where = where }()
					e.where = nil // the reader is at a later record
					return e.setAside(operator, err, string(record), "")
				})
			}
			closed := false
			e.closers = append(e.closers, func() {
				if !closed {
					w.Abort()
				}
			})
			return func(r *T) {
					if e.err != nil {
						return
					}
					err := w.Write(r)
					var skip *skipError
					if errors.As(err, &skip) {
						err = e.setAside(operator, skip.err, fmt.Sprintf("%+v", *r), "")
					}
					if err != nil {
						e.fail(fmt.Errorf("%s: %w", s, err))
					}
				}, func() error {
					part, err := w.Close()
					if err != nil {
						return fmt.Errorf("%s: %w", s, err)
					}
					closed = true
					done(part)
					return nil
				}, nil
		},
		finish:  safe.Finish,
		abandon: safe.Abandon, published: published, requeue: requeue,
	}})
}

// WriteTo writes all records to a sink. The output becomes visible when the whole job is done.
func (d Dataset[T]) WriteTo(s Sink[T]) { WriteTo(d, s) }
