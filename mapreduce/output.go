package mapreduce

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/call"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/mapreduce/connector"
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
	gather(name, d)
}

// gather adds an output that holds the records of a dataset.
func gather[T any](name string, d Dataset[T]) {
	p := planOf(d.n)
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
	place   string // absolute path; empty if the sink is no connector.PlacedSink
	path    string // the path as it was given
	holds   bool   // the sink is a connector.MemorySink
	check   func(ctx context.Context) error
	open    func(e *env, t connector.SinkTask, done func(part []byte)) (push any, flush func() error, err error)
	finish  func(ctx context.Context, job string, parts [][]byte) error
	abandon func(ctx context.Context, job string) error
	// published is the method of a connector.PublishedSink; nil if the sink does not have it.
	published func(ctx context.Context, job string, ended time.Time) (bool, error)
	requeue   connector.RequeueSink // nil if the sink is none
}

// pathOf returns the path of a connector.PlacedSink as it was given, else "".
func pathOf(sink any) string {
	if s, ok := sink.(connector.PlacedSink); ok {
		return s.Place()
	}
	return ""
}

// placeOf returns the absolute path of a connector.PlacedSink, else "".
func placeOf(sink any) string {
	if s, ok := sink.(connector.PlacedSink); ok {
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
func (d Dataset[T]) WriteTo(s connector.Sink[T]) {
	addSink(d.n, s, func(o *opened, t connector.SinkTask) (writer, any, error) {
		w, err := s.Open(o.e.ctx, t)
		return w, func(r *T) {
			if o.e.err != nil {
				return
			}
			if err := w.Write(r); err != nil {
				o.failed(err, r)
			}
		}, err
	})
}

// opened is the output of one attempt.
type opened struct {
	e        *env
	sink     sink
	operator string // WriteTo and its file:line
	closed   bool
}

// failed ends the attempt with an error of the writer for the record that record points to, or sets
// the record aside.
func (o *opened) failed(err error, record any) {
	var skip *call.SkipError
	if errors.As(err, &skip) {
		err = o.e.setAside(o.operator, skip.Err, formatted(record), "")
	}
	if err != nil {
		o.e.fail(fmt.Errorf("%s: %w", o.sink, err))
	}
}

// addSink adds an output to the plan that writes the records of n to a sink. open returns the
// writer of one attempt, and the function of type func(*T) that writes one record.
func addSink(n *node, s sink, open func(*opened, connector.SinkTask) (w writer, push any, err error)) {
	p := planOf(n)
	if isNil(s) {
		n.refuse(fmt.Errorf("WriteTo: the sink is nil"))
		return
	}
	name, place := s.String(), placeOf(s)
	if err := p.checkPlace(name, place); err != nil {
		n.refuse(err)
	}
	safe := guarded{s}
	var published func(ctx context.Context, job string, ended time.Time) (bool, error)
	if p, ok := s.(connector.PublishedSink); ok {
		published = func(ctx context.Context, job string, ended time.Time) (there bool, err error) {
			err = guard(s, "Published", func() (err error) { there, err = p.Published(ctx, job, ended); return err })
			return there, err
		}
	}
	requeue, _ := s.(connector.RequeueSink)
	n.useBudget(s)
	at := caller()
	_, holds := s.(connector.MemorySink)
	p.outs = append(p.outs, &out{name: name, n: n, at: at, sink: &sinkRole{
		name:  name,
		place: place,
		path:  pathOf(s),
		holds: holds,
		check: safe.Check,
		open: func(e *env, t connector.SinkTask, done func([]byte)) (any, func() error, error) {
			if replays.Load() {
				return n.tee(nil), func() error { return nil }, nil
			}
			o := &opened{e: e, sink: s, operator: "write at " + at}
			w, push, err := open(o, t)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", s, err)
			}
			if w, ok := w.(connector.RefusingWriter); ok {
				w.SetBad(func(err error, record []byte) error {
					where := e.where
					defer func() { e.where = where }()
					e.where = nil // the reader is at a later record
					return e.setAside(o.operator, err, string(record), "")
				})
			}
			e.closers = append(e.closers, func() {
				if !o.closed {
					w.Abort()
				}
			})
			return push, func() error {
				part, err := w.Close()
				if err != nil {
					return fmt.Errorf("%s: %w", s, err)
				}
				o.closed = true
				done(part)
				return nil
			}, nil
		},
		finish:  safe.Finish,
		abandon: safe.Abandon, published: published, requeue: requeue,
	}})
}
