package taskserver

import (
	"slices"

	"github.com/layshaft/layshaft/coordinator/internal/desk"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/tally"
	"github.com/layshaft/layshaft/internal/wire/taskwire"
)

type (
	// Budget is how a budget stands.
	Budget = queue.BudgetInfo
	// TaskWorker is how a worker of functions stands.
	TaskWorker = desk.Worker
	// Failure is an attempt that failed.
	Failure = desk.Failure
	// TaskID names a task.
	TaskID = queue.ID
)

// TaskDetail is the state of a task with its texts.
type TaskDetail struct {
	queue.Info
	WorkerName string // that runs it; empty when none does
	Unique     string // its unique key; empty when it has none
	Error      string // why it failed, cut; empty when it did not
	Why        string // why it does not run now; set by Task
	Input      []byte // its beginning
	// Result is the beginning of the result of a done task, and ResultSize its length; set by Task.
	Result     []byte
	ResultSize int
	// Failures are its attempts that failed in this life of the coordinator; set by Task.
	Failures []Failure
}

// Overview is the state of all tasks at one moment.
type Overview struct {
	Totals    report.TaskCounts // counts over all functions, including dropped ones
	Functions []report.Function // by name
	Budgets   []Budget          // by name
	Workers   []TaskWorker      // in the order of their arrival
	Took      tally.Durations   // of tries that workers ended, in this life
	// Waited is how long tasks were ready before their first attempt, in this life, by the names in
	// Priorities.
	Waited map[string]tally.Durations
	Syncs  tally.Durations // of writes, in this life; empty without a directory
}

// Priorities are the names of the priorities of tasks, the highest first.
var Priorities = []string{"high", "normal", "low"}

// Overview returns the state of all tasks.
func (t *Server) Overview() Overview {
	t.desk.Lock()
	l := Overview{Workers: t.desk.Workers(), Took: t.desk.AttemptDurations(), Waited: map[string]tally.Durations{}}
	for i, p := range []queue.Priority{queue.High, queue.Normal, queue.Low} {
		l.Waited[Priorities[i]] = t.desk.WaitDurations(p)
	}
	l.Totals, l.Functions, l.Budgets = t.status()
	t.desk.Unlock()
	l.Syncs = t.desk.SyncDurations()
	return l
}

// status returns the state of all functions, by name, their sum including dropped functions, and
// the budgets. The caller holds the lock of the desk.
func (t *Server) status() (report.TaskCounts, []report.Function, []Budget) {
	infos := t.desk.Functions()
	functions := make([]report.Function, len(infos))
	for i := range infos {
		functions[i] = functionOf(&infos[i])
	}
	return countsOf(t.desk.Totals()), functions, t.desk.Budgets()
}

// Totals returns the counts of all functions.
func (t *Server) Totals() report.TaskCounts {
	t.desk.Lock()
	defer t.desk.Unlock()
	return countsOf(t.desk.Totals())
}

// FunctionTimes returns the durations of attempts of each function that workers ended, in this
// life.
func (t *Server) FunctionTimes() map[string]tally.Durations {
	out := map[string]tally.Durations{}
	t.desk.Lock()
	defer t.desk.Unlock()
	t.desk.FunctionDurations(func(function string, took *tally.Durations) {
		if took.N > 0 {
			out[function] = *took
		}
	})
	return out
}

// AuditStep is one step of an audit; see coordinator.AuditStep. The beginning is 0.
func (t *Server) AuditStep(at int) (bad []string, next int) {
	t.desk.Lock()
	defer t.desk.Unlock()
	return t.desk.AuditStep(at, 4096)
}

// maxError is the limit of the error in a TaskDetail, in bytes.
const maxError = 4 << 10

// maxPreview is the limit of the input and of the result in a TaskDetail, in bytes.
const maxPreview = 8 << 10

// detail adds texts from the store to the state of a task.
func (t *Server) detail(info queue.Info, worker string) TaskDetail {
	d := TaskDetail{Info: info, WorkerName: worker}
	if in, err := t.desk.Input(info.ID); err == nil {
		d.Unique = in.Unique
		if in.Gathered {
			if in.Data, err = taskwire.GatheredJSON(in.Data); err == nil {
				d.Size = len(in.Data)
			}
		}
		d.Input = in.Data[:min(len(in.Data), maxPreview)]
	}
	if info.State == queue.WasFailed {
		if result, err := t.desk.Result(info.ID); err == nil {
			d.Error = string(result[:min(len(result), maxError)])
		}
	}
	return d
}

// Dead returns at most n dead letters of a function, the latest first, without the first skip.
func (t *Server) Dead(function string, skip, n int) []TaskDetail {
	var infos []queue.Info
	t.desk.Lock()
	t.desk.DeadLetters(function, skip+n, func(i queue.Info) {
		if skip--; skip < 0 {
			infos = append(infos, i)
		}
	})
	t.desk.Unlock()
	out := make([]TaskDetail, len(infos))
	for k, i := range infos {
		out[k] = t.detail(i, "")
	}
	return out
}

// Unfinished returns at most n unfinished tasks of a function, in no particular order; with a
// state, only those in it. more means that it stopped early: there may be others.
func (t *Server) Unfinished(function, state string, n int) (out []TaskDetail, more bool) {
	defer func() {
		for i := range out {
			d := &out[i]
			*d = t.detail(d.Info, d.WorkerName)
		}
	}()
	states := []queue.State{queue.Waiting, queue.Delayed, queue.Running}
	if i := slices.IndexFunc(states, func(s queue.State) bool { return s.String() == state }); i >= 0 {
		states = states[i : i+1]
	}
	next := 0
	for range 200 {
		t.desk.Lock()
		next = t.desk.Tasks(next, underLock, func(i queue.Info) {
			if i.Function == function && slices.Contains(states, i.State) && len(out) <= n {
				out = append(out, TaskDetail{Info: i, WorkerName: t.desk.PeerName(i.Worker)})
			}
		})
		t.desk.Unlock()
		if next == 0 || len(out) > n {
			break
		}
	}
	return out[:min(len(out), n)], next != 0 || len(out) > n
}

// Task returns the state of a task; ok is false when the task is unknown.
func (t *Server) Task(id TaskID) (d TaskDetail, ok bool) {
	t.desk.Lock()
	info, ok := t.desk.Status(id)
	worker, why, failures := t.desk.PeerName(info.Worker), t.desk.WaitReason(info.ID), t.desk.Failures(id)
	t.desk.Unlock()
	if !ok {
		return d, false
	}
	d = t.detail(info, worker)
	d.Why, d.Failures = why, failures
	if info.State == queue.WasDone {
		if result, err := t.desk.Result(id); err == nil {
			d.Result, d.ResultSize = result[:min(len(result), maxPreview)], len(result)
		}
	}
	return d, true
}
