package queue

import (
	"slices"
	"time"
)

// class is the kind of offer a worker can take now.
type class uint8

const (
	asleep   class = iota // only a Wake
	free                  // any task
	reserved              // only a task of High
	sharing               // a task together with a Grant
	classes
	busy = classes // nothing
)

// peer is a connection: a worker, a waiting client, or both.
type peer struct {
	n          int32
	name       Peer
	abilities  []*ability
	class      class
	hasSlots   bool // the queue assigns tasks without Grab
	slots      int
	reserved   int
	sleeping   bool
	runs       []int32
	firstWait  int32 // slot of the first wait, or 0
	groupWaits []groupWait
	share      *share // nil if the slots are its own
	// alone: its run is the first attempt after a loss; see alone.go.
	isolated   bool
	emptiesFor *function // set while it gets no tasks until it is empty
}

// ability is an entry for a worker and a function it can run. It is in the function's list for the
// worker's class, sorted by the time of the last offer, oldest first.
type ability struct {
	p          *peer
	f          *function
	timeout    time.Duration
	prev, next *ability
}

type abilities struct{ head ability }

func (l *abilities) init() { l.head.prev, l.head.next = &l.head, &l.head }

func (l *abilities) push(a *ability) {
	a.prev, a.next = l.head.prev, &l.head
	a.prev.next, l.head.prev = a, a
}

func (a *ability) unlink() { a.prev.next, a.next.prev = a.next, a.prev }

func (l *abilities) first() *peer {
	if l.head.next == &l.head {
		return nil
	}
	return l.head.next.p
}

// ensurePeer returns the peer with this number and creates it if necessary.
func (q *Queue) ensurePeer(name Peer) *peer {
	if n := q.peerIndex[name]; n != 0 {
		return q.peers[n]
	}
	p := &peer{name: name, class: busy, n: int32(len(q.peers))}
	if k := len(q.freePeers); k > 0 {
		p.n, q.freePeers = q.freePeers[k-1], q.freePeers[:k-1]
		q.peers[p.n] = p
	} else {
		q.peers = append(q.peers, p)
	}
	q.peerIndex[name] = p.n
	return p
}

// findPeer returns the peer with this number, or nil.
func (q *Queue) findPeer(name Peer) *peer { return q.peers[q.peerIndex[name]] }

// classify updates the class of p and its lists.
func (q *Queue) classify(p *peer) {
	c := busy
	switch left := p.slots - len(p.runs); {
	case p.isClosed():
	case !p.hasSlots && p.sleeping:
		c = asleep
	case p.share != nil:
		if left > 0 {
			c = sharing
		}
	case p.hasSlots && left > p.reserved:
		c = free
	case p.hasSlots && left > 0:
		c = reserved
	}
	if c == p.class {
		return
	}
	for _, a := range p.abilities {
		if p.class != busy {
			a.unlink()
		}
		if c != busy {
			a.f.workers[c].push(a)
		}
	}
	p.class = c
}

func (q *Queue) canDo(e *CanDo) {
	f := q.ensureFunction(e.Function)
	if f == nil {
		return
	}
	p := q.ensurePeer(e.Peer)
	a := p.abilityFor(f)
	if a == nil {
		a = &ability{p: p, f: f}
		p.abilities = append(p.abilities, a)
		f.workerCount++
		if p.class != busy {
			f.workers[p.class].push(a)
		}
	}
	a.timeout = e.Timeout
	q.offerTasks(f)
}

func (p *peer) abilityFor(f *function) *ability {
	for _, a := range p.abilities {
		if a.f == f {
			return a
		}
	}
	return nil
}

func (q *Queue) cantDo(e *CantDo) {
	p := q.findPeer(e.Peer)
	if p == nil {
		return
	}
	p.abilities = slices.DeleteFunc(p.abilities, func(a *ability) bool {
		if e.Function != "" && a.f.name != e.Function {
			return false
		}
		a.f.workerCount--
		if p.class != busy {
			a.unlink()
		}
		return true
	})
}

func (q *Queue) slots(e *SetSlots) {
	p := q.ensurePeer(e.Peer)
	if !p.hasSlots && e.Share != "" {
		q.joinShare(p, e.Share)
	}
	p.hasSlots, p.slots, p.reserved = true, e.N, e.Reserved
	q.classify(p)
	q.fillSlots(p)
}

func (q *Queue) sleep(name Peer) {
	p := q.ensurePeer(name)
	if p.hasSlots {
		return
	}
	if q.suspectCount > 0 {
		q.emptyForSuspect(p)
	}
	if q.hasTask(p) {
		q.emit(Command{Op: Wake, Peer: p.name})
		return
	}
	p.sleeping = true
	q.classify(p)
}

// removePeer removes a peer. Its tasks go to the front of their queues, the oldest first.
// Foreground tasks that only it waited for are cancelled.
func (q *Queue) removePeer(ev *PeerGone) {
	name := ev.Peer
	p := q.findPeer(name)
	if p == nil {
		return
	}
	q.cantDo(&CantDo{Peer: name})
	p.class, p.hasSlots, p.slots, p.sleeping = busy, true, 0, false
	q.stopEmptying(p)
	isolated := len(p.runs) == 1 || p.isolated // beside the latter run only its own calls
	slices.SortFunc(p.runs, func(a, b int32) int { return int(q.runs.at(a).stamp - q.runs.at(b).stamp) })
	for at, r := range p.runs {
		q.runs.at(r).index = int32(at)
	}
	for len(p.runs) > 0 {
		r := p.runs[len(p.runs)-1]
		var e endedRun
		if i := q.runs.at(r).task; i != 0 {
			e = q.endRun(i)
			q.countLoss(i, isolated, ev.Left)
			q.retryOrFail(i, Lost)
		} else {
			e = q.dropRun(r)
		}
		q.refund(e.f)
	}
	for p.firstWait != 0 {
		q.removeWait(p.firstWait)
	}
	q.dropGroupWaits(p)
	q.leaveShare(p)
	for i, ps := range q.late {
		q.late[i] = remove(ps, p)
	}
	q.peers[p.n] = nil
	q.freePeers = append(q.freePeers, p.n)
	delete(q.peerIndex, name)
}
