package sched

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// simQueued simulates package queue, which requests slots for queued tasks, and the processes that
// run them. The queue lives and dies with the core; the processes do not.
type simQueued struct {
	number  int
	waiting map[string]*[queuedClasses]int // by worker ID
	running map[int]simGrant
	// granted counts slots that the core granted and did not get back, as far as the simulation has
	// acted.
	granted map[simGrant]int
	life    int // of the coordinator
}

type simGrant struct {
	WorkerID string
	Class    QueuedClass
}

func (x *simQueued) init() {
	x.waiting, x.running, x.granted = map[string]*[queuedClasses]int{}, map[int]simGrant{}, map[simGrant]int{}
}

// tell passes an event to the core a moment later, in order.
func (w *world) tell(ev Event) {
	life := w.queued.life
	w.after(time.Millisecond, func() {
		if life != w.queued.life {
			return
		}
		switch ev := ev.(type) {
		case QueuedStarted:
			w.queued.granted[simGrant(ev)]++
		case QueuedEnded:
			w.queued.granted[simGrant(ev)]--
		}
		w.step(ev)
	})
}

// changeQueued changes the number of waiting tasks somewhere, and schedules itself again.
func (w *world) changeQueued() {
	if !w.faults {
		return
	}
	id := w.workers[w.names[w.rng.IntN(len(w.names))]].join.WorkerID
	at := w.queued.waiting[id]
	if at == nil {
		at = new([queuedClasses]int)
		w.queued.waiting[id] = at
	}
	c := QueuedClass(w.rng.IntN(int(queuedClasses)))
	if w.chance(20) {
		at[c] = 0 // they run elsewhere, or were cancelled
	} else {
		at[c] += 1 + w.rng.IntN(5)
	}
	if at[c] > 0 || w.chance(50) { // a smaller number need not be reported
		w.tell(QueuedWaiting{id, c, at[c]})
	}
	w.after(w.upTo(4*time.Second), w.changeQueued)
}

// granted starts a queued task, if one waits.
func (w *world) granted(g GrantQueued) {
	x := &w.queued
	x.granted[simGrant(g)]++
	at := x.waiting[g.WorkerID]
	if at == nil || at[g.Class] == 0 {
		w.tell(QueuedEnded(g))
		return
	}
	at[g.Class]--
	x.number++
	n, life := x.number, x.life
	x.running[n] = simGrant(g)
	w.after(w.upTo(3*time.Second), func() {
		delete(x.running, n)
		if life == x.life {
			w.tell(QueuedEnded(g))
		}
	})
}

// rejoinQueued reports the running tasks soon after a restart, and then the waiting ones.
func (w *world) rejoinQueued() {
	x := &w.queued
	x.life++
	clear(x.granted)
	life := x.life
	w.after(w.upTo(2*time.Second), func() {
		if life != x.life {
			return
		}
		for _, n := range slices.Sorted(maps.Keys(x.running)) {
			c := x.running[n]
			w.tell(QueuedStarted(c))
			delete(x.running, n)
			x.number++
			m := x.number
			x.running[m] = c
			w.after(w.upTo(3*time.Second), func() {
				delete(x.running, m)
				if life == x.life {
					w.tell(QueuedEnded(c))
				}
			})
		}
		for _, id := range slices.Sorted(maps.Keys(x.waiting)) {
			for c := range queuedClasses {
				w.tell(QueuedWaiting{id, c, x.waiting[id][c]})
			}
		}
	})
}

// hasQueuedWork reports whether queued tasks run, or wait and could run.
func (w *world) hasQueuedWork() bool {
	for id, at := range w.queued.waiting {
		if sh := w.core.shares[id]; *at != [queuedClasses]int{} && sh != nil && sh.w != nil && sh.w.drain == nil &&
			(at[QueuedHigh] > 0 || sh.w.reserved < sh.w.slots) {
			return true
		}
	}
	return len(w.queued.running) > 0
}

// checkQueued checks that no slot was lost or made up.
func (w *world) checkQueued() {
	got := map[simGrant]int{}
	for name, sh := range w.core.shares {
		for c := range queuedClasses {
			if sh.granted[c] > 0 {
				got[simGrant{name, c}] = sh.granted[c]
			}
		}
	}
	maps.DeleteFunc(w.queued.granted, func(_ simGrant, n int) bool { return n == 0 })
	if !maps.Equal(got, w.queued.granted) {
		w.Errorf("%v: queued tasks hold %v, the core lists %v", w.now.Sub(w.start), w.queued.granted, got)
	}
}

// checkGrant checks a grant: the worker is fit and has the slot, and no job goes before the task.
func (w *world) checkGrant(g GrantQueued, yielded *int) {
	sh := w.core.shares[g.WorkerID]
	if sh == nil || sh.w == nil || sh.w.drain != nil || w.core.settling {
		w.Errorf("%s on a worker that is not there, or drains", fmt.Sprint(g))
		return
	}
	x, o := sh.w, &queuedOptions[g.Class]
	if len(x.running)+x.queuedTasks > x.slots || !o.Interactive && x.ordinary > x.slots-x.reserved {
		w.Errorf("worker %s of %d slots, %d reserved, runs %d attempts and %d queued tasks, %d ordinary", x.name, x.slots, x.reserved, len(x.running), x.queuedTasks, x.ordinary)
	}
	if j := w.first(x, *o); w.cfg.LocalityWait < 0 && j != nil {
		if *yielded--; *yielded < 0 {
			w.Errorf("%v, but job %s, queued %v, goes first", g, j.spec.ID, j.isQueued)
		}
	}
}

// first returns a job that could take a slot of a worker and goes before jobs with other options,
// or nil.
func (w *world) first(x *worker, o Options) *jobState {
	for _, j := range w.core.line {
		able := j.mayUse(x) && (j.isQueued || !j.asks())
		if able && compareBands(&j.options, &o) < 0 && (j.options.Interactive || !o.Interactive) && (j.need.isEmpty() || x.kind.meets[j.need]) {
			return j
		}
	}
	return nil
}

// asks reports whether some stage of a job needs budgets, so that the job may have declined a slot.
func (j *jobState) asks() bool {
	return slices.ContainsFunc(j.stages, func(st *stage) bool { return len(st.spec.Needs) > 0 })
}

// mayUse reports whether x takes attempts, or has waiting queued tasks of the class.
func (j *jobState) mayUse(x *worker) bool {
	if j.isQueued {
		return x.share != nil && x.share.waiting[j.queuedClass] > 0
	}
	return x.blockedUntil.IsZero()
}
