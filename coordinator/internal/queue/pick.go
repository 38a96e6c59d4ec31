package queue

// A worker serves its functions in turn, so that a long queue of one function does not hold up the
// others. function.served counts the starts of each priority, in units of serving divided by the
// weight; the function with the smallest count is next. A function that had nothing to do would
// have to catch up on all that the others did meanwhile. So a start first lifts the count of its
// function to the largest count of its competitors, minus one serving.

// serving is what one start adds to function.served at weight 1. All numbers to 16 divide it.
const serving = 720720

// lead is the largest count of starts among competing functions.
type lead int64

func (l *lead) add(f *function, rank int) { *l = max(*l, lead(f.served[rank])) }

// countServed counts a start of f against its competitors.
func (f *function) countServed(rank int, l lead) {
	one := int64(serving)
	if f.limits.Weight > 1 { // a division costs as much as the rest
		one /= int64(f.limits.Weight)
	}
	f.served[rank] = max(f.served[rank], int64(l)-serving) + one
}

// goesBefore reports whether it is the turn of f rather than g.
func (f *function) goesBefore(g *function, rank int) bool { return f.served[rank] < g.served[rank] }

// candidates has, by rank, the function whose turn it is among those with a task that may start.
type candidates [3]*function

// pickTask returns the function and the rank of the next task for p, or nil.
func (q *Queue) pickTask(p *peer) (*function, int, lead) {
	ranks := 3
	if p.hasSlots && p.slots-len(p.runs) <= p.reserved {
		ranks = 1
	}
	var c candidates
	var leads [3]lead
	for _, a := range p.abilities {
		if f := a.f; f.queued() > 0 && q.canStart(f) {
			for r := range ranks {
				if f.waiting[r] == 0 {
					continue
				}
				// In a tie the function that the worker has named last is first, as in gearmand.
				if leads[r].add(f, r); c[r] == nil || !c[r].goesBefore(f, r) {
					c[r] = f
				}
			}
		}
	}
	for r, f := range c {
		if f != nil {
			if low := q.chooseRank(c, r); low != r {
				return c[low], low, leads[low]
			}
			return f, r, leads[r]
		}
	}
	return nil, 0, 0
}

// chooseRank returns the rank of the next start, where r is the highest rank with a candidate.
// Usually it is r, but each lower rank with a candidate gets 1 start in 18. The turns are multiples
// of the golden ratio, modulo 1. They are spread evenly over all starts, and also over every second
// or third start, so no pattern of workers can miss the turns of one rank.
func (q *Queue) chooseRank(c candidates, r int) int {
	if r == 2 || c[1] == nil && c[2] == nil || r == 1 && c[2] == nil {
		return r
	}
	q.rankTurn += 2654435769 // 2^32 / the golden ratio
	const share = 1 << 32 / 18
	switch {
	case q.rankTurn < share && c[2] != nil:
		return 2
	case q.rankTurn >= share && q.rankTurn < 2*share && c[1] != nil:
		return 1
	}
	return r
}

// offerTasks assigns waiting tasks of f to workers with free slots. If tasks are left, it wakes the
// sleeping workers of f.
func (q *Queue) offerTasks(f *function) {
	if f.hasSuspects() {
		q.offerSuspects(f)
	}
	for f.queued() > 0 && q.canStart(f) {
		p := f.workers[free].first()
		if p == nil && f.waiting[0] > 0 {
			p = f.workers[reserved].first()
		}
		if p == nil {
			q.wakeSleepers(f)
			q.markSharesStale(f)
			return
		}
		q.startNext(p)
	}
}

// wakeSleepers wakes all sleeping workers of f.
func (q *Queue) wakeSleepers(f *function) {
	for p := f.workers[asleep].first(); p != nil; p = f.workers[asleep].first() {
		q.wake(p)
	}
}

// offerInTurn assigns the tasks of several functions with a common limit, always the best task
// next.
func (q *Queue) offerInTurn(fs []*function) {
	for _, f := range fs {
		if f.hasSuspects() {
			q.offerSuspects(f)
		}
	}
	for {
		var best *function
		rank := 0
		for _, f := range fs {
			r := 0
			for r < 3 && f.waiting[r] == 0 {
				r++
			}
			if r == 3 || f.workers[free].first() == nil && (r > 0 || f.workers[reserved].first() == nil) || !q.canStart(f) {
				continue
			}
			if best == nil || r < rank || r == rank && f.goesBefore(best, r) {
				best, rank = f, r
			}
		}
		if best == nil {
			break
		}
		p := best.workers[free].first()
		if p == nil {
			p = best.workers[reserved].first()
		}
		q.startNext(p)
	}
	for _, f := range fs {
		if f.queued() > 0 && (f.workers[asleep].first() != nil || f.workers[sharing].first() != nil) && q.canStart(f) {
			q.wakeSleepers(f)
			q.markSharesStale(f)
		}
	}
}

// fillSlots assigns tasks to p until its slots or the tasks are used up.
func (q *Queue) fillSlots(p *peer) {
	if p.share != nil {
		q.markStale(p.share)
		return
	}
	for p.hasSlots && len(p.runs) < p.slots && q.startNext(p) {
	}
	if p.sleeping && q.hasTask(p) { // it was closed until now
		q.wake(p)
	}
}

// startNext starts the best task for p and reports whether there was one.
func (q *Queue) startNext(p *peer) bool {
	if p.hasSlots && len(p.runs) >= p.slots || p.share != nil {
		return false
	}
	if q.suspectCount > 0 {
		if i := q.pickSuspect(p, anyRank); i != 0 {
			q.startAlone(p, i)
			return true
		}
		q.emptyForSuspect(p)
	}
	if p.isClosed() {
		return false
	}
	f, rank, l := q.pickTask(p)
	if f != nil {
		f.countServed(rank, l)
		q.startTask(p, f, q.first(f.queues[rank]))
	}
	return f != nil
}

func (q *Queue) grab(e *Grab) {
	p := q.ensurePeer(e.Peer)
	if p.sleeping {
		p.sleeping = false
		q.classify(p)
	}
	for n := range max(e.Max, 1) {
		if !q.startNext(p) {
			if n == 0 {
				q.emit(Command{Op: NoTask, Peer: p.name})
			}
			return
		}
	}
}
