package queue

import "time"

// run is a running attempt.
type run struct {
	// task is 0 after a cancel or a timeout, until the worker reports that the attempt has stopped.
	task      int32
	peer      int32
	index     int32 // index in peer.runs
	fn        int32
	id        ID
	rank      uint8
	stamp     int64 // age stamp of the task
	hard      int64 // tick of the hard limit; 0: none
	started   int64 // Unix nanoseconds
	softTimer bool  // the timer is for the soft limit
	// lent: the run is beyond the slots of its worker; see lend.go. In a share, other runs have a
	// slot, granted for a task of slotRank.
	lent     bool
	slotRank uint8
	n, m     uint64 // progress
}

// startTask starts task i, waiting in f, on p.
func (q *Queue) startTask(p *peer, f *function, i int32) {
	q.dequeue(i)
	deleteRare(q.reruns, i)
	a := q.beginRun(p, f, i)
	if p.class != busy && a != nil { // the next task goes to another worker
		a.unlink()
		f.workers[p.class].push(a)
	}
	t := q.tasks.at(i)
	q.emit(Command{Op: Assign, Peer: p.name, Task: t.id, Function: f.name, N: q.attemptNumber(i)})
}

// attemptNumber returns the number of the last attempt at task i. It only grows, so leftovers of an
// earlier attempt are never mistaken for a later one.
func (q *Queue) attemptNumber(i int32) uint64 {
	n := int(q.tasks.at(i).attempts)
	if len(q.earlierAttempts) > 0 {
		n += q.earlierAttempts[i]
	}
	return uint64(n)
}

// beginRun records that p runs task i, which is in no list.
func (q *Queue) beginRun(p *peer, f *function, i int32) *ability {
	t := q.tasks.at(i)
	q.setState(i, Running)
	q.charge(f)
	if t.attempts == 0 {
		q.firstWaits[t.flags.rank()].Add(time.Duration(q.now.UnixNano() - max(t.due, q.born)))
	}
	if t.attempts++; t.attempts == Endless { // start counting again
		q.earlierAttempts[i], t.attempts = int(q.attemptNumber(i)), 0
	}
	r := q.runs.take()
	x := q.runs.at(r)
	*x = run{task: i, peer: p.n, index: int32(len(p.runs)), fn: f.n, id: t.id, stamp: t.due, started: q.now.UnixNano(), rank: uint8(t.flags.rank()), slotRank: uint8(t.flags.rank())}
	t.run = r
	p.runs = append(p.runs, r)
	q.classify(p)
	pol := &q.policies[t.policy].Policy
	hard := pol.Hard
	a := p.abilityFor(f)
	if a != nil && a.timeout > 0 && (hard == 0 || a.timeout < hard) {
		hard = a.timeout
	}
	if hard > 0 {
		x.hard = q.tickAfter(hard)
	}
	if x.softTimer = pol.Soft > 0 && (hard == 0 || pol.Soft < hard); x.softTimer {
		q.setTimer(i, q.tickAfter(pol.Soft))
	} else if hard > 0 {
		q.setTimer(i, x.hard)
	}
	return a
}

// report handles a worker's message about a task.
func (q *Queue) report(e *Report) {
	p, i := q.findPeer(e.Peer), q.find(e.Task)
	if p == nil || i == 0 || q.tasks.at(i).state != Running || q.runs.at(q.tasks.at(i).run).peer != p.n {
		if p == nil || !q.handleStoppedReport(p, e) && !q.handleLateReport(p, i, e) {
			q.emit(Command{Op: Unknown, Peer: e.Peer, Task: e.Task})
		}
		return
	}
	t := q.tasks.at(i)
	q.reported = e.Size
	switch e.Notice {
	case Data, Warning, Exception:
		q.notifyWaiters(i, Command{Notice: e.Notice, Payload: FromEvent})
		return
	case Progress:
		r := q.runs.at(t.run)
		r.n, r.m = e.N, e.M
		q.notifyWaiters(i, Command{Notice: Progress, N: e.N, M: e.M, Payload: FromEvent})
		return
	case Done, Failed, Fatal:
	default:
		q.emit(Command{Op: Unknown, Peer: e.Peer, Task: e.Task})
		return
	}
	took := time.Duration(q.now.UnixNano() - q.runs.at(t.run).started)
	q.attemptDurations.Add(took)
	q.functions[t.fn].took.Add(took)
	after := q.endRun(i)
	q.clearSuspect(i)
	switch e.Notice {
	case Done:
		if !q.runAgain(i) {
			q.endTask(i, WasDone, Done, FromEvent)
		}
	case Failed:
		q.retryOrFail(i, Failed)
	case Fatal:
		q.failTask(i, Failed, FromEvent)
	}
	q.refundRun(after)
}

// handleStoppedReport reports whether e is about a run of p that was stopped. If the run has ended,
// its slot becomes free.
func (q *Queue) handleStoppedReport(p *peer, e *Report) bool {
	for _, r := range p.runs {
		if x := q.runs.at(r); x.task == 0 && x.id == e.Task {
			if e.Notice == Done || e.Notice == Failed || e.Notice == Fatal {
				q.refundRun(q.dropRun(r))
			}
			return true
		}
	}
	return false
}

// endedRun is a run that has ended and still counts against the limits, until its task has found
// its next place. The zero value holds nothing.
type endedRun struct {
	p *peer
	f *function
}

// endRun ends the run of task i. The caller moves the task on, then calls refundRun.
func (q *Queue) endRun(i int32) endedRun {
	t := q.tasks.at(i)
	q.unlink(i)
	t.due = q.runs.at(t.run).stamp
	e := q.dropRun(t.run)
	t.run = 0
	return e
}

func (q *Queue) dropRun(r int32) endedRun {
	x := q.runs.at(r)
	e := endedRun{q.peers[x.peer], q.functions[x.fn]}
	q.leavePeer(r)
	delete(q.leaders, x.id)
	q.returnSlot(e.p, x)
	q.runs.drop(r)
	return e
}

// leavePeer removes a run from its peer.
func (q *Queue) leavePeer(r int32) {
	x := q.runs.at(r)
	p := q.peers[x.peer]
	last := p.runs[len(p.runs)-1]
	p.runs[x.index] = last
	q.runs.at(last).index = x.index
	p.runs = p.runs[:len(p.runs)-1]
	p.isolated = p.isolated && len(p.runs) > 0
}

// moveRun gives a run to another peer, which has not joined a share yet.
func (q *Queue) moveRun(r int32, to *peer) {
	from := q.peers[q.runs.at(r).peer]
	to.isolated = from.isolated && len(to.runs) == 0
	q.leavePeer(r)
	x := q.runs.at(r)
	if from.share != nil && !x.lent {
		q.vacateSlot(from.share.name, priorities[x.slotRank])
	}
	x.peer, x.index = to.n, int32(len(to.runs))
	to.runs = append(to.runs, r)
	q.classify(from)
	q.classify(to)
}

// stopRun asks the worker of running task i to stop. A peer with slots keeps the slot busy until it
// reports the end.
func (q *Queue) stopRun(i int32, why Notice) endedRun {
	t := q.tasks.at(i)
	r := q.runs.at(t.run)
	p := q.peers[r.peer]
	q.emit(Command{Op: Stop, Peer: p.name, Task: t.id, Notice: why})
	if !p.hasSlots {
		return q.endRun(i)
	}
	q.unlink(i)
	t.due = r.stamp
	r.task, t.run = 0, 0
	return endedRun{}
}

func (q *Queue) refundRun(e endedRun) {
	if e.p == nil {
		return
	}
	q.classify(e.p)
	q.refund(e.f)
	q.fillSlots(e.p)
}

// retryOrFail handles an attempt at task i that ended without a result: another attempt follows
// after a delay, unless it was the last. The first loss and the first time-out cause no delay.
func (q *Queue) retryOrFail(i int32, why Notice) {
	t, l := q.tasks.at(i), q.losses[i]
	pol := &q.policies[t.policy].Policy
	failed := int(t.attempts) - l.total
	ends := failed
	switch why {
	case Lost:
		ends = l.total - 1
	case TimedOut:
		ends--
	}
	delay := pol.backoff(ends)
	from := NoPayload
	if why == Failed {
		from = FromEvent
	}
	if t.firstWait == 0 && t.flags&background == 0 {
		q.endTask(i, WasCancelled, Cancelled, NoPayload)
		return
	}
	if pol.Attempts < Endless && (why != Lost && failed >= pol.Attempts || why == Lost && (l.isolated >= pol.Attempts || pol.Attempts == 1)) {
		q.failTask(i, why, from)
		return
	}
	q.notifyWaiters(i, Command{Notice: Retrying, N: q.attemptNumber(i) + 1, M: uint64(why), Payload: from})
	if delay > 0 {
		q.setState(i, Delayed)
		q.setTimer(i, q.tickAfter(delay))
		q.recordUpdate(i)
		return
	}
	q.setState(i, Waiting)
	q.recordUpdate(i)
	q.makeReady(i, true)
}

// failTask ends task i after its last attempt and stores the reason for later queries.
func (q *Queue) failTask(i int32, why Notice, from Payload) {
	if q.runAgain(i) {
		return
	}
	t := q.tasks.at(i)
	if t.flags&(background|grouped) != 0 || q.policies[t.policy].Keep > 0 {
		q.emit(Command{Op: KeepError, Task: t.id, Notice: why, Payload: from, N: boolBit(t.flags&durable != 0)})
		t.flags |= hasUpdate // the reason is removed with the update
	}
	q.endTaskWith(i, WasFailed, Command{Notice: Failed, M: uint64(why), Payload: from})
}

// enforceLimit handles the soft or the hard time limit of running task i.
func (q *Queue) enforceLimit(i int32) {
	t := q.tasks.at(i)
	r := q.runs.at(t.run)
	if r.softTimer {
		r.softTimer = false
		q.emit(Command{Op: Stop, Peer: q.peers[r.peer].name, Task: t.id, Notice: Soft})
		if r.hard > 0 {
			q.setTimer(i, r.hard)
		}
		return
	}
	p := q.peers[r.peer]
	after := q.stopRun(i, TimedOut)
	if !p.hasSlots {
		q.late[i] = append(q.late[i], p)
	}
	q.retryOrFail(i, TimedOut)
	q.refundRun(after)
}

// postponeLimits moves the time limits of all running tasks.
func (q *Queue) postponeLimits(by time.Duration) {
	ticks := by.Milliseconds()
	for _, p := range q.peers {
		if p == nil {
			continue
		}
		for _, n := range p.runs {
			r := q.runs.at(n)
			r.started += int64(by)
			if r.task == 0 || !r.softTimer && r.hard == 0 {
				continue
			}
			if r.hard > 0 {
				r.hard += ticks
			}
			q.unlink(r.task)
			q.setTimer(r.task, q.tasks.at(r.task).due+ticks)
		}
	}
}

// claim continues an attempt begun by p before a restart or a lost connection. A worker that
// connects again under another number takes its runs over from its former number.
func (q *Queue) claim(e *Claim) {
	p, i := q.ensurePeer(e.Peer), q.find(e.Task)
	if i != 0 {
		t := q.tasks.at(i)
		if t.state == Running && q.runs.at(t.run).peer == p.n {
			return
		}
		if t.state == Running && e.From != 0 && q.peers[q.runs.at(t.run).peer].name == e.From && q.attemptNumber(i) == e.N {
			q.moveRun(t.run, p)
			return
		}
		if t.state == Waiting || t.state == Delayed && t.flags&awaitsInput == 0 {
			q.removeFromList(i)
			q.undoLoss(i)
			q.beginRun(p, q.functions[t.fn], i)
			return
		}
	}
	q.emit(Command{Op: Stop, Peer: p.name, Task: e.Task, Notice: Cancelled})
}
