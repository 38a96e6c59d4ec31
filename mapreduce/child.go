package mapreduce

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/spill"
)

// definitions are the pipelines of this program, by name. A child process finds the pipeline of its
// job here.
var definitions struct {
	// mu guards the fields below.
	mu     sync.Mutex
	byName map[string]*defined
}

// defined is one name of pipelines.
type defined struct {
	at   []string // file:line of the first calls of Define
	plan func(ctx context.Context, params []byte) (*compiled, error)
}

// maxPlaces is how many calls of Define with one name are kept for an error.
const maxPlaces = 3

// addDefinition adds a definition. A second definition of the same name is an error only when a
// child process needs that name.
func addDefinition(name string, plan func(ctx context.Context, params []byte) (*compiled, error)) {
	at := caller()
	d := &definitions
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.byName == nil {
		d.byName = map[string]*defined{}
	}
	x := d.byName[name]
	if x == nil {
		x = &defined{plan: plan}
		d.byName[name] = x
	}
	if len(x.at) < maxPlaces {
		x.at = append(x.at, at)
	}
}

// find returns the only definition with a name.
func find(name string) (*defined, error) {
	definitions.mu.Lock()
	defer definitions.mu.Unlock()
	x := definitions.byName[name]
	switch {
	case x == nil:
		names := slices.Sorted(maps.Keys(definitions.byName))
		return nil, fmt.Errorf("this program defines no pipeline %q before its call of mapreduce.Main, only [%s]; call Define in a package variable", name, strings.Join(names, ", "))
	case len(x.at) > 1:
		return nil, fmt.Errorf("this program defines several pipelines named %q (%s); on a cluster each needs a name of its own", name, strings.Join(x.at, ", "))
	}
	return x, nil
}

// rebuilder makes the programs of one job in a child process.
type rebuilder struct {
	ballast []byte // see ballastSize
	shared  *shared
}

func newRebuilder() *rebuilder {
	return &rebuilder{ballast: make([]byte, ballastSize), shared: &shared{}}
}

// build makes the program of one slot; it is a child.Build. The plan must equal the submitted plan.
func (b *rebuilder) build(ctx context.Context, spec *job.Spec, _ int) (*job.Program, error) {
	d, err := find(spec.Name)
	if err != nil {
		return nil, &job.Failure{Kind: job.Fatal, Message: err.Error()}
	}
	if ctx, err = childContext(ctx, spec); err != nil {
		return nil, err
	}
	p, err := b.shared.rebuild(spec, func() (*compiled, error) { return d.plan(ctx, spec.Params) })
	if err != nil {
		return nil, err
	}
	// the slot's memory; never released, because the process serves only this job
	var reserve sync.Once
	for i, stage := range p.Stages {
		if spec.Profile != "" && !replays.Load() {
			stage = profiled(spec, stage)
		}
		p.Stages[i] = func(ctx context.Context, run *job.Run) error {
			reserve.Do(func() { spill.Reserve(run.Memory) })
			ctx, err := childContext(ctx, spec)
			if err != nil {
				return err
			}
			return stage(ctx, run)
		}
	}
	return p, nil
}

// rebuild makes the program of one slot from a plan. The plan must equal the submitted plan.
func (sh *shared) rebuild(spec *job.Spec, plan func() (*compiled, error)) (*job.Program, error) {
	c, err := plan()
	if err == nil {
		err = c.adoptStages(spec)
	}
	if err != nil {
		return nil, &job.Failure{Kind: job.Fatal, Message: err.Error()}
	}
	return c.program(spec, sh), nil
}

// matches returns an error if spec was made from another plan.
func (c *compiled) matches(spec *job.Spec) error {
	differs := func(format string, a ...any) error {
		return fmt.Errorf("plan %s: here %s: the function given to Define must depend on its parameters alone, and the cluster must run the same program that submitted the job", spec.Name, fmt.Sprintf(format, a...))
	}
	if len(c.stages) != len(spec.Stages) {
		return differs("it has %s, the submitted one has %d", report.Plural(len(c.stages), "stage"), len(spec.Stages))
	}
	for i, s := range c.stages {
		if want := &spec.Stages[i]; s.label != want.Name || s.combine != want.Combine || !slices.Equal(s.edges, want.Inputs) {
			return differs("stage %d is %q, which reads %v, in the submitted one %q, which reads %v", i, s.label, s.edges, want.Name, want.Inputs)
		}
	}
	if spec.Plan != "" && spec.Plan != c.fingerprint() {
		return differs("it has other operators than the submitted one")
	}
	return nil
}
