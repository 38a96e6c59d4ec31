package queue

import "cmp"

// wait is an entry for a peer waiting for a task. It is in two circular lists: the waits of the
// task, in order of arrival, and the waits of the peer.
type wait struct {
	ofTask, ofPeer links
	task, peer     int32
	parent         ID // the task whose handler waits, or 0; see lend.go
}

func (q *Queue) addWait(p *peer, i int32, parent ID) {
	w := q.waits.take()
	t := q.tasks.at(i)
	*q.waits.at(w) = wait{ofTask: links{w, w}, ofPeer: links{w, w}, task: i, peer: p.n, parent: q.addChild(i, parent)}
	q.appendToTask(w, t)
	if p.firstWait == 0 {
		p.firstWait = w
		return
	}
	head := &q.waits.at(p.firstWait).ofPeer
	q.waits.at(w).ofPeer = links{p.firstWait, head.prev}
	q.waits.at(head.prev).ofPeer.next = w
	head.prev = w
}

func (q *Queue) appendToTask(w int32, t *task) {
	if t.firstWait == 0 {
		t.firstWait = w
		return
	}
	head := &q.waits.at(t.firstWait).ofTask
	q.waits.at(w).ofTask = links{t.firstWait, head.prev}
	q.waits.at(head.prev).ofTask.next = w
	head.prev = w
}

// dropWait removes w from both lists.
func (q *Queue) dropWait(w int32) {
	x := q.waits.at(w)
	t, p := q.tasks.at(x.task), q.peers[x.peer]
	q.waits.at(x.ofTask.prev).ofTask.next, q.waits.at(x.ofTask.next).ofTask.prev = x.ofTask.next, x.ofTask.prev
	q.waits.at(x.ofPeer.prev).ofPeer.next, q.waits.at(x.ofPeer.next).ofPeer.prev = x.ofPeer.next, x.ofPeer.prev
	if t.firstWait == w {
		t.firstWait = x.ofTask.next
	}
	if t.firstWait == w {
		t.firstWait = 0
	}
	if p.firstWait == w {
		p.firstWait = x.ofPeer.next
	}
	if p.firstWait == w {
		p.firstWait = 0
	}
	if x.parent != 0 {
		q.dropChild(x.task, x.parent)
	}
	q.waits.drop(w)
}

// removeWait removes w. If nobody waits for a foreground task then, the task is cancelled. An
// attempt on a worker without slots runs to its end, as the Gearman protocol cannot stop it.
func (q *Queue) removeWait(w int32) {
	i := q.waits.at(w).task
	q.dropWait(w)
	t := q.tasks.at(i)
	if t.firstWait == 0 && t.flags&background == 0 && !t.state.hasEnded() && (t.state != Running || q.peers[q.runs.at(t.run).peer].hasSlots) {
		q.cancelTask(i)
	}
}

// notifyWaiters sends c to all peers waiting for task i.
func (q *Queue) notifyWaiters(i int32, c Command) {
	t := q.tasks.at(i)
	c.Op, c.Task = Notify, t.id
	for w := t.firstWait; w != 0; {
		x := q.waits.at(w)
		c.Peer = q.peers[x.peer].name
		q.emit(c)
		if w = x.ofTask.next; w == t.firstWait {
			return
		}
	}
}

func (q *Queue) attach(e *Attach) {
	if g := q.groups[e.Task]; g != nil {
		if q.waitsForItself(e.Parent, 0, g) {
			q.emit(Command{Op: Rejected, Ref: e.Ref, Notice: Circular})
			return
		}
		q.addGroupWait(q.ensurePeer(e.Peer), g, e.Parent)
		q.emit(Command{Op: Accepted, Ref: e.Ref, Task: g.id, N: 1})
		return
	}
	i := q.findLatest(e.Task)
	if e.Task == 0 && e.Unique != (Key{}) {
		i = q.lookUp(q.functionIndex[e.Function], e.Unique)
	}
	if i == 0 {
		q.emit(Command{Op: Unknown, Ref: e.Ref, Peer: e.Peer, Task: e.Task})
		return
	}
	if e.Parent != 0 && q.waitsForItself(e.Parent, i, nil) {
		q.emit(Command{Op: Rejected, Ref: e.Ref, Notice: Circular})
		return
	}
	t := q.tasks.at(i)
	if id := cmp.Or(e.Task, t.id); q.successors.next[id] == 0 {
		q.emit(Command{Op: Accepted, Ref: e.Ref, Task: t.id, Peer: e.Peer, N: 1})
	} else {
		i = q.findLatest(id)
		t = q.tasks.at(i)
		q.emit(Command{Op: Accepted, Ref: e.Ref, Task: id, Peer: e.Peer, N: 1})
		q.emit(Command{Op: Notify, Peer: e.Peer, Task: id, Notice: Followed, N: uint64(t.id)})
	}
	switch {
	case !t.state.hasEnded() || q.resultNeeded(i):
		q.addWait(q.ensurePeer(e.Peer), i, e.Parent)
	case t.state == WasDone:
		q.emit(Command{Op: Notify, Peer: e.Peer, Task: t.id, Notice: Done, Payload: FromResult})
	case t.state == WasFailed:
		q.emit(Command{Op: Notify, Peer: e.Peer, Task: t.id, Notice: Failed, M: uint64(Failed), Payload: FromResult})
	default:
		q.emit(Command{Op: Notify, Peer: e.Peer, Task: t.id, Notice: Cancelled})
	}
}

func (q *Queue) detach(e *Detach) {
	p, i := q.findPeer(e.Peer), q.find(e.Task)
	if p == nil || i == 0 {
		return
	}
	first := q.tasks.at(i).firstWait
	for w := first; w != 0; {
		x := q.waits.at(w)
		if x.peer == p.n {
			q.removeWait(w)
			return
		}
		if w = x.ofTask.next; w == first {
			return
		}
	}
}
