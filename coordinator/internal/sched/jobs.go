package sched

import (
	"container/list"
	"fmt"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// state is the state of a task.
type state uint8

const (
	waiting state = iota // in the queues of its stage
	delayed              // in the retry heap
	running              // on one or more workers
	done                 // committed, and a worker holds the output
	gone                 // committed, but no known worker holds the output
	states
)

type task struct {
	lastAttempt int // number of the newest attempt
	// committed is the number of the committed attempt. It is zero when there is none, or when its
	// output was damaged.
	committed   int
	floor       int      // attempts up to this number cannot commit
	holder      *worker  // holds the committed output; nil when no worker does
	newest      *attempt // running attempts, newest first
	failures    uint16   // transient failures
	inputLosses uint16   // failures because its input was lost
	losses      uint16   // attempts that ended with their workers
	state       state
	isCounted   bool // its output is in the summary of the stage
}

type stage struct {
	spec             *job.Stage
	tasks            []task
	readers          []*stage // stages with this one as an input
	incompleteInputs int      // number of inputs that are not complete
	taskCounts       [states]int
	summary          Summary
	lastFailure      string // error of the last failed attempt, in one line
	// failures counts attempts; failedTasks and cancelledTasks count unfinished tasks of an ended
	// job.
	failures, failedTasks, cancelledTasks int
	queues                                queues
	preferred                             map[int]string // near workers of tasks, after losses of input
	readyAt                               time.Time
	// goneTasks lists tasks in state gone; entries may be out of date.
	goneTasks []int32
	// outputs lists the outputs of all tasks. It is nil when it must be built anew. Launches share
	// it, so it never changes.
	outputs     []job.Producer
	running     list.List // of *attempt, longest running first
	took        durations
	lostOutputs int // lost outputs made again
	// ticket is for the next attempt, when attempts need budgets.
	ticket ticket
	sizes  sizes // of partitions, for readers
	// nearWorkers are the workers near each task's input; nil when they are not known, or the
	// splits name them.
	nearWorkers [][]string
	// byZone is set for a combine stage with groups by zone.
	byZone bool
	// groups has the group of each producing task, for a combine stage; nil when not decided.
	groups []int32
	// members has the producing tasks of each task, for a combine stage.
	members [][]int32
	// movedAt has the time when an output last got another holder, by task.
	movedAt map[int]time.Time
	// suspects are tasks with records that killed a process, by index.
	suspects map[int]*suspect
}

func (st *stage) openTasks() int {
	return st.taskCounts[waiting] + st.taskCounts[delayed] + st.taskCounts[running]
}
func (st *stage) groupSlices() int { return max(st.spec.Slices, 1) }
func (st *stage) isComplete() bool { return st.taskCounts[done] == len(st.tasks) }

// isNeeded reports whether the stage's output will still be read: by a stage with open tasks or,
// when no stage reads it, by the client.
func (st *stage) isNeeded() bool {
	for _, r := range st.readers {
		if r.openTasks() > 0 {
			return true
		}
	}
	return len(st.readers) == 0
}

type jobState struct {
	spec     job.Spec
	options  Options
	number   int // in order of submission
	need     *need
	stages   []*stage
	outcome  Outcome
	failure  *job.Failure
	endedAt  time.Time
	released bool // the outputs were dropped
	// wanted are the tasks with outputs needed by a client, although no stage may need them.
	wanted map[job.Task]bool
	// lostAt is when the job, after it was done, lost an output or the coordinator restarted.
	lostAt time.Time
	// returnBy ends the wait of lost outputs for their worker; zero when they do not wait.
	returnBy time.Time
	// outputsAt has the outputs by holder, for the loss of a worker; entries may be out of date.
	outputsAt  map[*worker][]job.Task
	open       int // tasks in state waiting, delayed or running
	launchable int // waiting tasks of ready stages
	running    int // running attempts
	touched    bool
	inLine     bool
	troubles   []Trouble // the latest ones; see noteTrouble
	fresh      bool      // in line with tasks not yet offered to idle workers
	served     uint64    // Scheduler.starts at its last start or submission

	// isQueued marks an element of Scheduler.queuedJobs: it stands in the line for queued tasks.
	// Then launchable is the number of waiting tasks at workers with a lease, and running is the
	// number of their slots.
	isQueued    bool
	queuedClass QueuedClass // class of those queued tasks
}

// ref refers to one task.
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

// findTask returns the task of an attempt. It returns false when the job or task is unknown or was
// released.
func (s *Scheduler) findTask(a job.Attempt) (ref, bool) {
	j := s.jobs[a.Job]
	if j == nil || a.Task.Stage < 0 || a.Task.Stage >= len(j.stages) || a.Task.Index < 0 ||
		a.Task.Index >= len(j.stages[a.Task.Stage].tasks) {
		return ref{}, false
	}
	return ref{j, a.Task}, true
}

// maxTasks is the largest number of tasks in a job.
const maxTasks = 10_000_000

// Check returns an error if a spec is invalid.
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
		for i, n := range st.Needs {
			if n.Budget == "" || len(n.Budget) > 512 || n.N < 1 || i > 0 && n.Budget <= st.Needs[i-1].Budget {
				return fmt.Errorf("job %s: stage %d: needs %d of budget %.100q: must be at least 1, the name 1 to 512 bytes, budgets sorted by name and each once", spec.ID, k, n.N, n.Budget)
			}
		}
		if st.Slices < 0 || st.Slices > 1 && (!st.Combine || st.Tasks%st.Slices != 0) {
			return fmt.Errorf("job %s: stage %d: %d slices for %d tasks: must not be negative, be 1 unless the stage combines, and divide the tasks", spec.ID, k, st.Slices, st.Tasks)
		}
		grouped := 0
		for _, e := range st.Inputs {
			if e.From < 0 || e.From >= k {
				return fmt.Errorf("job %s: stage %d reads stage %d: must be an earlier stage", spec.ID, k, e.From)
			}
			if e.Mode == job.Group {
				grouped++
			}
		}
		if grouped > 0 && !st.Combine || st.Combine && (grouped != 1 || len(st.Inputs) != 1 || st.Tasks < 1) {
			return fmt.Errorf("job %s: stage %d: %d inputs, %d by group, %d tasks: a combine stage must have one input, by group, and at least one task; other stages have no input by group",
				spec.ID, k, len(st.Inputs), grouped, st.Tasks)
		}
	}
	return nil
}

func (s *Scheduler) submitJob(ev Submitted) {
	if s.jobs[ev.Spec.ID] != nil || Check(&ev.Spec) != nil {
		return
	}
	s.emit(Write{ev})
	s.addJob(ev)
}

func (s *Scheduler) addJob(ev Submitted) {
	spec := ev.Spec
	spec.Stages = slices.Clone(spec.Stages) // releaseStage clears splits in this copy
	s.lastJob++
	j := &jobState{spec: spec, options: ev.Options, number: s.lastJob, need: s.needOf(&ev.Options), served: s.starts, outputsAt: map[*worker][]job.Task{}}
	for k := range spec.Stages {
		st := &stage{spec: &spec.Stages[k], tasks: make([]task, spec.Stages[k].Tasks)}
		st.taskCounts[waiting] = len(st.tasks)
		j.open += len(st.tasks)
		j.stages = append(j.stages, st)
		for _, e := range st.spec.Inputs {
			from := j.stages[e.From]
			if slices.Contains(from.readers, st) {
				continue
			}
			from.readers = append(from.readers, st)
			st.byZone = st.spec.Combine && from.spec.Combine
			if !from.isComplete() {
				st.incompleteInputs++
			}
		}
		for i := range st.tasks {
			s.enqueueTask(j.ref(k, i))
		}
		if st.incompleteInputs == 0 {
			s.setReady(j, k, true)
		}
	}
	s.jobs[spec.ID] = j
	s.order = append(s.order, j)
	s.active = append(s.active, j)
	s.touchJob(j)
}

func (s *Scheduler) touchJob(j *jobState) {
	if !j.touched {
		j.touched = true
		s.touched = append(s.touched, j)
	}
}

// setState changes the state of a task and all dependent counts.
func (s *Scheduler) setState(r ref, to state) {
	t, st := r.task(), r.stage()
	from := t.state
	if from == to {
		return
	}
	wasOpen, wasComplete := st.openTasks(), st.isComplete()
	t.state = to
	st.taskCounts[from]--
	st.taskCounts[to]++
	r.j.open += st.openTasks() - wasOpen
	if st.incompleteInputs == 0 {
		if from == waiting {
			s.updateLine(r.j, -1, 0)
		}
		if to == waiting {
			s.updateLine(r.j, 1, 0)
		}
	}
	if is := st.isComplete(); is != wasComplete {
		for k, reader := range r.j.stages {
			if !slices.Contains(st.readers, reader) {
				continue
			}
			if is {
				reader.incompleteInputs--
			} else {
				reader.incompleteInputs++
			}
			if is && reader.incompleteInputs == 0 {
				s.setReady(r.j, k, true)
			} else if !is && reader.incompleteInputs == 1 {
				s.setReady(r.j, k, false)
			}
		}
	}
	s.touchJob(r.j)
}

func (s *Scheduler) setReady(j *jobState, k int, ready bool) {
	st := j.stages[k]
	if !ready {
		s.updateLine(j, -st.taskCounts[waiting], 0)
		return
	}
	st.readyAt = s.now
	if st.spec.Combine && st.groups == nil {
		s.makeGroups(j, k)
	}
	// holders may have changed
	if near := s.findNearWorkers(j, st); near != nil || st.nearWorkers != nil {
		st.nearWorkers, st.queues = near, queues{}
		for i := range st.tasks {
			if st.tasks[i].state == waiting {
				s.addToQueues(j.ref(k, i))
			}
		}
	}
	s.updateLine(j, st.taskCounts[waiting], 0)
}

func (s *Scheduler) reviewTouched() {
	for len(s.touched) > 0 {
		j := s.touched[len(s.touched)-1]
		s.touched = s.touched[:len(s.touched)-1]
		j.touched = false
		s.reviewJob(j)
	}
}

// reviewJob follows up a change in a job: needed lost outputs are made again, and a job without
// open tasks is done.
func (s *Scheduler) reviewJob(j *jobState) {
	if j.outcome != Running {
		return
	}
	finished := true
	// readers first, since a repeated task needs its inputs again
	for k := len(j.stages) - 1; k >= 0; k-- {
		st := j.stages[k]
		if st.taskCounts[gone] == 0 {
			st.goneTasks = st.goneTasks[:0]
			continue
		}
		needed := st.isNeeded()
		if !needed && len(j.wanted) == 0 {
			continue
		}
		keep := st.goneTasks[:0]
		for _, i := range st.goneTasks {
			r := j.ref(k, int(i))
			t := r.task()
			switch {
			case t.state != gone:
			case !needed && !j.wanted[r.t]:
				keep = append(keep, i)
			case t.committed != 0 && (s.settling || !j.returnBy.IsZero()):
				keep = append(keep, i)
				finished = false
			default:
				st.lostOutputs++
				s.enqueueTask(r)
			}
		}
		st.goneTasks = keep
	}
	if finished && j.open == 0 {
		s.endJob(j, Ended{Job: j.spec.ID, Outcome: Done})
	}
}

// endJob ends a job. It keeps only outputs for the client.
func (s *Scheduler) endJob(j *jobState, e Ended) {
	if j.outcome != Running {
		return
	}
	e.At = s.now
	s.emit(Write{e})
	s.closeJob(j, e)
	empty := false
	if e.Outcome == Done { // the client still reads results, counters and bad records
		empty = s.dropInternalOutputs(j)
	}
	s.emit(JobEnded{Job: e.Job, Outcome: e.Outcome, Failure: e.Failure, Empty: empty})
	if e.Outcome != Done {
		s.releaseOutputs(j)
	}
}

// isReadable reports whether a client may read the outputs of the stage after the job is done.
func (st *stage) isReadable() bool { return !st.spec.Inner || st.summary.Counters[job.Bad] > 0 }

// dropInternalOutputs drops outputs of a finished job that no client can read, and reports whether
// none remain. If some remain, all tasks stay known, so a lost output can be made again.
func (s *Scheduler) dropInternalOutputs(j *jobState) (all bool) {
	all = !slices.ContainsFunc(j.stages, (*stage).isReadable)
	for k, st := range j.stages {
		if all {
			s.releaseStage(j, k)
		} else if !st.isReadable() {
			s.dropOutputs(j, k)
		}
	}
	return all
}

// dropOutputs drops the outputs of a stage of an ended job, and marks them as lost.
func (s *Scheduler) dropOutputs(j *jobState, k int) {
	st := j.stages[k]
	if outputs := s.heldOutputs(j, k); outputs != nil {
		s.emit(Release{Job: j.spec.ID, Stage: k, Outputs: outputs})
	}
	for i := range st.tasks {
		if t := &st.tasks[i]; t.committed != 0 {
			t.committed, t.floor, t.holder = 0, t.committed, nil
			s.setState(j.ref(k, i), gone)
		}
	}
	st.outputs = nil
}

// releaseOutputs drops all outputs of an ended job.
func (s *Scheduler) releaseOutputs(j *jobState) {
	j.released = true
	for k := range j.stages {
		s.releaseStage(j, k)
	}
}

// closeJob ends a job, both in Step and in Restore.
func (s *Scheduler) closeJob(j *jobState, e Ended) {
	for k, st := range j.stages {
		for el := st.running.Front(); el != nil; el = st.running.Front() {
			s.cancelAttempt(el.Value.(*attempt))
		}
		if st.incompleteInputs == 0 {
			s.updateLine(j, -st.taskCounts[waiting], 0)
		}
		st.cancelledTasks = st.openTasks()
		if e.Outcome == Failed && k == e.Task.Stage && st.openTasks() > 0 {
			st.failedTasks++
			st.cancelledTasks--
		}
		st.taskCounts[waiting], st.taskCounts[delayed], st.taskCounts[running] = 0, 0, 0
		st.queues, st.took, st.goneTasks = queues{}, durations{}, nil
		st.sizes, st.nearWorkers, st.movedAt, st.suspects = sizes{}, nil, nil, nil
	}
	j.outcome, j.failure, j.endedAt, j.open = e.Outcome, e.Failure, e.At, 0
	s.dropNeed(j.need)
	j.wanted, j.lostAt, j.returnBy = nil, time.Time{}, time.Time{}
	s.returning = slices.DeleteFunc(s.returning, func(x *jobState) bool { return x == j })
	s.retainJob(j)
	s.active = slices.DeleteFunc(s.active, func(x *jobState) bool { return x == j })
}

// releaseStage drops the outputs of a stage of an ended job, together with everything needed to
// make them again.
func (s *Scheduler) releaseStage(j *jobState, k int) {
	st := j.stages[k]
	if st.tasks == nil {
		return
	}
	outputs := s.heldOutputs(j, k)
	st.tasks, st.outputs, st.spec.Splits, st.groups, st.members = nil, nil, nil, nil, nil
	if outputs != nil {
		s.emit(Release{Job: j.spec.ID, Stage: k, Outputs: outputs})
	}
}

// heldOutputs returns the outputs of a stage with a holder.
func (s *Scheduler) heldOutputs(j *jobState, k int) (outputs []job.Producer) {
	for _, p := range s.committedOutputs(j, k) {
		if p.Worker != "" {
			outputs = append(outputs, p)
		}
	}
	return outputs
}

func (s *Scheduler) jobReleased(id job.ID) {
	j := s.jobs[id]
	if j == nil || j.released {
		return
	}
	s.endJob(j, Ended{Job: id, Outcome: Aborted, Failure: &job.Failure{Kind: job.Cancelled, Message: "its result is not needed"}})
	s.emit(Write{JobReleased{id}})
	s.releaseOutputs(j)
}

func (s *Scheduler) dropJob(id job.ID) {
	j := s.jobs[id]
	if j == nil {
		return
	}
	s.endJob(j, Ended{Job: id, Outcome: Aborted, Failure: &job.Failure{Kind: job.Cancelled, Message: "dropped"}})
	s.releaseOutputs(j)
	s.emit(Write{JobDropped{id}})
	s.forgetJob(j)
}

func (s *Scheduler) forgetJob(j *jobState) {
	delete(s.jobs, j.spec.ID)
	s.retained = slices.DeleteFunc(s.retained, func(x *jobState) bool { return x == j })
	s.order = slices.DeleteFunc(s.order, func(x *jobState) bool { return x == j })
}

// committedOutputs returns the committed attempts of a stage in task order, with the zero Producer
// where there is no holder.
func (s *Scheduler) committedOutputs(j *jobState, k int) []job.Producer {
	st := j.stages[k]
	if st.outputs == nil {
		st.outputs = make([]job.Producer, len(st.tasks))
		for i := range st.tasks {
			if t := &st.tasks[i]; t.holder != nil {
				st.outputs[i] = job.Producer{Attempt: j.ref(k, i).attempt(t.committed), Worker: t.holder.name}
			}
		}
	}
	return st.outputs
}

func selectOutputs(all []job.Producer, tasks []int32) []job.Producer {
	out := make([]job.Producer, len(tasks))
	for k, i := range tasks {
		out[k] = all[i]
	}
	return out
}
