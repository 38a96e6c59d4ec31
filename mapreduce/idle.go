package mapreduce

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/layshaft/layshaft/internal/inspection"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/worker"
)

// idle is the engine of a plan without stages: one that returns Nothing and has neither sinks nor
// named outputs. Its job is done from the start.
type idle struct{}

// startIdle returns the finished job of a plan without stages.
func startIdle(t settings, name string, c *compiled) (*Job, error) {
	if t.Explain {
		fmt.Fprintf(t.Out, "plan %s has no stages: it returns Nothing, and has no sinks and no named outputs\n", name)
		return nil, ErrExplained
	}
	j := &Job{name: name, c: c, spec: &job.Spec{ID: job.ID(name + "-nothing"), Name: name}, target: t, engine: idle{}, done: make(chan struct{})}
	close(j.done)
	return j, nil
}

var errIdle = errors.New("the job has no stages")

func (idle) wait(context.Context) error            { return nil }
func (idle) status() (report.Job, bool)            { return report.Job{Outcome: report.JobDone}, true }
func (idle) changed() <-chan struct{}              { return nil }
func (idle) running() []worker.Running             { return nil }
func (idle) commits(int) []job.Producer            { return nil }
func (idle) commit(int, int) job.Producer          { return job.Producer{} }
func (idle) reportLost(job.Producer)               {}
func (idle) abandon(context.Context, string) error { return nil }
func (idle) stop() error                           { return nil }

func (idle) setAside(context.Context) ([]worker.SetAside, error) { return nil, nil }

func (idle) history(context.Context, inspection.Recorder) (*report.Run, error) { return nil, errIdle }
func (idle) manifest(job.Producer) (*job.Manifest, error)                      { return nil, errIdle }
func (idle) open(job.Producer, int) ([]job.RunReader, error)                   { return nil, errIdle }
func (idle) findOutput(p job.Producer) (job.Producer, error)                   { return p, errIdle }
func (idle) rerunTask(context.Context, job.Launch) (*job.Manifest, error)      { return nil, errIdle }

// isNil reports whether a source or sink is nil, or a nil pointer.
func isNil(v any) bool {
	return v == nil || reflect.TypeOf(v).Kind() == reflect.Pointer && reflect.ValueOf(v).IsNil()
}
