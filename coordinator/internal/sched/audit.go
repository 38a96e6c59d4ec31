package sched

import (
	"fmt"
	"slices"
)

// Audit looks at every task and returns what breaks a promise, in plain words; nothing when all is well: every task
// that is not final has an owner or a wake-up time, and all totals conserve. It takes time proportional to the tasks.
func (s *Scheduler) Audit() []string {
	var bad []string
	complain := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }

	asleep := map[ref]bool{}
	for _, r := range s.delayed {
		if r.j.outcome == Running && r.task().state == delayed {
			asleep[r.ref] = true
		}
	}
	attempts, inLine, fresh := 0, 0, 0
	for _, j := range s.active {
		jobLaunchable, jobRunning, open := 0, 0, 0
		for k, st := range j.stages {
			missing := map[int]bool{}
			for _, e := range st.spec.Inputs {
				if !j.stages[e.From].complete() {
					missing[e.From] = true
				}
			}
			if len(missing) != st.missing {
				complain("job %s: stage %d: %d producing stages are not complete, counted %d", j.spec.ID, k, len(missing), st.missing)
			}
			queued := st.queues.all()
			lost := map[int32]bool{}
			for _, i := range st.lost {
				lost[i] = true
			}
			var count [states]int
			stageRunning := 0
			for i := range st.tasks {
				t, r := &st.tasks[i], j.ref(k, i)
				count[t.state]++
				tries := 0
				for a := t.run; a != nil; a = a.also {
					tries++
					if s.workers[a.w.id] != a.w || a.w.find(a.id) != a || a.el == nil {
						complain("attempt %s of job %s runs on worker %s, which does not know", a.id, j.spec.ID, a.w.id)
					}
				}
				stageRunning += tries
				owned := false
				switch t.state {
				case waiting:
					owned = queued[int32(i)] && tries == 0
				case delayed:
					owned = asleep[r] && tries == 0
				case running:
					owned = tries > 0
				case done:
					owned = t.at != nil && s.workers[t.at.id] == t.at && t.kept > 0 && slices.Contains(j.held[t.at], r.t)
				case gone:
					owned = tries == 0 && t.at == nil && lost[int32(i)] && (s.settling || !st.needed())
				}
				if !owned {
					complain("task %s of job %s is in state %d and has no owner", r.t, j.spec.ID, t.state)
				}
			}
			if count != st.count {
				complain("job %s: stage %d: tasks by state are %v, counted %v", j.spec.ID, k, count, st.count)
			}
			for i, p := range st.outputs {
				if t := &st.tasks[i]; (t.at == nil) != (p.Worker == "") || t.at != nil && (p.Worker != t.at.id || p.Attempt.N != t.kept) {
					complain("task %s of job %s: the list of outputs says %+v, which is out of date", j.ref(k, i).t, j.spec.ID, p)
				}
			}
			if stageRunning != st.running.Len() {
				complain("job %s: stage %d: %d attempts run, counted %d", j.spec.ID, k, stageRunning, st.running.Len())
			}
			if st.missing == 0 {
				jobLaunchable += st.count[waiting]
			}
			jobRunning += stageRunning
			open += st.open()
		}
		if jobLaunchable != j.launchable || jobRunning != j.running || open != j.open {
			complain("job %s: launchable, running, open are %d %d %d, counted %d %d %d",
				j.spec.ID, jobLaunchable, jobRunning, open, j.launchable, j.running, j.open)
		}
		if open == 0 && !s.settling {
			complain("job %s has nothing left to do and has not ended", j.spec.ID)
		}
		attempts += jobRunning
		met := false
		for _, w := range s.workers {
			met = met || w.drain == nil && w.kind.meets[j.need]
		}
		if met != j.need.met || (j.launchable > 0 && met) != j.inLine {
			complain("job %s: some worker will do: %v, noted %v; in line: %v", j.spec.ID, met, j.need.met, j.inLine)
		}
		if j.inLine {
			inLine++
		}
		if j.fresh {
			fresh++
		}
	}
	if attempts != s.running || inLine != len(s.line) || fresh != s.fresh || fresh > 0 && !s.settling || !slices.IsSortedFunc(s.line, compareJobs) {
		complain("%d attempts run, %d jobs in line, %d fresh, counted %d, %d, %d, in order: %v",
			attempts, inLine, fresh, s.running, len(s.line), s.fresh, slices.IsSortedFunc(s.line, compareJobs))
	}
	for _, j := range s.order {
		st, _ := s.Status(j.spec.ID)
		for k, x := range st.Stages {
			if x.Tasks != x.Waiting+x.Running+x.Done+x.Failed+x.Cancelled {
				complain("job %s: stage %d: totals do not conserve: %+v", j.spec.ID, k, x)
			}
		}
	}
	idle, spare := 0, 0
	for id, w := range s.workers {
		ordinary := 0
		for _, a := range w.running {
			if !a.j.options.Interactive {
				ordinary++
			}
		}
		if w.free() != (w.idle != nil) || ordinary != w.ordinary || w.idle != nil && w.isSpare != (ordinary >= w.slots-w.reserved) {
			complain("worker %s: free %v, idle %v, spare %v; %d ordinary attempts, counted %d", id, w.free(), w.idle != nil, w.isSpare, ordinary, w.ordinary)
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
			if w.fits(j) && !s.settling && w.napUntil.IsZero() {
				complain("job %s has %d tasks to launch, worker %s is idle, and nothing will wake them", j.spec.ID, j.launchable, id)
			}
		}
	}
	if idle != s.idle.Len() || spare != s.spare.Len() || len(s.workers) != s.leases.Len() {
		complain("%d workers, %d idle, %d spare; listed %d, %d, %d", len(s.workers), idle, spare, s.leases.Len(), s.idle.Len(), s.spare.Len())
	}
	for _, w := range s.drains {
		if s.workers[w.id] != w || s.drainAt.IsZero() {
			complain("worker %s drains, and nobody looks after it", w.id)
		}
	}
	slices.Sort(bad)
	return bad
}

func (q *queues) all() map[int32]bool {
	in := map[int32]bool{}
	for _, x := range []*queue{&q.free, &q.rest} {
		for _, i := range x.items[x.head:] {
			in[i] = true
		}
	}
	return in
}
