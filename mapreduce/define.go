package mapreduce

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"regexp"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/hold"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/spans"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// Definition is a pipeline with a name: parameters of type P in, rows of type T out.
type Definition[P, T any] struct {
	untyped definition
}

// definition is a Definition without its types. The compiler copies each generic method for each
// pair of types, so the methods of Definition are short and call the methods of definition.
type definition struct {
	name string
	at   string // file:line
	opts []PlanOption
	// build decodes the parameters and calls the function given to Define; nil if there is none.
	build func(p *Plan, params []byte) (rows *node, err error)
	// gather adds the output that holds the rows of a run.
	gather func(rows *node)
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Define names a pipeline. build describes it with the operators of this package, and returns the
// dataset of the run's rows, or Nothing. Parameters must survive encoding/json, which carries them
// to other processes; a run whose parameters change on the way is refused. Options apply to the
// whole plan. Define checks nothing; the first run does.
//
// A function may read its arguments and params, and constants. It must not read variables that main
// sets, such as flags: main does not run on the workers, so they have their first values there.
//
//	Filter(func(x Product) bool { return x.Price >= params.MinPrice }) // right
//	Filter(func(x Product) bool { return x.Price >= *minPrice })       // wrong: 0 on a cluster
//
// "layshaft vet ./..." finds such functions.
//
// On a cluster the workers run the same program and find the pipeline by its name. Call Define
// before Main, best in a package variable, and once for each name. Inside one process several
// definitions may share a name.
func Define[P, T any](name string, build func(p *Plan, params P) Dataset[T], opts ...PlanOption) *Definition[P, T] {
	d := &Definition[P, T]{definition{name: name, at: caller(), opts: opts, gather: func(rows *node) { gather("", Dataset[T]{rows}) }}}
	if build != nil {
		d.untyped.build = func(p *Plan, params []byte) (*node, error) {
			var in P
			if err := decodeParams(name, params, &in); err != nil {
				return nil, err
			}
			return build(p, in).n, nil
		}
	}
	addDefinition(name, func(ctx context.Context, params []byte) (*compiled, error) {
		return d.untyped.plan(ctx, params, d.untyped.gather)
	})
	return d
}

// plan builds and compiles the plan. output adds the output that receives its rows.
func (d *definition) plan(ctx context.Context, params []byte, output func(rows *node)) (_ *compiled, err error) {
	p := &Plan{name: d.name, ctx: ctx}
	if !nameForm.MatchString(d.name) {
		return nil, fmt.Errorf("plan name %q: use up to 63 letters, digits, dots, dashes and underscores, beginning with a letter or digit", d.name)
	}
	defer func() {
		if v := recover(); v != nil {
			r, ok := v.(noPlan)
			if !ok {
				panic(v)
			}
			r.Plan = d.name
			err = errors.Join(append(p.errs, &r.PlanError)...)
		}
	}()
	for _, err := range applyOptions(&p.opts, d.opts) {
		p.errs = append(p.errs, &PlanError{d.name, "Define", d.at, err})
	}
	if d.build == nil {
		return nil, &PlanError{d.name, "Define", d.at, errors.New("its function is nil")}
	}
	rows, err := d.build(p, params)
	if err != nil {
		return nil, err
	}
	if len(p.errs) == 0 {
		if rows == nil || rows.plan != p {
			return nil, fmt.Errorf("plan %s: Define's function must return a dataset of its own plan, or mapreduce.Nothing(p)", d.name)
		}
		if rows.typ != reflect.TypeFor[None]() {
			output(rows)
		}
	}
	return compile(p)
}

// Run runs the pipeline and yields its rows in a fixed order: by partition, and within a partition
// in the last operator's order. It blocks until rows are there; an error ends the sequence. A break
// out of the loop ends the run; with Local.State the next run continues there. If ctx ends while a
// cluster lets the run wait, the error has the reason, such as: no worker has the tag gpu.
func (d *Definition[P, T]) Run(ctx context.Context, t Target, params P) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		shown, stopped := 0, false
		err := d.untyped.repeat(t, func() bool { return shown == 0 }, func(t settings) error {
			n := 0
			return d.untyped.once(ctx, t, &params, func(j *Job) (more bool, err error) {
				for row, err := range Rows[T](j, "") {
					if err != nil {
						return false, err
					}
					if n++; n <= shown { // the rows of a repeated job come in the same order
						continue
					}
					shown++
					if stopped = !yield(row, nil); stopped {
						return false, nil
					}
				}
				return true, nil
			})
		})
		if err != nil && !stopped {
			yield(*new(T), err)
		}
	}
}

// maxRuns is how many times a job runs if its rows or its input are lost.
const maxRuns = 3

// repeat calls run, and repeats it in two cases. The rows of a finished job were lost with a worker
// of a cluster, whose coordinator does not make the output of a finished job again. Or the snapshot
// of its input was lost, so that it must start over on a new one. Rows of the old one must then not
// have been shown; canStartOver reports that.
func (d *definition) repeat(target Target, canStartOver func() bool, run func(settings) error) error {
	t, err := settingsOf(target, d.name)
	if err != nil {
		return err
	}
	t.numberFiles()
	for n := 1; ; n++ {
		err := run(t)
		var lost *job.Failure
		switch {
		case n == maxRuns:
			return err
		case hold.IsLost(err):
			if !canStartOver() {
				return fmt.Errorf("%w; rows of the lost snapshot were passed on already, so the job did not start over; run it again", err)
			}
			t.note("%v; it starts over on a new snapshot", err)
		case t.cluster == nil || !errors.As(err, &lost) || lost.Kind != job.InputLost || errors.As(err, new(*report.JobError)):
			return err
		}
		t.runAfresh = true
	}
}

// once runs the pipeline. read reads the rows of the job; it returns false if no more are wanted.
func (d *definition) once(ctx context.Context, t settings, params any, read func(*Job) (more bool, err error)) error {
	j, err := d.start(ctx, t, params, d.gather)
	if errors.Is(err, ErrExplained) || errors.Is(err, ErrDetached) {
		return nil
	}
	if err != nil {
		return err
	}
	defer j.Close()
	if t.Verify {
		err = j.Wait() // no row is read before the comparison has ended
	}
	more := true
	if err == nil {
		more, err = read(j)
	}
	if err == nil && more {
		err = j.Wait()
	}
	if err != nil {
		_ = j.Close() // first: the caller may end the process
	}
	return err
}

// Collect runs the pipeline and returns all its rows.
func (d *Definition[P, T]) Collect(ctx context.Context, t Target, params P) ([]T, error) {
	var all []T
	for row, err := range d.Run(ctx, t, params) {
		if err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, nil
}

// WriteTo runs the pipeline and writes its rows to a sink. On a cluster all rows travel to this
// process, which writes them. For large results, use a sink in the function given to Define.
func (d *Definition[P, T]) WriteTo(ctx context.Context, t Target, params P, s connector.Sink[T]) error {
	return d.untyped.writeTo(ctx, t, &params, s, func(rows *node) { Dataset[T]{rows}.WriteTo(s) },
		func(ctx context.Context, t connector.SinkTask, j *Job) (writer, func() error, error) {
			w, err := s.Open(ctx, t)
			return w, func() error {
				for row, err := range Rows[T](j, "") {
					if err == nil {
						err = guard(s, "Write", func() error { return w.Write(&row) })
					}
					if err != nil {
						return err
					}
				}
				return nil
			}, err
		})
}

// openHere opens the output of a job in this process. write writes all rows.
type openHere func(ctx context.Context, t connector.SinkTask, j *Job) (w writer, write func() error, err error)

// writeTo runs the pipeline and writes its rows to a sink: embedded with output, which adds the
// sink to the plan, and on a cluster with open.
func (d *definition) writeTo(ctx context.Context, t Target, params any, s sink, output func(rows *node), open openHere) error {
	if isNil(s) {
		return fmt.Errorf("plan %s: WriteTo: the sink is nil", d.name)
	}
	return d.repeat(t, func() bool { return true }, func(t settings) error {
		if t.cluster != nil {
			return d.writeHere(ctx, t, params, guarded{s}, open)
		}
		j, err := d.start(ctx, t, params, output)
		if errors.Is(err, ErrExplained) {
			return nil
		}
		if err != nil {
			return err
		}
		defer j.Close()
		return j.Wait()
	})
}

// writeHere runs the pipeline and writes its rows in this process, because workers have only the
// sinks of the plan.
func (d *definition) writeHere(ctx context.Context, t settings, params any, s guarded, open openHere) (err error) {
	if t.cluster.Detach {
		return fmt.Errorf("plan %s: WriteTo writes in this process, which a detached job does not wait for; write to a sink in the function given to Define", d.name)
	}
	t.written = placeOf(s.sink)
	if filesys.Scheme(t.written) == "dataset" {
		return fmt.Errorf("plan %s: WriteTo writes in this process, which cannot write %s: the files of a dataset are on workers; write to the sink in the function given to Define, with Dataset.WriteTo", d.name, t.written)
	}
	if err := s.Check(ctx); err != nil {
		return err
	}
	j, err := d.start(ctx, t, params, d.gather)
	if errors.Is(err, ErrExplained) {
		return nil
	}
	if err != nil {
		return err
	}
	defer j.Close()
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Abandon(context.WithoutCancel(ctx), j.ID()))
		}
	}()
	var w writer
	var write func() error
	err = guard(s, "Open", func() (err error) {
		w, write, err = open(ctx, connector.SinkTask{Job: j.ID(), Of: 1, Attempt: 1}, j)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	if err := write(); err != nil {
		w.Abort()
		return fmt.Errorf("%s: %w", s, err)
	}
	if err := j.Wait(); err != nil {
		w.Abort()
		return err
	}
	var part []byte
	err = guard(s, "Close", func() (err error) { part, err = w.Close(); return err })
	if err != nil {
		w.Abort()
		return fmt.Errorf("%s: %w", s, err)
	}
	return s.Finish(ctx, j.ID(), [][]byte{part})
}

// Start starts the pipeline and returns at once. The caller must Close the job. A job whose
// snapshot of a database is lost fails; Run, Collect and WriteTo start it over.
func (d *Definition[P, T]) Start(ctx context.Context, t Target, params P) (*Job, error) {
	run, err := settingsOf(t, d.untyped.name)
	if err != nil {
		return nil, err
	}
	run.numberFiles()
	return d.untyped.start(ctx, run, &params, d.untyped.gather)
}

// start starts a job. params points to the parameters.
func (d *definition) start(ctx context.Context, t settings, params any, output func(rows *node)) (*Job, error) {
	raw, err := encodeParams(d.name, params)
	if err != nil {
		return nil, err
	}
	ctx = filesys.WithInput(ctx, &filesys.Input{Hidden: t.Hidden})
	t.held, t.tracer = &hold.Set{}, spans.Of(ctx)
	ctx = hold.With(ctx, t.held)
	ctx = context.WithValue(ctx, reuseKey{}, &reuse{by: map[int]*keeping{}})
	build := func(ctx context.Context) (*compiled, error) { return d.plan(ctx, raw, output) }
	c, err := build(ctx)
	if err != nil {
		return nil, err
	}
	second, err := build(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.difference(second); err != nil {
		return nil, err
	}
	if len(c.stages) == 0 {
		return startIdle(t, d.name, c)
	}
	ctx, t.stopCatching = withInterrupt(ctx)
	var j *Job
	if t.cluster != nil {
		j, err = startCluster(ctx, t, d.name, raw, build)
	} else {
		j, err = startEmbedded(ctx, t, d.name, raw, c, build)
	}
	if err != nil {
		t.stopCatching()
		t.held.Close()
	}
	return j, err
}
