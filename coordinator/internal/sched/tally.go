package sched

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/tally"
)

// What attempts did, for people and metrics. It decides nothing, and a restart forgets it.

// StageKind sorts stages by what they read.
type StageKind int

const (
	MapStage     StageKind = iota // a source
	CombineStage                  // outputs that lie near: a tier
	ReduceStage                   // outputs of earlier stages
	PublishStage                  // what sinks wrote
	StageKinds
)

// String returns the kind in the words of the status page.
func (k StageKind) String() string {
	return [...]string{"map", "combine", "reduce", "publish", "none"}[min(max(k, 0), StageKinds)]
}

func (st *stage) kind() StageKind { return KindOf(st.spec) }

// KindOf returns the kind of a stage.
func KindOf(st *job.Stage) StageKind {
	switch in := st.Inputs; {
	case st.Combine:
		return CombineStage
	case len(in) > 0 && in[0].Mode == job.Sinks:
		return PublishStage
	case slices.ContainsFunc(in, func(e job.Edge) bool { return e.Mode != job.Broadcast }):
		return ReduceStage
	}
	return MapStage // with broadcast sides, perhaps
}

// End is how an attempt ended.
type End int

const (
	EndDone      End = iota // its output was committed
	EndFailed               // by user code or the worker
	EndInputLost            // what it read was lost
	EndLost                 // with its worker, or without a word
	EndCancelled            // because another was done first, or the job ended
	EndRefused              // it was done, but did not count any more
	Ends
)

// String returns the end in the words of the status page.
func (e End) String() string {
	return [...]string{"done", "failed", "input lost", "lost", "cancelled", "refused", "none"}[min(max(e, 0), Ends)]
}

// Tally counts the attempts of all stages of a kind, in this life of the coordinator. Begun is always the sum of Ended and of those that
// workers have.
type Tally struct {
	Begun int
	Ended [Ends]int
	Took  tally.Durations // of those that are done
}

// Tallies returns the counts of all kinds of stages, by StageKind.
func (s *Scheduler) Tallies() [StageKinds]Tally { return s.tallies }

// countEnd counts the end of an attempt.
func (s *Scheduler) countEnd(st *stage, a *attempt, e End) {
	t := &s.tallies[st.kind()]
	t.Ended[e]++
	switch {
	case a == nil: // it began in an earlier life
		t.Begun++
	case e == EndDone:
		t.Took.Add(s.now.Sub(a.started))
	}
}

func (s *Scheduler) countRefused(a *attempt) {
	if a != nil {
		s.countEnd(a.stage(), a, EndRefused)
	}
}

// countLost counts an attempt that was taken from its worker.
func (s *Scheduler) countLost(a *attempt, why string) {
	if a.element == nil {
		s.countEnd(a.stage(), a, EndCancelled)
		return
	}
	s.countEnd(a.stage(), a, EndLost)
	s.noteTrouble(a, job.Failure{Kind: job.WorkerLost, Message: why})
}

func endOf(k job.Kind) End {
	switch k {
	case job.InputLost:
		return EndInputLost
	case job.Cancelled:
		return EndCancelled
	case job.WorkerLost:
		return EndLost
	}
	return EndFailed
}

// Trouble is an attempt that ended without output.
type Trouble struct {
	At      time.Time
	Took    time.Duration
	Attempt job.Attempt
	Worker  string
	Failure job.Failure // its texts are cut, and it does not say what was lost
}

const (
	maxTroubles = 8       // of one job
	maxMessage  = 1 << 10 // bytes
	maxDetail   = 2 << 10 // bytes
)

// noteTrouble notes why an attempt ended without output.
func (s *Scheduler) noteTrouble(a *attempt, f job.Failure) {
	f.Message, f.Detail, f.Record, f.Lost = cutText(f.Message, maxMessage), cutText(f.Detail, maxDetail), cutText(f.Record, maxMessage), nil
	a.stage().lastFailure, _, _ = strings.Cut(f.Error(), "\n")
	if len(a.j.troubles) == maxTroubles {
		a.j.troubles = append(a.j.troubles[:0], a.j.troubles[1:]...)
	}
	a.j.troubles = append(a.j.troubles, Trouble{At: s.now, Took: s.now.Sub(a.started), Attempt: a.id, Worker: a.worker.name, Failure: f})
}

func cutText(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "…" // a copy: the rest can go
}

// Troubles returns the last attempts of a job that ended without output, the latest last.
func (s *Scheduler) Troubles(id job.ID) []Trouble {
	if j := s.jobs[id]; j != nil {
		return append([]Trouble(nil), j.troubles...)
	}
	return nil
}

// RunningAttempt is an attempt on its way.
type RunningAttempt struct {
	Attempt     job.Attempt
	Worker      string
	Since       time.Time // it was launched, or taken up after a restart
	Speculative bool
}

// Attempts returns at most n attempts of a job that are on their way: by stage, the longest running first.
func (s *Scheduler) Attempts(id job.ID, n int) []RunningAttempt {
	j := s.jobs[id]
	if j == nil {
		return nil
	}
	var out []RunningAttempt
	for _, st := range j.stages {
		for e := st.running.Front(); e != nil && len(out) < n; e = e.Next() {
			a := e.Value.(*attempt)
			out = append(out, RunningAttempt{a.id, a.worker.name, a.started, a.speculative})
		}
	}
	return out
}

// Sums adds up all jobs that are remembered. Tasks is always the sum of Waiting, Running, Done, Failed and Cancelled.
type Sums struct {
	Jobs    [Aborted + 1]int // by outcome
	Waiting int              // of the jobs that have not ended: nothing of them runs
	Tasks   StageStatus      // of all stages; without Name and counters
}

// Sums adds up all jobs. It takes time proportional to the number of their stages.
func (s *Scheduler) Sums() Sums {
	var out Sums
	t := &out.Tasks
	for _, j := range s.order {
		if out.Jobs[j.outcome]++; j.outcome == Running && j.running == 0 {
			out.Waiting++
		}
		for _, st := range j.stages {
			t.Tasks += st.spec.Tasks
			t.Waiting += st.taskCounts[waiting] + st.taskCounts[delayed]
			t.Running += st.taskCounts[running]
			t.Done += st.taskCounts[done] + st.taskCounts[gone]
			t.Failed += st.failedTasks
			t.Cancelled += st.cancelledTasks
			t.Attempts += st.running.Len()
			t.FailedAttempts += st.failures
			t.Lost += st.lostOutputs
			t.Sum.Bytes += st.summary.Bytes
			t.Sum.Records += st.summary.Records
		}
	}
	return out
}

// explainLoss says why a worker counts as lost.
func (s *Scheduler) explainLoss(w *worker) string {
	if d := s.now.Sub(w.lastContact); s.cfg.LeaseTTL > 0 && d >= s.cfg.LeaseTTL {
		return fmt.Sprintf("worker %s was silent for %v: its lease ended", w.name, d.Round(time.Millisecond))
	}
	return fmt.Sprintf("worker %s left or was cut off", w.name)
}

// Page returns the IDs of jobs with one of some outcomes, the latest first, without the first skip of them and at most n, and how many there are in all.
func (s *Scheduler) Page(skip, n int, want ...Outcome) (ids []job.ID, total int) {
	for _, j := range slices.Backward(s.order) {
		if !slices.Contains(want, j.outcome) {
			continue
		}
		if total++; total > skip && len(ids) < n {
			ids = append(ids, j.spec.ID)
		}
	}
	return ids, total
}
