package queue

import "slices"

// share is a set of slots lent to tasks one by one, for example the slots of a machine that runs
// pipeline stages too. The lender decides who gets the next slot:
//
//	Want{share, N: 2, M: Normal}   the queue announces how many tasks could start
//	Grant{share, Normal}           the lender lends one slot: one task starts
//	Vacated{share, M: Normal}      the task has ended: the slot returns to the lender
//
// A Grant without a task to start is returned at once.
type share struct {
	name  string
	peers []*peer
	// announced is, by rank, the last Want minus the Grants since then.
	announced [3]int
	stale     bool // it is in Queue.staleShares
}

// joinShare makes p, which may already run tasks, a peer of a share.
func (q *Queue) joinShare(p *peer, name string) {
	s := q.shares[name]
	if s == nil {
		s = &share{name: name}
		q.shares[name] = s
	}
	p.share = s
	s.peers = append(s.peers, p)
	for _, r := range p.runs {
		if x := q.runs.at(r); !x.lent {
			q.emit(Command{Op: Occupied, Function: name, M: uint64(priorities[x.slotRank])})
		}
	}
}

func (q *Queue) leaveShare(p *peer) {
	if s := p.share; s != nil {
		s.peers = remove(s.peers, p)
		q.markStale(s)
	}
}

// markStale marks the announced numbers of a share as possibly outdated.
func (q *Queue) markStale(s *share) {
	if !s.stale {
		s.stale = true
		q.staleShares = append(q.staleShares, s)
	}
}

// markSharesStale marks all shares used by workers of f.
func (q *Queue) markSharesStale(f *function) {
	l := &f.workers[sharing]
	for a := l.head.next; a != &l.head; a = a.next {
		q.markStale(a.p.share)
	}
}

// vacateSlot returns a slot at the end of Step, after Want. In the other order, the lender could
// give the slot to a party whose turn it is not.
func (q *Queue) vacateSlot(share string, p Priority) {
	q.vacated = append(q.vacated, Command{Op: Vacated, Function: share, M: uint64(p)})
}

// emitWants sends a Want for every changed number of the stale shares, and then the Vacated
// commands.
func (q *Queue) emitWants() {
	for _, s := range q.staleShares {
		s.stale = false
		for rank, n := range q.countWants(s) {
			if n != s.announced[rank] {
				s.announced[rank] = n
				q.emit(Command{Op: Want, Function: s.name, N: uint64(n), M: uint64(priorities[rank])})
			}
		}
		if len(s.peers) == 0 {
			delete(q.shares, s.name)
		}
	}
	clear(q.staleShares)
	q.out = append(q.out, q.vacated...)
	q.staleShares, q.vacated = q.staleShares[:0], q.vacated[:0]
}

// countWants counts, by rank, the tasks that could start on peers of s. Not all of them may find a
// slot. If any task could start, the count is not zero.
func (q *Queue) countWants(s *share) (n [3]int) {
	room := 0
	q.scan++
	for _, p := range s.peers {
		left := p.slots - len(p.runs)
		if left <= 0 {
			continue
		}
		if q.suspectCount > 0 && len(p.runs) == 0 {
			if p.isClosed() {
				room++
			}
			q.countSuspects(p, &n)
		}
		if p.isClosed() {
			continue
		}
		room += left
		for _, a := range p.abilities {
			f := a.f
			if f.scanned == q.scan || f.queued() == 0 || !q.canStart(f) {
				continue
			}
			f.scanned = q.scan
			most := f.queued()
			if c := f.limits.Concurrency; c > 0 {
				most = min(most, c-f.runCount)
			}
			for rank := range n {
				n[rank] += min(f.waiting[rank], most)
			}
		}
	}
	for rank := range n {
		n[rank] = min(n[rank], room)
	}
	return n
}

// grant starts the next task of a priority on the peer of the share with the fewest runs, if there
// is such a task.
func (q *Queue) grant(e *Grant) {
	s, rank := q.shares[e.Share], int(rankOf(e.Priority))
	var to *peer
	var best *function
	var l lead
	if s != nil {
		s.announced[rank] = max(0, s.announced[rank]-1)
		q.markStale(s)
		for _, p := range s.peers {
			if q.suspectCount > 0 {
				if i := q.pickSuspect(p, rank); i != 0 && p.slots > 0 {
					q.startAlone(p, i)
					return
				}
				q.emptyForSuspect(p)
			}
			if p.class != sharing {
				continue
			}
			for _, a := range p.abilities {
				f := a.f
				if f.waiting[rank] == 0 || !q.canStart(f) {
					continue
				}
				l.add(f, rank)
				if best == nil || f != best && f.goesBefore(best, rank) || f == best && len(p.runs) < len(to.runs) {
					best, to = f, p
				}
			}
		}
	}
	if best == nil {
		q.vacateSlot(e.Share, e.Priority)
		return
	}
	best.countServed(rank, l)
	q.startTask(to, best, q.first(best.queues[rank]))
}

// auditShares complains about shares with too small announced numbers.
func (q *Queue) auditShares(complain func(format string, a ...any)) {
	for name, s := range q.shares {
		for rank, n := range q.countWants(s) {
			if n > s.announced[rank] {
				complain("share %s: %d tasks of rank %d could start, announced %d", name, n, rank, s.announced[rank])
			}
		}
		if s.stale || s.name != name || slices.ContainsFunc(s.peers, func(p *peer) bool { return p.share != s || q.peers[p.n] != p }) {
			complain("share %s: %+v", name, *s)
		}
	}
}
