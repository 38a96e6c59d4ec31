package queue

import "slices"

// A task that kills its process takes the tasks beside it along. The queue cannot see which of them
// did it. So each task of a lost worker is a suspect, and its next attempt runs alone: a worker
// without other tasks gets it, and gets no other task meanwhile. If no such worker exists, one
// worker gets no more tasks until it is empty. An example:
//
//	worker 1 runs a, b, c; it dies      a, b and c are suspects
//	worker 2 gets a alone; a ends       a was innocent
//	worker 2 gets b alone; it dies      b was alone: this loss counts for b
//
// Losses are counted apart from failures. A task fails when it was lost Policy.Attempts times while
// it ran alone. Losses beside other tasks do not count, except for a task with one attempt.

// losses counts the attempts at a task that ended with their worker.
type losses struct {
	total    int
	isolated int // losses while the worker ran nothing else
	// lastIsolated: the last loss counts in alone.
	lastIsolated bool
	// suspect: the next attempt runs alone.
	suspect bool
}

// countLoss records that an attempt at task i ended with its worker. left means that the worker
// announced its end: no task is to blame.
func (q *Queue) countLoss(i int32, isolated, left bool) {
	l := q.losses[i]
	l.total++
	l.suspect, l.lastIsolated = !left, isolated && !left
	if l.lastIsolated {
		l.isolated++
	}
	q.losses[i] = l
}

// undoLoss records that the worker of task i is back and still runs it.
func (q *Queue) undoLoss(i int32) {
	if l, ok := q.losses[i]; ok && l.suspect {
		if l.lastIsolated {
			l.isolated--
		}
		l.suspect, l.lastIsolated = false, false
		q.losses[i] = l
	}
}

// clearSuspect records that an attempt at task i ended while its worker lived.
func (q *Queue) clearSuspect(i int32) {
	if q.isSuspect(i) {
		l := q.losses[i]
		l.suspect = false
		q.losses[i] = l
	}
}

func (q *Queue) isSuspect(i int32) bool { return len(q.losses) > 0 && q.losses[i].suspect }

// enqueueSuspect puts task i in the list of suspects of its function, by rank and age.
func (q *Queue) enqueueSuspect(i int32, f *function) {
	at := f.suspects
	for prev := q.link(at).prev; prev > 0 && q.goesBefore(i, prev); prev = q.link(at).prev {
		at = prev
	}
	q.insertBefore(at, i)
	f.suspectCount[q.tasks.at(i).flags.rank()]++
	q.suspectCount++
}

func (q *Queue) dequeueSuspect(i int32) {
	t := q.tasks.at(i)
	q.unlink(i)
	q.functions[t.fn].suspectCount[t.flags.rank()]--
	q.suspectCount--
}

func (f *function) hasSuspects() bool { return f.suspectCount != [3]int{} }

// isClosed reports whether p gets no task now, because it runs one alone or empties for one.
func (p *peer) isClosed() bool { return p.isolated || p.emptiesFor != nil }

// canRunAlone reports whether the slots of p allow a task of a rank, once p is empty.
func (p *peer) canRunAlone(rank int) bool {
	return !p.hasSlots || p.slots > 0 && (rank == 0 || p.share != nil || p.slots > p.reserved)
}

// neverStarts reports whether no task of f can start before an operator changes a setting.
func (q *Queue) neverStarts(f *function) bool {
	return f.limits.Paused || slices.ContainsFunc(f.limits.Needs, func(n Need) bool { return n.N > q.budgets[n.Budget].size })
}

// pickSuspect returns the suspect with the best rank, or of one rank, that may start on p now. It
// returns 0 if there is none.
func (q *Queue) pickSuspect(p *peer, rank int) (best int32) {
	if len(p.runs) > 0 {
		return 0
	}
	for _, a := range p.abilities {
		if !a.f.hasSuspects() || !q.canStart(a.f) {
			continue
		}
		i := q.first(a.f.suspects)
		for rank >= 0 && i > 0 && q.tasks.at(i).flags.rank() != rank {
			i = q.link(i).next
		}
		if i <= 0 || !p.canRunAlone(q.tasks.at(i).flags.rank()) {
			continue
		}
		if best == 0 || q.goesBefore(i, best) {
			best = i
		}
	}
	return best
}

const anyRank = -1

// goesBefore reports whether task i has a better rank than task k, or is older.
func (q *Queue) goesBefore(i, k int32) bool {
	t, u := q.tasks.at(i), q.tasks.at(k)
	if t.flags.rank() != u.flags.rank() {
		return t.flags.rank() < u.flags.rank()
	}
	return t.due < u.due
}

// startAlone starts suspect i on p, which is empty.
func (q *Queue) startAlone(p *peer, i int32) {
	p.isolated = true
	q.startTask(p, q.functions[q.tasks.at(i).fn], i)
}

// emptyForSuspect closes p if a suspect waits for a worker like p, and none is closed for it.
func (q *Queue) emptyForSuspect(p *peer) {
	if p.isClosed() || len(p.runs) == 0 {
		return
	}
	for _, a := range p.abilities {
		if f := a.f; f.hasSuspects() && f.emptying == nil && !q.neverStarts(f) && p.canRunAlone(q.tasks.at(q.first(f.suspects)).flags.rank()) {
			p.emptiesFor, f.emptying = f, p
			q.emptying = append(q.emptying, p)
			q.classify(p)
			return
		}
	}
}

// offerSuspects starts the suspects of f on empty workers. If none is empty, the one with the
// fewest tasks is closed.
func (q *Queue) offerSuspects(f *function) {
	for f.hasSuspects() && q.canStart(f) {
		var empty, least *peer
		waits := false // an empty worker has to ask, or needs a grant
		try := func(p *peer) {
			switch {
			case !p.canRunAlone(q.tasks.at(q.first(f.suspects)).flags.rank()) || p.isolated:
			case len(p.runs) > 0:
				if !p.isClosed() && (least == nil || len(p.runs) < len(least.runs)) {
					least = p
				}
			case p.share != nil:
				q.markStale(p.share)
				waits = true
			case p.hasSlots:
				empty = p
			case p.sleeping:
				q.wake(p)
				waits = true
			}
		}
		for _, p := range slices.Clone(q.emptying) {
			if empty == nil && p.abilityFor(f) != nil {
				try(p)
			}
		}
		for c := range f.workers {
			l := &f.workers[c]
			for a := l.head.next; a != &l.head && empty == nil; {
				p := a.p
				a = a.next // waking p unlinks its entry
				try(p)
			}
		}
		if empty == nil {
			if least != nil && !waits {
				q.emptyForSuspect(least)
			}
			return
		}
		q.startAlone(empty, q.pickSuspect(empty, anyRank))
	}
}

// reopen ends the closing of workers for functions without suspects, or whose tasks cannot start.
func (q *Queue) reopen() {
	for _, p := range slices.Clone(q.emptying) {
		if f := p.emptiesFor; f == nil || !f.hasSuspects() || q.neverStarts(f) || p.abilityFor(f) == nil {
			q.stopEmptying(p)
			q.classify(p)
			q.fillSlots(p)
		}
	}
}

func (q *Queue) stopEmptying(p *peer) {
	if f := p.emptiesFor; f != nil {
		p.emptiesFor, f.emptying = nil, nil
		q.emptying = remove(q.emptying, p)
	}
}

// countSuspects adds the suspects that could start on p, which is empty, to the counts by rank of
// countWants.
func (q *Queue) countSuspects(p *peer, n *[3]int) {
	for _, a := range p.abilities {
		if f := a.f; f.hasSuspects() && f.suspectsScanned != q.scan && q.canStart(f) {
			f.suspectsScanned = q.scan
			for rank := range n {
				n[rank] += f.suspectCount[rank]
			}
		}
	}
}

// hasTask reports whether a task is ready for p.
func (q *Queue) hasTask(p *peer) bool {
	if q.suspectCount > 0 && q.pickSuspect(p, anyRank) != 0 {
		return true
	}
	if p.isClosed() {
		return false
	}
	f, _, _ := q.pickTask(p)
	return f != nil
}

// wake wakes sleeping peer p.
func (q *Queue) wake(p *peer) {
	p.sleeping = false
	q.classify(p)
	q.emit(Command{Op: Wake, Peer: p.name})
}

// auditSuspects complains about suspects that wait beside an empty worker.
func (q *Queue) auditSuspects(complain func(format string, a ...any)) {
	waiting := 0
	for _, f := range q.functions {
		if f == nil {
			continue
		}
		var n [3]int
		for i := q.first(f.suspects); i > 0; i = q.link(i).next {
			n[q.tasks.at(i).flags.rank()]++
			waiting++
		}
		if n != f.suspectCount {
			complain("function %s: %v suspects of %v", f.name, n, f.suspectCount)
		}
		if p := f.emptying; p != nil && (p.emptiesFor != f || !slices.Contains(q.emptying, p) || !f.hasSuspects()) {
			complain("function %s: worker %d empties for no suspect", f.name, p.name)
		}
	}
	if waiting != q.suspectCount {
		complain("%d suspects of %d", waiting, q.suspectCount)
	}
	for _, p := range q.peers {
		if p == nil {
			continue
		}
		if p.isolated && len(p.runs) == 0 || p.isClosed() && p.class != busy {
			complain("worker %d: alone %v, class %d, %d runs", p.name, p.isolated, p.class, len(p.runs))
		}
		if waiting > 0 && p.share == nil && (p.hasSlots || p.sleeping) && q.pickSuspect(p, anyRank) != 0 {
			complain("worker %d is empty, and a suspect waits", p.name)
		}
	}
	for i := range q.losses {
		if q.tasks.at(i).id == 0 {
			complain("losses of slot %d, where no task is", i)
		}
	}
	for i := range q.reruns {
		if t := q.tasks.at(i); t.id == 0 || t.state.hasEnded() {
			complain("slot %d runs again, and has no task that can", i)
		}
	}
}
