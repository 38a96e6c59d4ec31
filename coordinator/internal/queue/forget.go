package queue

import (
	"maps"
	"slices"
)

// Idle functions are forgotten, so that made-up or mistyped names do not fill MaxFunctions and
// every list. A function is in use while it has tasks, dead letters, workers or limits. It is
// forgotten about Config.KeepIdle after its last use; a search every quarter of this time finds it.
// The next use creates it anew, with counts from zero. Totals keeps its counts. After a restart
// every function counts as just used.
//
// An open group whose client is gone would stay, too. It is cancelled as late after its last
// submit, if all its members have ended.

// isInUse reports whether f has anything that forgetting would lose.
func (f *function) isInUse() bool {
	l := &f.limits
	return f.workerCount > 0 || f.taskCount > 0 || f.runCount > 0 || f.emptying != nil || l.Paused ||
		l.Queue != [3]int{} || l.Concurrency > 0 || l.Rate > 0 || l.Burst > 0 || len(l.Needs) > 0 || l.Weight > 0
}

// watchIdle sets the time of the next search, if none is set.
func (q *Queue) watchIdle() {
	if q.idleWake == 0 {
		q.idleWake = q.wheel.tick + q.cfg.KeepIdle.Milliseconds()
	}
}

// forgetIdle forgets the functions and cancels the open groups that have not been in use for
// Config.KeepIdle, and sets the time of the next search.
func (q *Queue) forgetIdle() {
	keep := q.cfg.KeepIdle.Milliseconds()
	q.idleWake = 0
	for _, f := range q.functions {
		switch {
		case f == nil:
			continue
		case f.lastUse == 0 || f.isInUse():
			f.lastUse = q.wheel.tick
		case f.lastUse+keep <= q.wheel.tick:
			q.forgetFunction(f)
			continue
		}
		q.idleWake = q.wheel.tick + max(keep/4, 1)
	}
	for _, id := range slices.Sorted(maps.Keys(q.groups)) {
		switch g := q.groups[id]; {
		case !g.open:
			continue
		case g.unfinished > 0, g.lastUse == 0: // 0: just restored
			g.lastUse = q.wheel.tick
		case g.lastUse+keep <= q.wheel.tick:
			q.endGroup(g, Cancelled, 0)
			continue
		}
		q.idleWake = q.wheel.tick + max(keep/4, 1)
	}
}

// forgetFunction removes a function that is not in use.
func (q *Queue) forgetFunction(f *function) {
	q.setLimits(f, Limits{})
	q.droppedCounts.add(f.counts)
	q.freeHeads = append(append(q.freeHeads, f.queues[:]...), f.deadLetters, f.suspects)
	q.functions[f.n] = nil
	delete(q.functionIndex, f.name)
	q.write(0, NoPayload, append([]byte{'f'}, f.name...), nil)
}
