package mapreduce

import (
	"context"
	"errors"
	"fmt"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	"github.com/layshaft/layshaft/worker"
)

// engine runs the tasks of one job, inside this process or on a cluster.
type engine interface {
	// wait blocks until every task is committed, and returns why the job ended without that.
	wait(ctx context.Context) error
	// status returns how the job stands; ok is false when that is not known.
	status() (st report.Job, ok bool)
	// changed returns a channel that is closed when an attempt commits or the job ends: call it first, then look.
	changed() <-chan struct{}
	// running returns the attempts that are on their way.
	running() []worker.Running
	// commits returns the committed attempt of each task of a stage; a task without has a Producer without a Worker.
	commits(stage int) []job.Producer
	// commit returns what commits has of one task, at little cost.
	commit(stage, task int) job.Producer
	manifest(p job.Producer) (*job.Manifest, error)
	// open returns the runs of a port of an output.
	open(p job.Producer, port int) ([]job.RunReader, error)
	// again returns who holds the output of a task, after p could not be read and the job is done; p names no worker when none is known. What is
	// lost is made again first. An error says why there is no such output.
	again(p job.Producer) (now job.Producer, err error)
	// lost says that an output cannot be read, so that it is made again.
	lost(p job.Producer)
	// runAgain runs a task once more, to compare it.
	runAgain(ctx context.Context, l job.Launch) (*job.Manifest, error)
	// abandon ends what still runs of a failed job.
	abandon(ctx context.Context, why string) error
	// stop ends the run and frees all that it holds.
	stop() error
}

// maxAgain is how often an output of a job that is done is looked for elsewhere, or made again.
const maxAgain = 5

// held calls read with who holds an output of a job that is done, and again when the output turns out to be held elsewhere, or has been made again.
func (j *Job) held(p job.Producer, read func(p job.Producer) error) error {
	for n := 0; ; n++ {
		err := read(p)
		var lost *job.Failure
		if !errors.As(err, &lost) || lost.Kind != job.InputLost || n == maxAgain {
			return err
		}
		now, why := j.engine.again(p)
		if why != nil {
			return fmt.Errorf("%w; it cannot be made again: %w", err, why)
		}
		p = now
	}
}

// watch waits for the end of the job and finishes it.
func (j *Job) watch(ctx context.Context) {
	defer close(j.done)
	stopProgress := j.progress()
	err := j.engine.wait(ctx)
	if err == nil && j.target.Verify {
		err = j.verify(ctx)
	}
	if err == nil {
		err = j.finish(ctx)
	}
	stopProgress(err)
	if err == nil && j.target.Verify && j.target.Progress != "none" {
		fmt.Fprintf(j.target.Err, "verify: %d tasks ran twice, with the same output\n", j.spec.Tasks())
	}
	if err == nil && j.counters[badCounter] > 0 && j.target.Progress != "none" {
		fmt.Fprintf(j.target.Err, "%s set aside in %s\n", plural(int(j.counters[badCounter]), "bad record"), j.target.Quarantine)
	}
	if err == nil && j.target.Counters {
		j.printCounters()
	}
	// An interrupted run with State goes on later, so what it has made stays.
	interrupted := ctx.Err() != nil || errors.Is(err, wire.ErrStopped)
	if err != nil && (!interrupted || j.target.State == "") {
		err = errors.Join(err, j.abandon(context.WithoutCancel(ctx), err))
	}
	j.err = err
}

// abandon ends what still runs of a failed job and removes what its sinks have written.
func (j *Job) abandon(ctx context.Context, why error) error {
	if err := j.engine.abandon(ctx, why.Error()); err != nil {
		return err
	}
	for _, o := range j.c.plan.outs {
		if o.sink != nil {
			if err := o.sink.abandon(ctx, j.ID()); err != nil {
				return err
			}
		}
	}
	return nil
}

// rows hands the values of one task's output to each, as soon as it is committed. An output that is lost while it is read is made again.
func (j *Job) rows(stage, task, port int, each func(value []byte) (bool, error)) (bool, error) {
	e := j.engine
	seen, ended := 0, false
	var back job.Producer // who holds the output now that the job is done, if that is not known from commits
	looked := 0
	elsewhere := func(p job.Producer) (err error) {
		if looked++; looked > maxAgain {
			return fmt.Errorf("it was lost %d times", looked)
		}
		back, err = e.again(p)
		return err
	}
	for {
		changed := e.changed()
		st, ok := e.status() // before the commits: those of a job that is done are all there
		p := e.commit(stage, task)
		if back.Worker != "" {
			p = back
		}
		if p.Worker == "" {
			if ended || !ok || st.Outcome != report.JobRunning {
				if <-j.done; j.err == nil {
					err := elsewhere(job.Producer{Attempt: job.Attempt{Job: j.spec.ID, Task: job.Task{Stage: stage, Index: task}}})
					if err == nil {
						continue
					}
					return false, fmt.Errorf("job %s is done, but the output of task %d/%d is gone: %w", j.spec.ID, stage, task, err)
				}
				return false, errEnded
			}
			select {
			case <-changed:
			case <-j.done:
				ended = true
			}
			continue
		}
		n := 0
		more, err := j.read(p, port, func(v []byte) (bool, error) {
			if n++; n <= seen {
				return true, nil
			}
			seen++
			return each(v)
		})
		var lost *job.Failure
		if errors.As(err, &lost) && lost.Kind == job.InputLost {
			if now := e.commit(stage, task); back.Worker == "" && now.Worker != "" && now != p {
				continue // it was made again already
			}
			if st, ok := e.status(); ok && st.Outcome == report.JobRunning {
				e.lost(p)
				select {
				case <-changed:
				case <-j.done:
				}
				continue
			}
			if <-j.done; j.err != nil { // what was read is dropped, as the job failed after its last task
				return false, errEnded
			}
			why := elsewhere(p)
			if why == nil {
				continue
			}
			err = fmt.Errorf("%w; it cannot be made again: %w", err, why)
		}
		return more, err
	}
}

func (j *Job) read(p job.Producer, port int, each func(value []byte) (bool, error)) (bool, error) {
	runs, err := j.engine.open(p, port)
	if err != nil {
		return false, err
	}
	for _, r := range runs {
		if more, err := values(r, each); err != nil || !more {
			return more, err
		}
	}
	return true, nil
}
