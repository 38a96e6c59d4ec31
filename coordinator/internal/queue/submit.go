package queue

func (q *Queue) submit(e *Submit) {
	reject := func(why Notice) { q.emit(Command{Op: Rejected, Ref: e.Ref, Peer: e.Peer, Notice: why}) }
	if e.Repeated && e.Token != 0 { // its group may have ended meanwhile
		if id := q.tokens.find(e.Token); id != 0 {
			q.emit(Command{Op: Accepted, Ref: e.Ref, Peer: e.Peer, Task: id, N: 1})
			return
		}
	}
	var g *group
	if e.Group != 0 {
		g = q.groups[e.Group]
	}
	if e.Priority > Low || e.Size < 0 || uint64(e.Size) >= 1<<32 || !e.Policy.valid() || !validNext(e.Then) || e.Group != 0 && (g == nil || !g.open || len(g.members) == maxMembers) {
		reject(Invalid)
		return
	}
	if e.Group != 0 && e.Place > 0 {
		if e.Place <= len(g.members) {
			q.emit(Command{Op: Accepted, Ref: e.Ref, Peer: e.Peer, Task: g.members[e.Place-1], N: 1})
			return
		}
		if e.Place > len(g.members)+1 {
			reject(Invalid)
			return
		}
	}
	f := q.ensureFunction(e.Function)
	if f == nil {
		reject(Invalid)
		return
	}
	old := int32(0)
	if e.Unique != (Key{}) && e.Group == 0 {
		if old = q.lookUp(f.n, e.Unique); old != 0 && !q.tasks.at(old).state.hasEnded() {
			if e.Parent != 0 && e.Peer != 0 && q.waitsForItself(e.Parent, old, nil) {
				reject(Circular)
				return
			}
			q.tokens.add(e.Token, q.tasks.at(old).id)
			q.joinTask(e, old)
			return
		}
	}
	if n := f.limits.Queue[e.Priority]; n > 0 && f.live() >= n {
		reject(QueueFull)
		return
	}
	i := q.newTask(f, e.Size, e.Policy)
	if i == 0 {
		reject(QueueFull)
		return
	}
	t := q.tasks.at(i)
	q.tokens.add(e.Token, t.id)
	t.flags = rankOf(e.Priority)
	if e.Peer == 0 {
		t.flags |= background
	}
	if e.Durable {
		t.flags |= durable
	}
	if e.Group != 0 {
		q.joinGroup(i, g)
	} else if e.Unique != (Key{}) {
		t.key = e.Unique
		q.rememberKey(i, old)
	}
	if len(e.Then) > 0 {
		t.flags |= chained
		q.chains[i] = e.Then
	}
	at := int64(0)
	if !e.Due.IsZero() {
		at = tickOf(e.Due)
	}
	delayed := at > q.wheel.tick
	if delayed {
		q.setTimer(i, at)
		q.setState(i, Delayed)
	}
	if e.Durable {
		q.recordTask(i, FromEvent, e.Token)
	} else {
		q.emit(Command{Op: Keep, Task: t.id, Payload: FromEvent})
	}
	q.emit(Command{Op: Accepted, Ref: e.Ref, Peer: e.Peer, Task: t.id})
	if e.Peer != 0 {
		q.addWait(q.ensurePeer(e.Peer), i, e.Parent)
	}
	if !delayed {
		q.makeReady(i, false)
	}
}

// joinTask joins submit e to task i. Its peer waits for task i. If e is a background submit, is
// durable, has a longer Keep, a higher priority or an earlier start, task i takes over this
// property. Task i keeps its input.
func (q *Queue) joinTask(e *Submit, i int32) {
	t := q.tasks.at(i)
	changed := e.Durable && t.flags&durable == 0
	if changed {
		t.flags |= durable
	}
	if e.Peer == 0 && t.flags&background == 0 {
		t.flags |= background
		changed = true
	}
	if p := q.policies[t.policy].Policy; e.Policy.Keep > p.Keep {
		q.dropPolicy(t.policy)
		p.Keep = e.Policy.Keep
		t.policy = q.policyOf(p)
		changed = true
	}
	if changed && t.flags&durable != 0 {
		q.recordTask(i, FromInput, 0)
	}
	if rerun := len(q.reruns) > 0 && q.reruns[i]; rerun && changed || e.Fresh && !rerun {
		q.reruns[i] = true
		q.recordUpdate(i)
	}
	q.emit(Command{Op: Accepted, Ref: e.Ref, Peer: e.Peer, Task: t.id, N: 1})
	if e.Peer != 0 {
		q.addWait(q.ensurePeer(e.Peer), i, e.Parent)
	}
	q.raise(i, rankOf(e.Priority))
	if t.state == Delayed && t.flags&awaitsInput == 0 {
		switch at := tickOf(e.Due); {
		case e.Due.IsZero() || at <= q.wheel.tick:
			q.startEarly(i)
		case at < t.due:
			q.unlink(i)
			q.setTimer(i, at)
			q.recordUpdate(i)
		}
	}
}

// raise gives unended task i a rank, if it is better than its own.
func (q *Queue) raise(i int32, rank flags) {
	t := q.tasks.at(i)
	if rank >= t.flags&rankMask {
		return
	}
	waits := t.state == Waiting
	if waits {
		q.dequeue(i)
	}
	t.flags = t.flags&^rankMask | rank
	q.recordUpdate(i)
	if waits {
		q.makeReady(i, false)
	}
}

// startEarly makes delayed task i ready.
func (q *Queue) startEarly(i int32) {
	q.unlink(i)
	q.setState(i, Waiting)
	q.recordUpdate(i)
	q.makeReady(i, false)
}

func (q *Queue) runNow(e *RunNow) {
	i := q.findLatest(e.Task)
	ok := i != 0 && q.tasks.at(i).state == Delayed && q.tasks.at(i).flags&awaitsInput == 0
	q.answer(e.Ref, e.Task, ok)
	if ok {
		q.startEarly(i)
	}
}

// newTask returns the slot of a new task, counted as waiting but in no list. It returns 0 if there
// is no room.
func (q *Queue) newTask(f *function, size int, p Policy) int32 {
	i := q.tasks.take()
	if i == 0 {
		return 0
	}
	t := q.tasks.at(i)
	t.id = q.newID(i)
	t.fn, t.size, t.policy, t.state = f.n, uint32(size), q.policyOf(p.withDefaults()), Waiting
	f.counts.Submitted++
	f.counts.In[Waiting]++
	f.taskCount++
	return i
}

// removeFromList removes a waiting or delayed task from its list.
func (q *Queue) removeFromList(i int32) {
	if q.tasks.at(i).state == Waiting {
		q.dequeue(i)
	} else {
		q.unlink(i)
	}
}

// runAgain reports whether a fresh submit has joined task i since its last start. If so, the task,
// which is in no list and not running, becomes ready again instead of ending. Only its next start
// serves the submit: after a restart, a worker may claim an attempt that began earlier.
func (q *Queue) runAgain(i int32) bool {
	if len(q.reruns) == 0 || !q.reruns[i] {
		return false
	}
	deleteRare(q.late, i)
	q.restartTask(i)
	return true
}

// restartTask makes task i ready, with all its attempts.
func (q *Queue) restartTask(i int32) {
	t := q.tasks.at(i)
	q.earlierAttempts[i], t.attempts = int(q.attemptNumber(i)), 0
	deleteRare(q.losses, i)
	q.setState(i, Waiting)
	q.recordUpdate(i)
	q.makeReady(i, false)
}

// endTask ends task i, which is in no list and not running.
func (q *Queue) endTask(i int32, state State, notice Notice, from Payload) {
	q.endTaskWith(i, state, Command{Notice: notice, Payload: from})
}

// endTaskWith is endTask with the last notice for the waiting peers.
func (q *Queue) endTaskWith(i int32, state State, last Command) {
	deleteRare(q.late, i)
	deleteRare(q.reruns, i)
	t := q.tasks.at(i)
	q.setState(i, state)
	keep := q.policies[t.policy].Keep
	if state == WasDone && (keep > 0 || t.flags&(grouped|chained) != 0) {
		q.emit(Command{Op: KeepResult, Task: t.id, Payload: last.Payload, N: boolBit(t.flags&durable != 0)})
		t.flags |= hasUpdate // the result is removed with the update
	}
	t.due = 0
	if keep > 0 {
		t.due = q.tickAfter(keep)
	}
	if q.resultNeeded(i) {
		if next := q.newFollower(q.chains[i], t.flags); next != 0 {
			q.fileEnded(i)
			q.linkFollower(i, next)
			return
		}
		q.setState(i, WasFailed)
		last = Command{Notice: Failed, M: uint64(Failed)}
	}
	q.notifyWaiters(i, last)
	for t.firstWait != 0 {
		q.dropWait(t.firstWait)
	}
	if len(q.gathers) > 0 {
		q.cancelGather(i)
	}
	q.fileEnded(i)
	if len(q.memberOf) > 0 {
		q.memberEnded(i)
	}
}

// fileEnded moves ended task i to the right list: parked while a group or a follower needs its
// result, the dead letters, or the wheel for the time of Keep. Otherwise the task is forgotten.
func (q *Queue) fileEnded(i int32) {
	t := q.tasks.at(i)
	f := q.functions[t.fn]
	switch {
	case t.flags&grouped != 0, q.resultNeeded(i):
		q.insertBefore(q.parked, i)
	case t.isDeadLetter():
		t.due = tickOf(q.now)
		q.fileDead(i)
		q.recordUpdate(i)
		if f.deadCount > q.cfg.MaxDead {
			q.forgetTask(q.first(f.deadLetters))
		}
		return
	case t.due > q.wheel.tick:
		q.setTimer(i, t.due)
	default:
		q.forgetTask(i)
		return
	}
	q.recordUpdate(i)
}

// fileDead puts task i, which has ended at tick due, behind the dead letters of its function.
func (q *Queue) fileDead(i int32) {
	t := q.tasks.at(i)
	f := q.functions[t.fn]
	f.deadCount++
	q.insertBefore(f.deadLetters, i)
	if q.cfg.KeepDead > 0 && q.deadWake == 0 {
		q.deadWake = max(t.due+q.cfg.KeepDead.Milliseconds(), q.wheel.tick+1)
	}
}

// deadPause is the shortest time between two searches for old dead letters, in ticks.
const deadPause = 60_000

// forgetOldDead drops the dead letters older than Config.KeepDead.
func (q *Queue) forgetOldDead() {
	keep := q.cfg.KeepDead.Milliseconds()
	q.deadWake = 0
	for _, f := range q.functions {
		if f == nil {
			continue
		}
		i := q.first(f.deadLetters)
		for ; i > 0 && q.tasks.at(i).due+keep <= q.wheel.tick; i = q.first(f.deadLetters) {
			q.forgetTask(i)
		}
		if i > 0 {
			if at := max(q.tasks.at(i).due+keep, q.wheel.tick+deadPause); q.deadWake == 0 || at < q.deadWake {
				q.deadWake = at
			}
		}
	}
}

// isDeadLetter reports whether t is a dead letter.
func (t *task) isDeadLetter() bool {
	return t.state == WasFailed && t.flags&(background|grouped) == background
}

func (q *Queue) answer(ref uint64, id ID, ok bool) {
	op := Accepted
	if !ok {
		op = Unknown
	}
	q.emit(Command{Op: op, Ref: ref, Task: id})
}

func (q *Queue) cancel(e *Cancel) {
	if g := q.groups[e.Task]; g != nil {
		q.answer(e.Ref, e.Task, true)
		q.cancelGroup(g)
		return
	}
	i := q.findLatest(e.Task)
	if i != 0 && q.resultNeeded(i) {
		i = q.findFollower(i)
	}
	ok := i != 0 && !q.tasks.at(i).state.hasEnded()
	q.answer(e.Ref, e.Task, ok)
	if ok {
		q.cancelTask(i)
	}
}

// cancelTask cancels task i, which has not ended.
func (q *Queue) cancelTask(i int32) {
	if q.tasks.at(i).state != Running {
		q.removeFromList(i)
		q.endTask(i, WasCancelled, Cancelled, NoPayload)
		return
	}
	after := q.stopRun(i, Cancelled)
	q.endTask(i, WasCancelled, Cancelled, NoPayload)
	q.refundRun(after)
}

// retry queues a dead letter again, unless it has no input, or another task with its unique key has
// not ended.
func (q *Queue) retry(e *Retry) {
	i := q.find(e.Task)
	ok, other := i != 0 && q.tasks.at(i).isDeadLetter() && q.tasks.at(i).flags&awaitsInput == 0, int32(0)
	if ok && q.tasks.at(i).key != (Key{}) {
		other = q.lookUp(q.tasks.at(i).fn, q.tasks.at(i).key)
		ok = other == 0 || q.tasks.at(other).state.hasEnded()
	}
	q.answer(e.Ref, e.Task, ok)
	if !ok {
		return
	}
	t := q.tasks.at(i)
	q.unlink(i)
	q.functions[t.fn].deadCount--
	if t.key != (Key{}) && other != i {
		q.rememberKey(i, other)
	}
	q.restartTask(i)
}

func (q *Queue) forgetEnded(e *Forget) {
	i := q.find(e.Task)
	ok := i != 0 && q.tasks.at(i).state.hasEnded() && q.tasks.at(i).flags&grouped == 0 && !q.resultNeeded(i)
	q.answer(e.Ref, e.Task, ok)
	if ok {
		q.forgetTask(i)
	}
}

// resultNeeded reports whether a follower still needs the result of task i.
func (q *Queue) resultNeeded(i int32) bool {
	t := q.tasks.at(i)
	return t.state == WasDone && t.flags&chained != 0
}
