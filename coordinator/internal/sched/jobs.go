package sched

import (
	"container/list"
	"fmt"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// state is where a task stands.
type state uint8

const (
	waiting state = iota // in the queues of its stage
	delayed              // in the retry heap
	running              // on one worker or more
	done                 // committed, and a worker holds the output
	gone                 // committed, but no worker that we know holds the output
	states
)

type task struct {
	n      int      // number of the newest attempt
	kept   int      // the committed attempt; zero when there is none, or when its output was damaged
	floor  int      // attempts up to this one can no longer commit
	at     *worker  // holds the output of attempt kept; nil when none does
	run    *attempt // attempts on their way, newest first
	failed uint16   // transient failures
	lost   uint16   // times its input was lost
	state  state
	seen   bool // counted in the summary of the stage
}

type stage struct {
	spec    *job.Stage
	tasks   []task
	readers []*stage // stages that read it
	missing int      // stages that it reads and that are not complete
	count   [states]int
	sum     Summary
	// failures counts attempts that failed; the others count tasks of an ended job that will never be done.
	failures, failedTasks, cancelledTasks int
	queues                                queues
	readyAt                               time.Time
	lost                                  []int32        // tasks that became gone; entries may be out of date
	outputs                               []job.Producer // of all tasks; nil when it must be built again. Shared by launches, so never changed
	running                               list.List      // of *attempt, the longest running first
	took                                  durations
}

func (st *stage) open() int      { return st.count[waiting] + st.count[delayed] + st.count[running] }
func (st *stage) complete() bool { return st.count[done] == len(st.tasks) }

// needed says whether somebody will still read the stage's output: an unfinished stage or, when no stage
// reads it, the client.
func (st *stage) needed() bool {
	for _, r := range st.readers {
		if r.open() > 0 {
			return true
		}
	}
	return len(st.readers) == 0
}

type jobState struct {
	spec       job.Spec
	stages     []*stage
	outcome    Outcome
	failure    *job.Failure
	held       map[*worker][]job.Task // outputs by holder, for its loss; entries may be out of date
	open       int                    // tasks that are waiting, delayed or running
	launchable int                    // waiting tasks of ready stages
	running    int                    // attempts on their way
	touched    bool
	tried      uint64 // the last search for a task in which this job was asked
}

// ref points to one task.
type ref struct {
	j *jobState
	t job.Task
}

func (j *jobState) ref(stage, index int) ref { return ref{j, job.Task{Stage: stage, Index: index}} }

func (r ref) stage() *stage { return r.j.stages[r.t.Stage] }
func (r ref) task() *task   { return &r.j.stages[r.t.Stage].tasks[r.t.Index] }
func (r ref) attempt(n int) job.Attempt {
	return job.Attempt{Job: r.j.spec.ID, Task: r.t, N: n}
}

// find returns the task of an attempt. It fails when the job, the task or its memory of outputs is gone.
func (s *Scheduler) find(a job.Attempt) (ref, bool) {
	j := s.jobs[a.Job]
	if j == nil || a.Task.Stage < 0 || a.Task.Stage >= len(j.stages) || a.Task.Index < 0 ||
		a.Task.Index >= len(j.stages[a.Task.Stage].tasks) {
		return ref{}, false
	}
	return ref{j, a.Task}, true
}

// maxTasks is how many tasks a job may have.
const maxTasks = 10_000_000

// Check returns an error that says what is wrong with a spec.
func Check(spec *job.Spec) error {
	if spec.ID == "" {
		return fmt.Errorf("job %q: the ID is empty", spec.Name)
	}
	if len(spec.Stages) == 0 {
		return fmt.Errorf("job %s: there are no stages", spec.ID)
	}
	if spec.Memory < 0 {
		return fmt.Errorf("job %s: memory %d: must not be negative", spec.ID, spec.Memory)
	}
	tasks := 0
	for k := range spec.Stages {
		st := &spec.Stages[k]
		if st.Tasks < 0 || st.MaxAttempts < 0 || st.Timeout < 0 {
			return fmt.Errorf("job %s: stage %d: %d tasks, %d attempts, timeout %v: must not be negative", spec.ID, k, st.Tasks, st.MaxAttempts, st.Timeout)
		}
		if tasks += min(st.Tasks, maxTasks+1); tasks > maxTasks {
			return fmt.Errorf("job %s: more than %d tasks; make splits larger or reduce to fewer partitions", spec.ID, maxTasks)
		}
		if len(st.Splits) > 0 && len(st.Splits) != st.Tasks {
			return fmt.Errorf("job %s: stage %d: %d splits for %d tasks: must be equal", spec.ID, k, len(st.Splits), st.Tasks)
		}
		for _, e := range st.Inputs {
			if e.From < 0 || e.From >= k {
				return fmt.Errorf("job %s: stage %d reads stage %d: must be an earlier stage", spec.ID, k, e.From)
			}
		}
	}
	return nil
}

func (s *Scheduler) submit(ev Submitted) {
	if s.jobs[ev.Spec.ID] != nil || Check(&ev.Spec) != nil {
		return
	}
	s.emit(Write{ev})
	s.addJob(ev.Spec)
}

func (s *Scheduler) addJob(spec job.Spec) {
	spec.Stages = slices.Clone(spec.Stages) // splits are let go when the job ends
	j := &jobState{spec: spec, held: map[*worker][]job.Task{}}
	for k := range spec.Stages {
		st := &stage{spec: &spec.Stages[k], tasks: make([]task, spec.Stages[k].Tasks)}
		st.count[waiting] = len(st.tasks)
		j.open += len(st.tasks)
		j.stages = append(j.stages, st)
		for _, e := range st.spec.Inputs {
			from := j.stages[e.From]
			if slices.Contains(from.readers, st) {
				continue
			}
			from.readers = append(from.readers, st)
			if !from.complete() {
				st.missing++
			}
		}
		for i := range st.tasks {
			s.enqueue(j.ref(k, i))
		}
		if st.missing == 0 {
			s.setReady(j, st, true)
		}
	}
	s.jobs[spec.ID] = j
	s.order = append(s.order, j)
	s.active = append(s.active, j)
	s.touch(j)
}

func (s *Scheduler) touch(j *jobState) {
	if !j.touched {
		j.touched = true
		s.touched = append(s.touched, j)
	}
}

// move changes the state of a task, and all counts that follow from it.
func (s *Scheduler) move(r ref, to state) {
	t, st := r.task(), r.stage()
	from := t.state
	if from == to {
		return
	}
	wasOpen, wasComplete := st.open(), st.complete()
	t.state = to
	st.count[from]--
	st.count[to]++
	r.j.open += st.open() - wasOpen
	if st.missing == 0 {
		if from == waiting {
			s.addLaunchable(r.j, -1)
		}
		if to == waiting {
			s.addLaunchable(r.j, 1)
		}
	}
	if is := st.complete(); is != wasComplete {
		for _, reader := range st.readers {
			if is {
				reader.missing--
			} else {
				reader.missing++
			}
			if is && reader.missing == 0 {
				s.setReady(r.j, reader, true)
			} else if !is && reader.missing == 1 {
				s.setReady(r.j, reader, false)
			}
		}
	}
	s.touch(r.j)
}

func (s *Scheduler) setReady(j *jobState, st *stage, ready bool) {
	if ready {
		st.readyAt = s.now
		s.addLaunchable(j, st.count[waiting])
	} else {
		s.addLaunchable(j, -st.count[waiting])
	}
}

func (s *Scheduler) addLaunchable(j *jobState, n int) {
	j.launchable += n
	s.launchable += n
	if n > 0 {
		s.full = true
	}
}

func (s *Scheduler) reviewTouched() {
	for len(s.touched) > 0 {
		j := s.touched[len(s.touched)-1]
		s.touched = s.touched[:len(s.touched)-1]
		j.touched = false
		s.review(j)
	}
}

// review sees to a job that changed: lost outputs that are needed run again, and a job without open tasks is done.
func (s *Scheduler) review(j *jobState) {
	if j.outcome != Running {
		return
	}
	finished := true
	for k := len(j.stages) - 1; k >= 0; k-- { // readers first: a task that runs again needs its inputs again
		st := j.stages[k]
		if st.count[gone] == 0 {
			st.lost = st.lost[:0]
			continue
		}
		if !st.needed() {
			continue
		}
		keep := st.lost[:0]
		for _, i := range st.lost {
			r := j.ref(k, int(i))
			t := r.task()
			switch {
			case t.state != gone:
			case t.kept != 0 && s.settling:
				keep = append(keep, i)
			default:
				s.enqueue(r)
			}
		}
		st.lost = keep
		finished = finished && st.count[gone] == 0
	}
	if finished && j.open == 0 {
		s.end(j, Ended{Job: j.spec.ID, Outcome: Done})
	}
}

// end closes a job. Only the outputs that the client may still gather stay.
func (s *Scheduler) end(j *jobState, e Ended) {
	if j.outcome != Running {
		return
	}
	s.emit(Write{e})
	s.close(j, e)
	s.emit(JobEnded{Job: e.Job, Outcome: e.Outcome, Failure: e.Failure})
	if e.Outcome == Done { // the client still reads results, counters and bad records; Drop lets go of them
		return
	}
	for k := range j.stages {
		s.release(j, k)
	}
}

// close makes a job an ended one, live or from the journal.
func (s *Scheduler) close(j *jobState, e Ended) {
	for k, st := range j.stages {
		for el := st.running.Front(); el != nil; el = st.running.Front() {
			s.cancel(el.Value.(*attempt))
		}
		if st.missing == 0 {
			s.addLaunchable(j, -st.count[waiting])
		}
		st.cancelledTasks = st.open()
		if e.Outcome == Failed && k == e.Task.Stage && st.open() > 0 {
			st.failedTasks++
			st.cancelledTasks--
		}
		st.count[waiting], st.count[delayed], st.count[running] = 0, 0, 0
		st.queues, st.took, st.lost, st.spec.Splits = queues{}, durations{}, nil, nil
	}
	j.outcome, j.failure, j.open = e.Outcome, e.Failure, 0
	s.active = slices.DeleteFunc(s.active, func(x *jobState) bool { return x == j })
}

// release lets go of the outputs of a stage of an ended job.
func (s *Scheduler) release(j *jobState, k int) {
	st := j.stages[k]
	if st.tasks == nil {
		return
	}
	var outputs []job.Producer
	for _, p := range s.list(j, k) {
		if p.Worker != "" {
			outputs = append(outputs, p)
		}
	}
	st.tasks, st.outputs = nil, nil
	if outputs != nil {
		s.emit(Release{Job: j.spec.ID, Stage: k, Outputs: outputs})
	}
}

func (s *Scheduler) drop(id job.ID) {
	j := s.jobs[id]
	if j == nil {
		return
	}
	s.end(j, Ended{Job: id, Outcome: Aborted, Failure: &job.Failure{Kind: job.Cancelled, Message: "dropped"}})
	for k := range j.stages {
		s.release(j, k)
	}
	s.emit(Write{JobDropped{id}})
	s.forget(j)
}

func (s *Scheduler) forget(j *jobState) {
	delete(s.jobs, j.spec.ID)
	s.order = slices.DeleteFunc(s.order, func(x *jobState) bool { return x == j })
}

// list returns the committed attempts of a stage in task order; the zero Producer where no worker holds one.
func (s *Scheduler) list(j *jobState, k int) []job.Producer {
	st := j.stages[k]
	if st.outputs == nil {
		st.outputs = make([]job.Producer, len(st.tasks))
		for i := range st.tasks {
			if t := &st.tasks[i]; t.at != nil {
				st.outputs[i] = job.Producer{Attempt: j.ref(k, i).attempt(t.kept), Worker: t.at.id}
			}
		}
	}
	return st.outputs
}
