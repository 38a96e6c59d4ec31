package sched

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// simCallers plays the other core, which wants slots for calls, and those who run them. It lives and dies with the core; those who run calls do not.
type simCallers struct {
	number  int
	waiting map[string]*[classes]int // by lasting name of the worker
	running map[int]simCall
	granted map[simCall]int // slots that the core gave and did not get back, by what was acted on
	life    int             // of the coordinator
}

type simCall struct {
	WorkerID string
	Class    QueuedClass
}

func (x *simCallers) init() {
	x.waiting, x.running, x.granted = map[string]*[classes]int{}, map[int]simCall{}, map[simCall]int{}
}

// tell gives the core an event a moment later, in order.
func (w *world) tell(ev Event) {
	life := w.callers.life
	w.after(time.Millisecond, func() {
		if life != w.callers.life {
			return
		}
		switch ev := ev.(type) {
		case QueuedStarted:
			w.callers.granted[simCall(ev)]++
		case QueuedEnded:
			w.callers.granted[simCall(ev)]--
		}
		w.step(ev)
	})
}

// call has somebody want calls, or not any more, and comes back.
func (w *world) call() {
	if !w.faults {
		return
	}
	lasting := w.workers[w.names[w.rng.IntN(len(w.names))]].join.WorkerID
	at := w.callers.waiting[lasting]
	if at == nil {
		at = new([classes]int)
		w.callers.waiting[lasting] = at
	}
	c := QueuedClass(w.rng.IntN(int(classes)))
	if w.chance(20) {
		at[c] = 0 // they run elsewhere, or were cancelled
	} else {
		at[c] += 1 + w.rng.IntN(5)
	}
	if at[c] > 0 || w.chance(50) { // that there are fewer need not be told
		w.tell(QueuedWaiting{lasting, c, at[c]})
	}
	w.after(w.upTo(4*time.Second), w.call)
}

// granted starts a call, if one waits.
func (w *world) granted(g GrantQueued) {
	x := &w.callers
	x.granted[simCall(g)]++
	at := x.waiting[g.WorkerID]
	if at == nil || at[g.Class] == 0 {
		w.tell(QueuedEnded(g))
		return
	}
	at[g.Class]--
	x.number++
	n, life := x.number, x.life
	x.running[n] = simCall(g)
	w.after(w.upTo(3*time.Second), func() {
		delete(x.running, n)
		if life == x.life {
			w.tell(QueuedEnded(g))
		}
	})
}

// rejoinCalls has those who run calls say so, soon after a restart, and the others be wanted again.
func (w *world) rejoinCalls() {
	x := &w.callers
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
		for _, lasting := range slices.Sorted(maps.Keys(x.waiting)) {
			for c := range classes {
				w.tell(QueuedWaiting{lasting, c, x.waiting[lasting][c]})
			}
		}
	})
}

// calling says whether calls wait that could run, or run.
func (w *world) calling() bool {
	for lasting, at := range w.callers.waiting {
		if sh := w.core.shares[lasting]; *at != [classes]int{} && sh != nil && sh.w != nil && sh.w.drain == nil &&
			(at[QueuedHigh] > 0 || sh.w.reserved < sh.w.slots) {
			return true
		}
	}
	return len(w.callers.running) > 0
}

// checkCalls sees that no slot was lost or made up.
func (w *world) checkCalls() {
	got := map[simCall]int{}
	for name, sh := range w.core.shares {
		for c := range classes {
			if sh.held[c] > 0 {
				got[simCall{name, c}] = sh.held[c]
			}
		}
	}
	maps.DeleteFunc(w.callers.granted, func(_ simCall, n int) bool { return n == 0 })
	if !maps.Equal(got, w.callers.granted) {
		w.Errorf("%v: calls hold %v, the core knows of %v", w.now.Sub(w.start), w.callers.granted, got)
	}
}

// checkGrant looks at a grant: on a worker that is fit, within its slots, and not before a job that goes first.
func (w *world) checkGrant(g GrantQueued, yielded *int) {
	sh := w.core.shares[g.WorkerID]
	if sh == nil || sh.w == nil || sh.w.drain != nil || w.core.settling {
		w.Errorf("%s on a worker that is not there, or drains", fmt.Sprint(g))
		return
	}
	x, o := sh.w, &callOptions[g.Class]
	if len(x.running)+x.calls > x.slots || !o.Interactive && x.ordinary > x.slots-x.reserved {
		w.Errorf("worker %s of %d slots, %d reserved, runs %d attempts and %d calls, %d ordinary", x.id, x.slots, x.reserved, len(x.running), x.calls, x.ordinary)
	}
	if j := w.first(x, *o); w.cfg.LocalityWait < 0 && j != nil {
		if *yielded--; *yielded < 0 {
			w.Errorf("%v, but job %s, calls %v, goes first", g, j.spec.ID, j.calls)
		}
	}
}

// first returns a job that could take a slot of a worker and goes before those with other options; nil when there is none.
func (w *world) first(x *worker, o Options) *jobState {
	for _, j := range w.core.line {
		able := j.mayUse(x) && (j.calls || !j.asks())
		if able && compareBands(&j.options, &o) < 0 && (j.options.Interactive || !o.Interactive) && (j.need.any() || x.kind.meets[j.need]) {
			return j
		}
	}
	return nil
}

// asks says whether some stage of a job wants budgets, so that the job may have declined a slot.
func (j *jobState) asks() bool {
	return slices.ContainsFunc(j.stages, func(st *stage) bool { return len(st.spec.Needs) > 0 })
}

// mayUse says whether x takes attempts, or the calls that are wanted are wanted of it.
func (j *jobState) mayUse(x *worker) bool {
	if j.calls {
		return x.share != nil && x.share.want[j.class] > 0
	}
	return x.blockedUntil.IsZero()
}
