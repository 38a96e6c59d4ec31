package sched

import (
	"fmt"
	"slices"

	"github.com/layshaft/layshaft/internal/job"
)

func (w *world) checkResults() {
	for id, spec := range w.specs {
		end := w.ended[id]
		status, known := w.core.Status(id)
		if w.dropped[id] && w.cfg.Retain > 0 && !known {
			continue
		}
		if want := w.options[id]; fmt.Sprint(status.Options) != fmt.Sprint(want) {
			w.Errorf("job %s has options %+v, not %+v", id, status.Options, want)
		}
		if status.Outcome != end.Outcome {
			w.Errorf("job %s ended %v, status says %v", id, end.Outcome, status.Outcome)
		}
		switch end.Outcome {
		case Failed:
			if end.Failure.Message != "boom" {
				w.Errorf("job %s failed: %s", id, end.Failure.Message)
			}
			continue
		case Aborted:
			if !w.cancelled[id] {
				w.Errorf("job %s was cancelled by nobody", id)
			}
			continue
		}
		want := map[job.Task]uint64{}
		for k, st := range spec.Stages {
			if l := status.Stages[k].Sum.Locality; l.Local+l.Zone+l.Remote > st.Tasks ||
				len(st.Splits) > 0 && l.LocalBytes+l.ZoneBytes+l.RemoteBytes != 10*int64(l.Local+l.Zone+l.Remote) {
				w.Errorf("job %s: stage %d of %d tasks ran at %+v", id, k, st.Tasks, l)
			}
			for i := range st.Tasks {
				if st.Combine { // task 0 stands for the sum over all groups
					i = 0
				}
				var inputs [][]uint64
				for _, e := range st.Inputs {
					var in []uint64
					for p := range spec.Stages[e.From].Tasks {
						in = append(in, want[job.Task{Stage: e.From, Index: p}])
					}
					inputs = append(inputs, in)
				}
				want[job.Task{Stage: k, Index: i}] = output(&spec, job.Task{Stage: k, Index: i}, inputs)
			}
			if sum := status.Stages[k].Sum; int(sum.Records) != st.Tasks || int(sum.Counters["n"]) != 2*st.Tasks {
				w.Errorf("job %s: stage %d of %d tasks counted %+v", id, k, st.Tasks, sum)
			}
			commits := w.core.Commits(id, k)
			for i, p := range commits {
				if one := w.core.Commit(id, k, i); one != p {
					w.Errorf("job %s: task %d/%d: Commit says %+v, Commits %+v", id, k, i, one, p)
				}
			}
			if st.Combine {
				var all uint64
				whole := len(commits) > 0 // otherwise they were dropped
				for _, p := range commits {
					got, ok := uint64(0), false
					if p.Worker != "" {
						got, ok = w.workers[p.Worker].store[p.Attempt]
					}
					all, whole = all+got, whole && ok
				}
				if whole && all != want[job.Task{Stage: k}] {
					w.Errorf("job %s: the groups of stage %d do not add up", id, k)
				}
				continue
			}
			for i, p := range commits {
				if p.Worker == "" {
					continue // lost after the end of the job
				}
				if got, ok := w.workers[p.Worker].store[p.Attempt]; ok && got != want[job.Task{Stage: k, Index: i}] {
					w.Errorf("job %s: %s is wrong", id, p.Attempt)
				}
			}
		}
	}
}

// checkLaunches checks the launches of one Step: only on fit workers, within their slots, and no
// job before one that goes first.
func (w *world) checkLaunches(cmds []Command, yielded int) {
	for _, c := range cmds {
		if g, ok := c.(GrantQueued); ok {
			w.checkGrant(g, &yielded)
			continue
		}
		l, ok := c.(Launch)
		if !ok {
			continue
		}
		id := l.Launch.Attempt.Job
		x, o := w.workers[l.Worker].join, w.options[id]
		has := func(all []string, one string) bool { return slices.Contains(all, one) }
		if x.Draining && w.core.workers[l.Worker].drain != nil {
			w.Errorf("launch on %s, which drains", l.Worker)
		}
		for _, tag := range o.Tags {
			if !has(x.Tags, tag) {
				w.Errorf("job %s needs %v, worker %s has %v", id, o.Tags, l.Worker, x.Tags)
			}
		}
		if o.Code != "" && (!x.AllowsShippedCode && !has(x.Codes, o.Code) || x.Platform != o.Platform) {
			w.Errorf("job %s needs %s for %s, worker %s is %+v", id, o.Code, o.Platform, l.Worker, x)
		}
		core := w.core.workers[l.Worker]
		if len(core.running)+core.queuedTasks > core.slots || !o.Interactive && core.ordinary > core.slots-core.reserved {
			w.Errorf("worker %s of %d slots, %d reserved, runs %d attempts, %d ordinary", l.Worker, core.slots, core.reserved, len(core.running), core.ordinary)
		}
		if w.cfg.LocalityWait < 0 && !l.Speculative {
			if j := w.first(core, o); j != nil {
				if yielded--; yielded < 0 {
					w.Errorf("job %s launches on %s, but job %s, queued %v, goes first", id, l.Worker, j.spec.ID, j.isQueued)
				}
			}
		}
	}
}

// checkDrained checks a worker that may leave.
func (w *world) checkDrained(name string) {
	x := w.core.workers[name]
	if x == nil {
		return // its lease ended meanwhile
	}
	if len(x.running) > 0 { // queued tasks belong to the queue
		w.Errorf("%s goes, and runs %d attempts", name, len(x.running))
	}
	taker := false
	for _, other := range w.core.workers {
		taker = taker || other.drain == nil
	}
	for _, j := range w.core.order {
		if j.outcome == Done && !taker {
			continue // they return with it, or are made again
		}
		for _, st := range j.stages {
			for i := range st.tasks {
				if st.tasks[i].holder == x && st.isNeeded() {
					w.Errorf("%s goes, but somebody needs task %d of stage %s of job %s", name, i, st.spec.Name, j.spec.ID)
				}
			}
		}
	}
}
