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
	lastAttempt int      // number of the newest attempt
	committed   int      // the committed attempt; zero when there is none, or when its output was damaged
	floor       int      // attempts up to this one can no longer commit
	holder      *worker  // holds the output of attempt kept; nil when none does
	newest      *attempt // attempts on their way, newest first
	failures    uint16   // transient failures
	inputLosses uint16   // times its input was lost
	state       state
	isCounted   bool // counted in the summary of the stage
}

type stage struct {
	spec             *job.Stage
	tasks            []task
	readers          []*stage // stages that read it
	incompleteInputs int      // stages that it reads and that are not complete
	taskCounts       [states]int
	summary          Summary
	lastFailure      string // why the last attempt that failed did, in one line
	// failures counts attempts that failed; the others count tasks of an ended job that will never be done.
	failures, failedTasks, cancelledTasks int
	queues                                queues
	readyAt                               time.Time
	goneTasks                             []int32        // tasks that became gone; entries may be out of date
	outputs                               []job.Producer // of all tasks; nil when it must be built again. Shared by launches, so never changed
	running                               list.List      // of *attempt, the longest running first
	took                                  durations
	lostOutputs                           int               // outputs that were lost and are made again
	ticket                                ticket            // for the next attempt, when attempts need budgets
	sizes                                 sizes             // of partitions, for readers
	nearWorkers                           [][]string        // workers near each task's input; nil when that is not known, or the splits tell
	byZone                                bool              // a combine stage that makes its groups by zone
	groups                                []int32           // of a combine stage: the group of each producing task; nil when not decided
	members                               [][]int32         // the producing tasks of each task of a combine stage
	movedAt                               map[int]time.Time // when an output got another holder, by task
	suspects                              map[int]*suspect  // tasks whose records ended attempts
}

func (st *stage) openTasks() int {
	return st.taskCounts[waiting] + st.taskCounts[delayed] + st.taskCounts[running]
}
func (st *stage) groupSlices() int { return max(st.spec.Slices, 1) }
func (st *stage) isComplete() bool { return st.taskCounts[done] == len(st.tasks) }

// isNeeded says whether somebody will still read the stage's output: an unfinished stage or, when no stage
// reads it, the client.
func (st *stage) isNeeded() bool {
	for _, r := range st.readers {
		if r.openTasks() > 0 {
			return true
		}
	}
	return len(st.readers) == 0
}

type jobState struct {
	spec       job.Spec
	options    Options
	number     int // in order of submission
	need       *need
	stages     []*stage
	outcome    Outcome
	failure    *job.Failure
	endedAt    time.Time
	released   bool                   // the outputs were let go
	wanted     map[job.Task]bool      // by a client, and made again or waited for though no stage needs them
	lostAt     time.Time              // when an output was lost, or the coordinator restarted, since the job was done
	returnBy   time.Time              // until when lost outputs wait for their worker; zero when they do not
	outputsAt  map[*worker][]job.Task // outputs by holder, for its loss; entries may be out of date
	open       int                    // tasks that are waiting, delayed or running
	launchable int                    // waiting tasks of ready stages
	running    int                    // attempts on their way
	touched    bool
	inLine     bool
	troubles   []Trouble // the last ones; see trouble
	fresh      bool      // in line with tasks that idle workers were not offered yet
	served     uint64    // Scheduler.starts when it last got a slot, or was submitted

	isQueued    bool        // it is one of Scheduler.callers; launchable is what they want of workers that are there, running the slots they have
	queuedClass QueuedClass // of those calls
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

// findTask returns the task of an attempt. It fails when the job, the task or its memory of outputs is gone.
func (s *Scheduler) findTask(a job.Attempt) (ref, bool) {
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
		for i, n := range st.Needs {
			if n.Budget == "" || len(n.Budget) > 512 || n.N < 1 || i > 0 && n.Budget <= st.Needs[i-1].Budget {
				return fmt.Errorf("job %s: stage %d: needs %d of budget %.100q: must be 1 or more, of a name of 1 to 512 bytes, each once and in order", spec.ID, k, n.N, n.Budget)
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
			return fmt.Errorf("job %s: stage %d: %d inputs, %d by group, %d tasks: a combine stage, and no other, has one input, by group, and a task or more",
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
	spec.Stages = slices.Clone(spec.Stages) // splits are let go when the job ends
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

// setState changes the state of a task, and all counts that follow from it.
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
	if near := s.findNearWorkers(j, st); near != nil || st.nearWorkers != nil { // outputs may be elsewhere than the last time
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

// reviewJob sees to a job that changed: lost outputs that are needed run again, and a job without open tasks is done.
func (s *Scheduler) reviewJob(j *jobState) {
	if j.outcome != Running {
		return
	}
	finished := true
	for k := len(j.stages) - 1; k >= 0; k-- { // readers first: a task that runs again needs its inputs again
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

// endJob closes a job. Only the outputs that the client may still gather stay.
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

// isReadable says whether a client may read what a stage of a job that is done has written.
func (st *stage) isReadable() bool { return !st.spec.Inner || st.summary.Counters[job.Bad] > 0 }

// dropInternalOutputs lets go of what no client reads of a job that is done, and returns whether that is all. When it is not, the tasks that made it stay known: they
// run again if rows are lost.
func (s *Scheduler) dropInternalOutputs(j *jobState) (all bool) {
	all = !slices.ContainsFunc(j.stages, (*stage).isReadable)
	for k, st := range j.stages {
		if all {
			s.release(j, k)
		} else if !st.isReadable() {
			s.dropOutputs(j, k)
		}
	}
	return all
}

// dropOutputs lets go of the outputs of a stage of an ended job, as if they were lost.
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

// releaseOutputs lets go of all outputs of an ended job.
func (s *Scheduler) releaseOutputs(j *jobState) {
	j.released = true
	for k := range j.stages {
		s.release(j, k)
	}
}

// closeJob makes a job an ended one, live or from the journal.
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

// release lets go of the outputs of a stage of an ended job, and of all that could make them again.
func (s *Scheduler) release(j *jobState, k int) {
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

// heldOutputs returns the outputs of a stage that some worker holds.
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
	s.endJob(j, Ended{Job: id, Outcome: Aborted, Failure: &job.Failure{Kind: job.Cancelled, Message: "nobody wants its result"}})
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

// committedOutputs returns the committed attempts of a stage in task order; the zero Producer where no worker holds one.
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
