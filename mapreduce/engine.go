package mapreduce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/layshaft/layshaft/internal/inspection"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	"github.com/layshaft/layshaft/worker"
)

// engine runs the tasks of one job, inside this process or on a cluster.
type engine interface {
	// wait blocks until every task is committed. It returns an error if the job ended before.
	wait(ctx context.Context) error
	// status returns the status of the job; ok is false while it is unknown.
	status() (st report.Job, ok bool)
	// history returns the record of the attempts, made by r, if recordsRun asked for it.
	history(ctx context.Context, r inspection.Recorder) (*report.Run, error)
	// changed returns a channel that is closed when an attempt commits or the job ends. Call it
	// before you look at status or commits.
	changed() <-chan struct{}
	// running returns the running attempts.
	running() []worker.Running
	// commits returns the committed attempt of each task of a stage. A Producer without a Worker
	// stands for a task without a commit.
	commits(stage int) []job.Producer
	// commit returns the element of commits for one task, at little cost.
	commit(stage, task int) job.Producer
	manifest(p job.Producer) (*job.Manifest, error)
	// open returns the runs of a port of an output.
	open(p job.Producer, port int) ([]job.RunReader, error)
	// findOutput finds the output of a task of a finished job after p could not be read; the job
	// makes a lost output again first. p.Worker may be empty. It returns the present holder of the
	// output, or an error with the reason why there is none.
	findOutput(p job.Producer) (now job.Producer, err error)
	// reportLost reports an unreadable output, so that the job makes it again.
	reportLost(p job.Producer)
	// rerunTask runs a task once more, for a comparison.
	rerunTask(ctx context.Context, l job.Launch) (*job.Manifest, error)
	// setAside returns the records that attempts have set aside, failed attempts included. With an
	// error, some records are missing.
	setAside(ctx context.Context) ([]worker.SetAside, error)
	// abandon ends the running attempts of a failed job.
	abandon(ctx context.Context, why string) error
	// stop ends the run and frees its resources.
	stop() error
}

// maxSearches is how many times a finished job looks for another holder of an output, or makes it
// again.
const maxSearches = 5

// maxLost is how many times an output of a running job may be lost before its reader fails.
const maxLost = 100

// readOutput calls read with the holder of an output of a finished job. If the output is elsewhere
// or was lost, it finds or makes it again and repeats the call.
func (j *Job) readOutput(p job.Producer, read func(p job.Producer) error) error {
	for n := 0; ; n++ {
		err := read(p)
		var lost *job.Failure
		if !errors.As(err, &lost) || lost.Kind != job.InputLost || n == maxSearches {
			return err
		}
		now, why := j.engine.findOutput(p)
		if why != nil {
			return fmt.Errorf("%w; it cannot be made again: %w", err, why)
		}
		p = now
	}
}

// watch waits for the end of the job and finishes it. Afterwards the caller closes j.done.
func (j *Job) watch(ctx context.Context) {
	defer j.target.held.Close()
	defer j.target.stopCatching()
	stopProgress := j.progress()
	err := j.engine.wait(ctx)
	if err == nil && j.target.Verify {
		err = j.verify(ctx)
	}
	if err == nil {
		err = j.finish(ctx)
	}
	stopProgress(err)
	j.interrupted = err != nil && (ctx.Err() != nil || errors.Is(err, wire.ErrStopped))
	if err != nil && !j.interrupted && !j.hasQuarantine && j.c.plan.allowsBad() && j.target.Quarantine != j.target.Requeue {
		j.keepBadRecords(context.WithoutCancel(ctx))
	}
	if err == nil && j.target.Verify {
		fmt.Fprintf(j.target.Err, "verify: %s ran twice, with the same output\n", report.Plural(j.spec.Tasks(), "task"))
	}
	if err == nil && j.counters[badCounter] > 0 && j.target.requeue == nil {
		fmt.Fprintf(j.target.Err, "%s set aside in %s\n", report.Plural(int(j.counters[badCounter]), "bad record"), j.target.Quarantine)
	}
	if err == nil && j.target.Counters {
		j.printCounters()
	}
	e := j.writeRunFiles(context.WithoutCancel(ctx))
	if local, ok := j.engine.(*embedded); ok && local.profile != nil {
		e = errors.Join(e, local.profile.Write(j.spec))
	}
	if remote, ok := j.engine.(*cluster); ok && j.target.Profile != "" {
		e = errors.Join(e, j.target.mergeProfiles(j.spec, func(profile []byte) error {
			return remote.client.PutProfile(context.WithoutCancel(ctx), j.spec.ID, profile)
		}))
	}
	if e != nil && err == nil {
		err = e
	} else if e != nil {
		j.target.note("%v", e)
	}
	// An interrupted run with State can continue later, so its output stays.
	if err != nil && (!j.interrupted || j.target.State == "") {
		err = errors.Join(err, j.abandon(context.WithoutCancel(ctx), err))
	}
	j.err = err
}

// abandon ends the running attempts of a failed job, and removes the output of its sinks.
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

// rows passes the values of one task's output to each, as soon as the task is committed. If the
// output is lost meanwhile, the job makes it again.
func (j *Job) rows(stage, task, port int, each func(value []byte) (bool, error)) (bool, error) {
	e := j.engine
	seen, ended := 0, false
	// the holder of the output after the end of the job, if it differs from the commit
	var back job.Producer
	looked, lost := 0, 0
	elsewhere := func(p job.Producer) (err error) {
		if looked++; looked > maxSearches {
			return fmt.Errorf("it was lost %d times", looked)
		}
		back, err = e.findOutput(p)
		return err
	}
	for {
		changed := e.changed()
		st, ok := e.status() // before the commits: a finished job has all of them
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
		var f *job.Failure
		if errors.As(err, &f) && f.Kind == job.InputLost {
			if lost++; lost > maxLost {
				return more, fmt.Errorf("it was lost %d times, the last: %w", lost, err)
			}
			if now := e.commit(stage, task); back.Worker == "" && now.Worker != "" && now != p {
				continue // the job has made it again already
			}
			if st, ok := e.status(); ok && st.Outcome == report.JobRunning {
				e.reportLost(p)
				time.Sleep(min(time.Duration(lost)*10*time.Millisecond, time.Second))
				select {
				case <-changed:
				case <-j.done:
				}
				continue
			}
			// the job failed after its last task, and its output is dropped
			if <-j.done; j.err != nil {
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
