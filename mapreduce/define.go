package mapreduce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"regexp"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/hold"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/spans"
)

// Definition is a pipeline with a name: parameters of type P in, rows of type T out.
type Definition[P, T any] struct {
	name  string
	at    string // file:line
	build func(*Plan, P) Dataset[T]
	opts  []PlanOption
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Define names a pipeline. build describes it with the operators of this package, and returns the
// dataset of the run's rows, or Nothing. Parameters must survive encoding/json, which carries them
// to other processes; a run whose parameters change on the way is refused. Options apply to the
// whole plan. Define checks nothing; the first run does.
//
// On a cluster the workers run the same program and find the pipeline by its name. Call Define
// before Main, best in a package variable, and once for each name. Inside one process several
// definitions may share a name.
func Define[P, T any](name string, build func(p *Plan, params P) Dataset[T], opts ...PlanOption) *Definition[P, T] {
	d := &Definition[P, T]{name, caller(), build, opts}
	addDefinition(name, func(ctx context.Context, params []byte) (*compiled, error) { return d.plan(ctx, params, d.rows) })
	return d
}

// rows gathers the rows of a run.
func (d *Definition[P, T]) rows(ds Dataset[T]) { gather(planOf(ds.n), "", ds) }

// plan builds and compiles the plan. also decides what happens with its rows.
func (d *Definition[P, T]) plan(ctx context.Context, params []byte, also func(Dataset[T])) (_ *compiled, err error) {
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
	var in P
	if err := json.Unmarshal(params, &in); err != nil {
		return nil, fmt.Errorf("plan %s: parameters of type %T do not come back from JSON: %w", d.name, in, err)
	}
	ds := d.build(p, in)
	if len(p.errs) == 0 {
		if ds.n == nil || ds.n.plan != p {
			return nil, fmt.Errorf("plan %s: Define's function must return a dataset of its own plan, or mapreduce.Nothing(p)", d.name)
		}
		if _, none := any(ds).(Dataset[None]); !none {
			also(ds)
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
		var zero T
		shown, stopped := 0, false
		err := d.repeat(t, func() bool { return shown == 0 }, func(t settings) error {
			n := 0
			return d.once(ctx, t, params, func(row T) bool {
				if n++; n > shown { // the rows of a repeated job come in the same order
					shown++
					stopped = !yield(row, nil)
				}
				return !stopped
			})
		})
		if err != nil && !stopped {
			yield(zero, err)
		}
	}
}

// maxRuns is how many times a job runs if its rows or its input are lost.
const maxRuns = 3

// repeat calls run, and repeats it in two cases. The rows of a finished job were lost with a worker
// of a cluster, whose coordinator does not make the output of a finished job again. Or the snapshot
// of its input was lost, so that it must start over on a new one. Rows of the old one must then not
// have been shown; canStartOver reports that.
func (d *Definition[P, T]) repeat(target Target, canStartOver func() bool, run func(settings) error) error {
	t, err := settingsOf(target, d.name)
	if err != nil {
		return err
	}
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

// once runs the pipeline and passes its rows to show until show returns false.
func (d *Definition[P, T]) once(ctx context.Context, t settings, params P, show func(T) bool) error {
	j, err := d.start(ctx, t, params, d.rows)
	if errors.Is(err, ErrExplained) || errors.Is(err, ErrDetached) {
		return nil
	}
	if err != nil {
		return err
	}
	defer j.Close()
	if t.Verify {
		err = j.Wait() // no row is shown before the comparison has ended
	}
	if err == nil {
		for row, rowErr := range Rows[T](j, "") {
			if err = rowErr; err != nil {
				break
			}
			if !show(row) {
				return nil
			}
		}
		if err == nil {
			err = j.Wait()
		}
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
func (d *Definition[P, T]) WriteTo(ctx context.Context, t Target, params P, s Sink[T]) error {
	if isNil(s) {
		return fmt.Errorf("plan %s: WriteTo: the sink is nil", d.name)
	}
	return d.repeat(t, func() bool { return true }, func(t settings) error {
		if t.cluster != nil {
			return d.writeHere(ctx, t, params, s)
		}
		return d.writeTo(ctx, t, params, s)
	})
}

func (d *Definition[P, T]) writeTo(ctx context.Context, run settings, params P, s Sink[T]) error {
	j, err := d.start(ctx, run, params, func(ds Dataset[T]) { WriteTo(ds, s) })
	if errors.Is(err, ErrExplained) {
		return nil
	}
	if err != nil {
		return err
	}
	defer j.Close()
	return j.Wait()
}

// writeHere runs the pipeline and writes its rows in this process, because workers have only the
// sinks of the plan.
func (d *Definition[P, T]) writeHere(ctx context.Context, t settings, params P, s Sink[T]) (err error) {
	if t.cluster.Detach {
		return fmt.Errorf("plan %s: WriteTo writes in this process, which a detached job does not wait for; write to a sink in the function given to Define", d.name)
	}
	t.written = placeOf(s)
	if filesys.Scheme(t.written) == "dataset" {
		return fmt.Errorf("plan %s: WriteTo writes in this process, which cannot write %s: the files of a dataset are on workers; write to the sink in the function given to Define, with Dataset.WriteTo", d.name, t.written)
	}
	s = guarded[T]{s}
	if err := s.Check(ctx); err != nil {
		return err
	}
	j, err := d.start(ctx, t, params, d.rows)
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
	w, err := s.Open(ctx, SinkTask{Job: j.ID(), Of: 1, Attempt: 1})
	if err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	for row, err := range Rows[T](j, "") {
		if err == nil {
			err = w.Write(&row)
		}
		if err != nil {
			w.Abort()
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	if err := j.Wait(); err != nil {
		w.Abort()
		return err
	}
	part, err := w.Close()
	if err != nil {
		w.Abort()
		return fmt.Errorf("%s: %w", s, err)
	}
	return s.Finish(ctx, j.ID(), [][]byte{part})
}

// Start starts the pipeline and returns at once. The caller must Close the job. A job whose
// snapshot of a database is lost fails; Run, Collect and WriteTo start it over.
func (d *Definition[P, T]) Start(ctx context.Context, t Target, params P) (*Job, error) {
	run, err := settingsOf(t, d.name)
	if err != nil {
		return nil, err
	}
	return d.start(ctx, run, params, d.rows)
}

func (d *Definition[P, T]) start(ctx context.Context, t settings, params P, also func(Dataset[T])) (*Job, error) {
	raw, err := encodeParams(d.name, params)
	if err != nil {
		return nil, err
	}
	ctx = filesys.WithInput(ctx, &filesys.Input{Hidden: t.Hidden})
	t.held, t.tracer = &hold.Set{}, spans.Of(ctx)
	ctx = hold.With(ctx, t.held)
	ctx = context.WithValue(ctx, reuseKey{}, &reuse{by: map[int]*keeping{}})
	build := func(ctx context.Context) (*compiled, error) { return d.plan(ctx, raw, also) }
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
