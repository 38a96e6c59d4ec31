package sched

import (
	"cmp"
	"fmt"
	"slices"
)

// Audit looks at every task and returns what breaks a promise, in plain words; nothing when all is well: every task
// that is not final has an owner or a wake-up time, and all totals conserve. It takes time proportional to the tasks.
func (s *Scheduler) Audit() []string {
	var bad []string
	for at := (AuditPosition{}); ; {
		more, next := s.AuditStep(at)
		if bad = append(bad, more...); next == (AuditPosition{}) {
			slices.Sort(bad)
			return bad
		}
		at = next
	}
}

// AuditPosition is how far an audit has come. The zero value is the beginning.
type AuditPosition struct{ job, stage int }

// AuditStep is one step of an Audit that others do not wait for: it looks at one stage, or at last at all totals, and returns the place to go on from, which
// is the beginning again when it was the last step. Between steps anything may happen.
func (s *Scheduler) AuditStep(at AuditPosition) (bad []string, next AuditPosition) {
	a := auditor{s: s}
	i, same := slices.BinarySearchFunc(s.active, at.job, func(j *jobState, number int) int { return cmp.Compare(j.number, number) })
	if i == len(s.active) {
		a.totals()
		slices.Sort(a.bad)
		return a.bad, AuditPosition{}
	}
	j, k := s.active[i], 0
	if same {
		k = at.stage
	}
	if k < len(j.stages) {
		a.stage(j, k)
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

func (a *auditor) complain(format string, args ...any) {
	a.bad = append(a.bad, fmt.Sprintf(format, args...))
}

// stage looks at the tasks of a stage.
func (a *auditor) stage(j *jobState, k int) {
	s, st := a.s, j.stages[k]
	missing := map[int]bool{}
	for _, e := range st.spec.Inputs {
		if !j.stages[e.From].complete() {
			missing[e.From] = true
		}
	}
	if len(missing) != st.missing {
		a.complain("job %s: stage %d: %d producing stages are not complete, counted %d", j.spec.ID, k, len(missing), st.missing)
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
	for _, i := range st.lost {
		in[i].lost = true
	}
	for w, tasks := range j.held {
		for _, t := range tasks {
			if t.Stage == k && st.tasks[t.Index].at == w && s.workers[w.id] == w {
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
		for x := t.run; x != nil; x = x.also {
			tries++
			if s.workers[x.w.id] != x.w || x.w.find(x.id) != x || x.el == nil {
				a.complain("attempt %s of job %s runs on worker %s, which does not know", x.id, j.spec.ID, x.w.id)
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
			owned = in[i].held && t.kept > 0
		case gone:
			owned = tries == 0 && t.at == nil && in[i].lost && (s.settling || !j.returnBy.IsZero() || !st.needed() && !j.wanted[j.ref(k, i).t])
		}
		if !owned {
			a.complain("task %s of job %s is in state %d and has no owner", j.ref(k, i).t, j.spec.ID, t.state)
		}
	}
	if count != st.count {
		a.complain("job %s: stage %d: tasks by state are %v, counted %v", j.spec.ID, k, count, st.count)
	}
	for i, p := range st.outputs {
		if t := &st.tasks[i]; (t.at == nil) != (p.Worker == "") || t.at != nil && (p.Worker != t.at.id || p.Attempt.N != t.kept) {
			a.complain("task %s of job %s: the list of outputs says %+v, which is out of date", j.ref(k, i).t, j.spec.ID, p)
		}
	}
	if stageRunning != st.running.Len() {
		a.complain("job %s: stage %d: %d attempts run, counted %d", j.spec.ID, k, stageRunning, st.running.Len())
	}
}

// totals looks at what is counted for jobs, workers and all.
func (a *auditor) totals() {
	s := a.s
	attempts, inLine, fresh := 0, 0, 0
	for _, j := range s.active {
		jobLaunchable, jobRunning, open := 0, 0, 0
		for _, st := range j.stages {
			if st.missing == 0 {
				jobLaunchable += st.count[waiting]
			}
			jobRunning += st.running.Len()
			open += st.open()
		}
		if jobLaunchable != j.launchable || jobRunning != j.running || open != j.open {
			a.complain("job %s: launchable, running, open are %d %d %d, counted %d %d %d",
				j.spec.ID, jobLaunchable, jobRunning, open, j.launchable, j.running, j.open)
		}
		if open == 0 && !s.settling && j.returnBy.IsZero() {
			a.complain("job %s has nothing left to do and has not ended", j.spec.ID)
		}
		attempts += jobRunning
		met := false
		for _, w := range s.workers {
			met = met || w.drain == nil && w.kind.meets[j.need]
		}
		if met != j.need.met || (j.launchable > 0 && met) != j.inLine {
			a.complain("job %s: some worker will do: %v, noted %v; in line: %v", j.spec.ID, met, j.need.met, j.inLine)
		}
		if j.inLine {
			inLine++
		}
		if j.fresh {
			fresh++
		}
	}
	for c, j := range s.callers {
		held, want := 0, 0
		for _, sh := range s.shares {
			held += sh.held[c]
			if sh.w != nil {
				want += sh.want[c]
			}
		}
		if held != j.running || want != j.launchable || j.inLine != (want > 0) {
			a.complain("calls of class %d: %d slots, %d wanted; counted %d, %d, in line: %v", c, held, want, j.running, j.launchable, j.inLine)
		}
		if j.inLine {
			inLine++
		}
	}
	for name, sh := range s.shares {
		if w := sh.w; sh.name != name || w != nil && (w.share != sh || s.workers[w.id] != w) || min(sh.want[0], sh.want[1], sh.want[2], sh.held[0], sh.held[1], sh.held[2]) < 0 {
			a.complain("share of worker %s: %+v", name, *sh)
		}
	}
	if attempts != s.running || inLine != len(s.line) || fresh != s.fresh || fresh > 0 && !s.settling || !slices.IsSortedFunc(s.line, compareJobs) {
		a.complain("%d attempts run, %d jobs in line, %d fresh, counted %d, %d, %d, in order: %v",
			attempts, inLine, fresh, s.running, len(s.line), s.fresh, slices.IsSortedFunc(s.line, compareJobs))
	}
	for _, j := range s.order {
		for k, st := range j.stages {
			tasks := st.failedTasks + st.cancelledTasks
			for _, n := range st.count {
				tasks += n
			}
			if tasks != st.spec.Tasks {
				a.complain("job %s: stage %d: totals do not conserve: %d tasks, by state %v, %d failed, %d cancelled",
					j.spec.ID, k, st.spec.Tasks, st.count, st.failedTasks, st.cancelledTasks)
			}
		}
	}
	a.tickets()
	idle, spare, have := 0, 0, 0
	for id, w := range s.workers {
		ordinary, calls := 0, 0
		if sh := w.share; sh != nil {
			calls = sh.held[QueuedHigh] + sh.held[QueuedNormal] + sh.held[QueuedLow]
			ordinary = sh.held[QueuedNormal] + sh.held[QueuedLow]
		}
		if calls != w.calls {
			a.complain("worker %s: calls have %d slots, counted %d", id, calls, w.calls)
		}
		for _, x := range w.running {
			if !x.j.options.Interactive {
				ordinary++
			}
		}
		have += len(w.running)
		if w.free() != (w.idle != nil) || ordinary != w.ordinary || w.idle != nil && w.isSpare != (ordinary >= w.slots-w.reserved) {
			a.complain("worker %s: free %v, idle %v, spare %v; %d ordinary attempts, counted %d", id, w.free(), w.idle != nil, w.isSpare, ordinary, w.ordinary)
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
			if w.fits(j) && !s.settling && w.napUntil.IsZero() && j.waitsFor() == "" {
				a.complain("job %s has %d tasks to launch, worker %s is idle, and nothing will wake them", j.spec.ID, j.launchable, id)
			}
		}
	}
	if idle != s.idle.Len() || spare != s.spare.Len() || len(s.workers) != s.leases.Len() {
		a.complain("%d workers, %d idle, %d spare; listed %d, %d, %d", len(s.workers), idle, spare, s.leases.Len(), s.idle.Len(), s.spare.Len())
	}
	for _, t := range s.tallies {
		for _, n := range t.Ended {
			have += n
		}
		have -= t.Begun
	}
	if have != 0 {
		a.complain("attempts that began are not those that ended and those that workers have: %+d, %+v", have, s.tallies)
	}
	for _, w := range s.drains {
		if s.workers[w.id] != w || s.drainAt.IsZero() {
			a.complain("worker %s drains, and nobody looks after it", w.id)
		}
	}
}
