package sched

import (
	"cmp"
	"fmt"
	"slices"
)

// Audit checks every task and returns the broken promises in plain words; none when all is well.
// Every unfinished task must have an owner or a wake-up time, and all totals must add up. The time
// is proportional to the number of tasks.
//
// It is no method, so that programs that do not call it do not contain it.
func Audit(s *Scheduler) []string {
	var bad []string
	for at := (AuditPosition{}); ; {
		more, next := AuditStep(s, at)
		if bad = append(bad, more...); next == (AuditPosition{}) {
			slices.Sort(bad)
			return bad
		}
		at = next
	}
}

// AuditPosition is the progress of an audit. The zero value is the beginning.
type AuditPosition struct{ job, stage int }

// AuditStep does one step of an Audit, so events need not wait for a whole one. It checks one
// stage, or at the end all totals, and returns the position of the next step. After the last step
// this is the beginning. Any events may happen between steps.
func AuditStep(s *Scheduler, at AuditPosition) (bad []string, next AuditPosition) {
	a := auditor{s: s}
	i, same := slices.BinarySearchFunc(s.active, at.job, func(j *jobState, number int) int { return cmp.Compare(j.number, number) })
	if i == len(s.active) {
		a.checkTotals()
		slices.Sort(a.bad)
		return a.bad, AuditPosition{}
	}
	j, k := s.active[i], 0
	if same {
		k = at.stage
	}
	if k < len(j.stages) {
		a.checkStage(j, k)
	}
	slices.Sort(a.bad)
	if k+1 < len(j.stages) {
		return a.bad, AuditPosition{j.number, k + 1}
	}
	return a.bad, AuditPosition{j.number + 1, 0}
}

type auditor struct {
	s   *Scheduler
	bad []string
}

func (a *auditor) report(format string, args ...any) {
	a.bad = append(a.bad, fmt.Sprintf(format, args...))
}

// checkStage checks the tasks of a stage.
func (a *auditor) checkStage(j *jobState, k int) {
	s, st := a.s, j.stages[k]
	missing := map[int]bool{}
	for _, e := range st.spec.Inputs {
		if !j.stages[e.From].isComplete() {
			missing[e.From] = true
		}
	}
	if len(missing) != st.incompleteInputs {
		a.report("job %s: stage %d: %d producing stages are not complete, counted %d", j.spec.ID, k, len(missing), st.incompleteInputs)
	}
	in := make([]struct{ queued, asleep, lost, held bool }, len(st.tasks))
	for _, q := range []*queue{&st.queues.free, &st.queues.rest} {
		for _, i := range q.items[q.head:] {
			in[i].queued = true
		}
	}
	for _, r := range s.delayed {
		if r.j == j && r.t.Stage == k {
			in[r.t.Index].asleep = true
		}
	}
	for _, i := range st.goneTasks {
		in[i].lost = true
	}
	for w, tasks := range j.outputsAt {
		for _, t := range tasks {
			if t.Stage == k && st.tasks[t.Index].holder == w && s.workers[w.name] == w {
				in[t.Index].held = true
			}
		}
	}
	var count [states]int
	stageRunning := 0
	for i := range st.tasks {
		t := &st.tasks[i]
		count[t.state]++
		tries := 0
		for x := t.newest; x != nil; x = x.older {
			tries++
			if s.workers[x.worker.name] != x.worker || x.worker.findAttempt(x.id) != x || x.element == nil {
				a.report("attempt %s of job %s runs on worker %s, but the worker does not list it", x.id, j.spec.ID, x.worker.name)
			}
		}
		stageRunning += tries
		owned := false
		switch t.state {
		case waiting:
			owned = in[i].queued && tries == 0
		case delayed:
			owned = in[i].asleep && tries == 0
		case running:
			owned = tries > 0
		case done:
			owned = in[i].held && t.committed > 0
		case gone:
			owned = tries == 0 && t.holder == nil && in[i].lost && (s.settling || !j.returnBy.IsZero() || !st.isNeeded() && !j.wanted[j.ref(k, i).t])
		}
		if !owned {
			a.report("task %s of job %s is in state %d and has no owner", j.ref(k, i).t, j.spec.ID, t.state)
		}
	}
	if count != st.taskCounts {
		a.report("job %s: stage %d: tasks by state are %v, counted %v", j.spec.ID, k, count, st.taskCounts)
	}
	for i, p := range st.outputs {
		if t := &st.tasks[i]; (t.holder == nil) != (p.Worker == "") || t.holder != nil && (p.Worker != t.holder.name || p.Attempt.N != t.committed) {
			a.report("task %s of job %s: entry %+v in the list of outputs is out of date", j.ref(k, i).t, j.spec.ID, p)
		}
	}
	if stageRunning != st.running.Len() {
		a.report("job %s: stage %d: %d attempts run, counted %d", j.spec.ID, k, stageRunning, st.running.Len())
	}
}

// checkTotals checks the counts of jobs, workers and the whole scheduler.
func (a *auditor) checkTotals() {
	s := a.s
	attempts, inLine, fresh := 0, 0, 0
	for _, j := range s.active {
		jobLaunchable, jobRunning, open := 0, 0, 0
		for _, st := range j.stages {
			if st.incompleteInputs == 0 {
				jobLaunchable += st.taskCounts[waiting]
			}
			jobRunning += st.running.Len()
			open += st.openTasks()
		}
		if jobLaunchable != j.launchable || jobRunning != j.running || open != j.open {
			a.report("job %s: launchable, running, open are %d %d %d, counted %d %d %d",
				j.spec.ID, jobLaunchable, jobRunning, open, j.launchable, j.running, j.open)
		}
		if open == 0 && !s.settling && j.returnBy.IsZero() {
			a.report("job %s has nothing left to do and has not ended", j.spec.ID)
		}
		attempts += jobRunning
		met := false
		for _, w := range s.workers {
			met = met || w.drain == nil && w.kind.meets[j.need]
		}
		if met != j.need.met || (j.launchable > 0 && met) != j.inLine {
			a.report("job %s: some worker meets its needs: %v, stored %v; in line: %v", j.spec.ID, met, j.need.met, j.inLine)
		}
		if j.inLine {
			inLine++
		}
		if j.fresh {
			fresh++
		}
	}
	for c, j := range s.queuedJobs {
		held, want := 0, 0
		for _, sh := range s.shares {
			held += sh.granted[c]
			if sh.w != nil {
				want += sh.waiting[c]
			}
		}
		if held != j.running || want != j.launchable || j.inLine != (want > 0) {
			a.report("queued tasks of class %d: %d slots, %d waiting; counted %d, %d, in line: %v", c, held, want, j.running, j.launchable, j.inLine)
		}
		if j.inLine {
			inLine++
		}
	}
	for name, sh := range s.shares {
		if w := sh.w; sh.name != name || w != nil && (w.share != sh || s.workers[w.name] != w) || min(sh.waiting[0], sh.waiting[1], sh.waiting[2], sh.granted[0], sh.granted[1], sh.granted[2]) < 0 {
			a.report("share of worker %s: %+v", name, *sh)
		}
	}
	if attempts != s.running || inLine != len(s.line) || fresh != s.freshJobs || fresh > 0 && !s.settling || !slices.IsSortedFunc(s.line, compareJobs) {
		a.report("%d attempts run, %d jobs in line, %d fresh, counted %d, %d, %d, in order: %v",
			attempts, inLine, fresh, s.running, len(s.line), s.freshJobs, slices.IsSortedFunc(s.line, compareJobs))
	}
	for _, j := range s.order {
		for k, st := range j.stages {
			tasks := st.failedTasks + st.cancelledTasks
			for _, n := range st.taskCounts {
				tasks += n
			}
			if tasks != st.spec.Tasks {
				a.report("job %s: stage %d: totals do not add up: %d tasks, by state %v, %d failed, %d cancelled",
					j.spec.ID, k, st.spec.Tasks, st.taskCounts, st.failedTasks, st.cancelledTasks)
			}
		}
	}
	a.checkTickets()
	idle, spare, have := 0, 0, 0
	for id, w := range s.workers {
		ordinary, queued := 0, 0
		if sh := w.share; sh != nil {
			queued = sh.granted[QueuedHigh] + sh.granted[QueuedNormal] + sh.granted[QueuedLow]
			ordinary = sh.granted[QueuedNormal] + sh.granted[QueuedLow]
		}
		if queued != w.queuedTasks {
			a.report("worker %s: queued tasks have %d slots, counted %d", id, queued, w.queuedTasks)
		}
		for _, x := range w.running {
			if !x.j.options.Interactive {
				ordinary++
			}
		}
		have += len(w.running)
		if w.hasFreeSlot() != (w.idle != nil) || ordinary != w.ordinary || w.idle != nil && w.isSpare != (ordinary >= w.slots-w.reserved) {
			a.report("worker %s: free %v, idle %v, spare %v; %d ordinary attempts, counted %d", id, w.hasFreeSlot(), w.idle != nil, w.isSpare, ordinary, w.ordinary)
		}
		switch {
		case w.idle == nil:
			continue
		case w.isSpare:
			spare++
		default:
			idle++
		}
		for _, j := range s.line {
			if w.fits(j) && !s.settling && w.napUntil.IsZero() && j.budgetsMissing() == "" {
				a.report("job %s has %d tasks to launch, worker %s is idle, and nothing will wake them", j.spec.ID, j.launchable, id)
			}
		}
	}
	if idle != s.idle.Len() || spare != s.spare.Len() || len(s.workers) != s.leases.Len() {
		a.report("%d workers, %d idle, %d spare; listed %d, %d, %d", len(s.workers), idle, spare, s.leases.Len(), s.idle.Len(), s.spare.Len())
	}
	for _, t := range s.tallies {
		for _, n := range t.Ended {
			have += n
		}
		have -= t.Begun
	}
	if have != 0 {
		a.report("attempts begun minus ended minus running is %+d, want 0: %+v", have, s.tallies)
	}
	for _, w := range s.drains {
		if s.workers[w.name] != w || s.drainAt.IsZero() {
			a.report("worker %s drains, but no time is set to check it", w.name)
		}
	}
}
