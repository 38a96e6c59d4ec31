package sched

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/tally"
)

// Counts of attempts, for people and metrics. No decision depends on them, and a restart resets
// them.

// StageKind classifies stages by their input.
type StageKind int

const (
	MapStage     StageKind = iota // reads a source
	CombineStage                  // reads outputs on one worker or in one zone: a tier
	ReduceStage                   // reads outputs of earlier stages
	PublishStage                  // reads the outputs of sinks
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
	return MapStage // perhaps with broadcast sides
}

// End is how an attempt ended.
type End = report.End

// The ends of an attempt; see package report.
const (
	EndDone      = report.EndDone
	EndFailed    = report.EndFailed
	EndInputLost = report.EndInputLost
	EndLost      = report.EndLost
	EndCancelled = report.EndCancelled
	EndRefused   = report.EndRefused
	Ends         = report.Ends
)

// Tally counts the attempts of all stages of a kind since the coordinator started. Begun is always
// the sum of Ended and of the attempts on workers.
type Tally struct {
	Begun int
	Ended [Ends]int
	Took  tally.Durations // of done attempts
}

// Tallies returns the counts by StageKind.
func (s *Scheduler) Tallies() [StageKinds]Tally { return s.tallies }

// countEnd counts the end of an attempt, and reports it to the shell. done is nil without output,
// and f without a failure.
func (s *Scheduler) countEnd(a *attempt, e End, done *AttemptDone, f *job.Failure) {
	t := &s.tallies[a.stage().kind()]
	t.Ended[e]++
	if e == EndDone {
		t.Took.Add(s.now.Sub(a.started))
	}
	ev := AttemptEnded{Attempt: a.id, Worker: a.worker.name, Started: a.started, Ended: s.now, End: e, Speculative: a.speculative, Failure: f}
	if done != nil {
		ev.Summary, ev.Keys = done.Summary, done.Keys
	}
	s.emit(ev)
}

// countUnseen counts a committed attempt that began in an earlier life of the coordinator.
func (s *Scheduler) countUnseen(st *stage, w *worker, done *AttemptDone) {
	t := &s.tallies[st.kind()]
	t.Begun++
	t.Ended[EndDone]++
	s.emit(AttemptEnded{Attempt: done.Attempt, Worker: w.name, Ended: s.now, End: EndDone, Summary: done.Summary, Keys: done.Keys})
}

func (s *Scheduler) countRefused(a *attempt) {
	if a != nil {
		s.countEnd(a, EndRefused, nil, nil)
	}
}

// countLost counts an attempt as taken from its worker.
func (s *Scheduler) countLost(a *attempt, why string) {
	if a.element == nil {
		s.countEnd(a, EndCancelled, nil, nil)
		return
	}
	f := job.Failure{Kind: job.WorkerLost, Message: why}
	s.countEnd(a, EndLost, nil, &f)
	s.noteTrouble(a, f)
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

// Trouble describes an attempt that ended without output.
type Trouble struct {
	At      time.Time     // time of the end
	Took    time.Duration // time from the launch to the end
	Attempt job.Attempt   // the attempt
	Worker  string        // name of the worker that ran it
	Failure job.Failure   // without Lost; its texts are cut
}

const (
	maxTroubles = 8       // per job
	maxMessage  = 1 << 10 // bytes
	maxDetail   = 2 << 10 // bytes
)

// noteTrouble records why an attempt ended without output.
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
	return strings.ToValidUTF8(text[:n], "") + "…" // a copy, so that the rest can be freed
}

// Troubles returns the latest attempts of a job that ended without output, the latest one last.
func (s *Scheduler) Troubles(id job.ID) []Trouble {
	if j := s.jobs[id]; j != nil {
		return append([]Trouble(nil), j.troubles...)
	}
	return nil
}

// RunningAttempt describes a running attempt.
type RunningAttempt struct {
	Attempt     job.Attempt // the attempt
	Worker      string      // name of the worker that runs it
	Since       time.Time   // when it was launched, or adopted after a restart
	Speculative bool        // it races another attempt of its task
}

// Attempts returns at most n running attempts of a job: by stage, the longest running first.
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

// Sums are totals over all remembered jobs. Tasks is always the sum of Waiting, Running, Done,
// Failed and Cancelled.
type Sums struct {
	Jobs    [Aborted + 1]int // by outcome
	Waiting int              // unfinished jobs with no running attempt
	Tasks   report.Stage     // over all stages; without Name and counters
	// Launchable counts waiting tasks of stages with complete inputs: more slots would run them.
	Launchable int
}

// Sums returns the totals over all jobs. The time is proportional to the number of their stages.
func (s *Scheduler) Sums() Sums {
	var out Sums
	t := &out.Tasks
	for _, j := range s.order {
		if out.Jobs[j.outcome]++; j.outcome == Running && j.running == 0 {
			out.Waiting++
		}
		out.Launchable += j.launchable
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

// explainLoss returns the reason why a worker counts as lost.
func (s *Scheduler) explainLoss(w *worker) string {
	if d := s.now.Sub(w.lastContact); s.cfg.LeaseTTL > 0 && d >= s.cfg.LeaseTTL {
		return fmt.Sprintf("worker %s was silent for %v: its lease ended", w.name, d.Round(time.Millisecond))
	}
	return fmt.Sprintf("worker %s left or was cut off", w.name)
}

// Page returns the IDs of jobs with one of the wanted outcomes, the latest first. It skips the
// first skip of them and returns at most n, and the total number of such jobs.
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
