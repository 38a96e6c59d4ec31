package queue

import (
	"slices"
	"time"
)

// class is what a worker can be offered now.
type class uint8

const (
	asleep   class = iota // a Wake
	free                  // a task
	reserved              // a task of High
	sharing               // a task when somebody else gives it a slot
	classes
	busy = classes // nothing
)

// peer is a connection: a worker, one that waits, or both.
type peer struct {
	n         int32
	name      Peer
	abilities []*ability
	class     class
	pushed    bool // has slots
	slots     int
	reserved  int
	sleeping  bool
	runs      []int32
	waits     int32  // first wait, or 0
	share     *share // nil when its slots are its own
}

// ability is that a worker can do a function; in the list of the worker's class, the one that was not offered anything for longest first.
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

// peer returns the peer of that name, a new one if need be.
func (q *Queue) peer(name Peer) *peer {
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

// known returns the peer of that name, or nil.
func (q *Queue) known(name Peer) *peer { return q.peers[q.peerIndex[name]] }

// classify finds the class of p anew.
func (q *Queue) classify(p *peer) {
	c := busy
	switch left := p.slots - len(p.runs); {
	case !p.pushed && p.sleeping:
		c = asleep
	case p.share != nil:
		if left > 0 {
			c = sharing
		}
	case p.pushed && left > p.reserved:
		c = free
	case p.pushed && left > 0:
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
	f := q.function(e.Function)
	if f == nil {
		return
	}
	p := q.peer(e.Peer)
	a := p.can(f)
	if a == nil {
		a = &ability{p: p, f: f}
		p.abilities = append(p.abilities, a)
		f.able++
		if p.class != busy {
			f.workers[p.class].push(a)
		}
	}
	a.timeout = e.Timeout
	q.offer(f)
}

func (p *peer) can(f *function) *ability {
	for _, a := range p.abilities {
		if a.f == f {
			return a
		}
	}
	return nil
}

func (q *Queue) cantDo(e *CantDo) {
	p := q.known(e.Peer)
	if p == nil {
		return
	}
	p.abilities = slices.DeleteFunc(p.abilities, func(a *ability) bool {
		if e.Function != "" && a.f.name != e.Function {
			return false
		}
		a.f.able--
		if p.class != busy {
			a.unlink()
		}
		return true
	})
}

func (q *Queue) slots(e *SetSlots) {
	p := q.peer(e.Peer)
	if !p.pushed && e.Share != "" {
		q.joinShare(p, e.Share)
	}
	p.pushed, p.slots, p.reserved = true, e.N, e.Reserved
	q.classify(p)
	q.feed(p)
}

func (q *Queue) sleep(name Peer) {
	p := q.peer(name)
	if p.pushed {
		return
	}
	if f, _ := q.pick(p); f != nil {
		q.emit(Command{Op: Wake, Peer: p.name})
		return
	}
	p.sleeping = true
	q.classify(p)
}

// gone lets go of all that a peer held: its tasks go to the front, the oldest first, and those that only it waited for are dropped.
func (q *Queue) gone(name Peer) {
	p := q.known(name)
	if p == nil {
		return
	}
	q.cantDo(&CantDo{Peer: name})
	p.class, p.pushed, p.slots, p.sleeping = busy, true, 0, false
	slices.SortFunc(p.runs, func(a, b int32) int { return int(q.runs.at(a).stamp - q.runs.at(b).stamp) })
	for at, r := range p.runs {
		q.runs.at(r).at = int32(at)
	}
	for len(p.runs) > 0 {
		r := p.runs[len(p.runs)-1]
		var e ended
		if i := q.runs.at(r).task; i != 0 {
			e = q.endRun(i)
			q.again(i, Lost, q.lostDelay(i))
		} else {
			e = q.dropRun(r)
		}
		q.refund(e.f)
	}
	for p.waits != 0 {
		q.leave(p.waits, false)
	}
	q.leaveShare(p)
	q.peers[p.n] = nil
	q.freePeers = append(q.freePeers, p.n)
	delete(q.peerIndex, name)
}

// lostDelay is how long task i waits after its worker was lost: not at all after its first try.
func (q *Queue) lostDelay(i int32) time.Duration {
	t := q.tasks.at(i)
	if t.tries <= 1 {
		return 0
	}
	return q.policies[t.policy].backoff(int(t.tries) - 1)
}
