package queue

import "slices"

// group collects tasks; its follower gets their results as input.
type group struct {
	id      ID
	then    []Next
	open    bool
	partial bool
	durable bool
	// members lists the tasks by place. The follower of a member takes the member's place.
	members    []ID
	unfinished int // members that have not ended
	bytes      int // size of the members' results, as far as this process knows
	ended      int // members before this index have ended
	token      uint64
	lastUse    int64 // tick; see forget.go
}

// maxMembers limits the tasks of a group.
const maxMembers = 1 << 22

// member is a place in a group.
type member struct {
	group *group
	index int
}

// gather is the origin of a task's input: from the result of task before or, if group is
// set, from the results of its members.
type gather struct {
	before int32
	group  *group
}

func validNext(then []Next) bool {
	for _, n := range then {
		if len(n.Function) == 0 || len(n.Function) > 512 || n.Priority > Low || !n.Policy.valid() {
			return false
		}
	}
	return true
}

func (q *Queue) openGroup(e *OpenGroup) {
	if !validNext(e.Then) {
		q.emit(Command{Op: Rejected, Ref: e.Ref, Notice: Invalid})
		return
	}
	if e.Repeated && e.Token != 0 {
		if id := q.tokens.find(e.Token); id != 0 {
			q.emit(Command{Op: Accepted, Ref: e.Ref, Task: id, N: 1})
			return
		}
	}
	g := &group{id: q.newID(0), then: e.Then, open: true, partial: e.Partial, durable: e.Durable, token: e.Token, lastUse: q.wheel.tick}
	q.groups[g.id] = g
	q.tokens.add(g.token, g.id)
	q.watchIdle()
	q.recordGroup(g)
	q.emit(Command{Op: Accepted, Ref: e.Ref, Task: g.id})
}

func (q *Queue) closeGroup(id ID) {
	if g := q.groups[id]; g != nil && g.open {
		g.open = false
		q.recordGroup(g)
		q.checkGroup(g)
	}
}

func (q *Queue) joinGroup(i int32, g *group) {
	q.memberOf[i] = member{g, len(g.members)}
	t := q.tasks.at(i)
	t.flags |= grouped
	g.members = append(g.members, t.id)
	g.unfinished++
	g.lastUse = q.wheel.tick
}

// memberEnded updates the group of task i, which has ended without a follower.
func (q *Queue) memberEnded(i int32) {
	m, ok := q.memberOf[i]
	if !ok {
		return
	}
	m.group.unfinished--
	if m.group.bytes += q.reported + memberBytes; len(m.group.then) > 0 && m.group.bytes > q.cfg.MaxGathered {
		q.failGroup(m.group)
		return
	}
	if q.tasks.at(i).state != WasDone && !m.group.partial {
		q.endGroup(m.group, Failed, 0)
		return
	}
	q.checkGroup(m.group)
}

// checkGroup starts the follower of a group, or ends the group, if all its members have ended.
func (q *Queue) checkGroup(g *group) {
	if g.open || g.unfinished > 0 {
		return
	}
	if len(g.then) == 0 {
		q.endGroup(g, Done, 0)
		return
	}
	if i := q.startFollower(g); i != 0 {
		t := q.tasks.at(i)
		q.emit(Command{Op: Gather, Task: t.id, Function: g.then[0].Function, Tasks: slices.Clone(g.members), M: 1})
	}
}

// startFollower makes the follower of a group, and returns it. Without room for it the group has
// failed, and the follower is 0.
func (q *Queue) startFollower(g *group) int32 {
	flags := background
	if g.durable {
		flags |= durable
	}
	i := q.newFollower(g.then, flags)
	if i == 0 {
		q.endGroup(g, Failed, 0)
	} else {
		q.gathers[i] = gather{group: g}
	}
	return i
}

// memberBytes is the size of a member in the input of the follower, beside its result.
const memberBytes = 20

// failGroup ends a group whose results are too large together: its follower fails.
func (q *Queue) failGroup(g *group) {
	if i := q.startFollower(g); i != 0 {
		q.failFollower(i, TooLarge, NoPayload, g.bytes)
	}
}

// failFollower fails task i, which has no input. It stays a dead letter, as another attempt is not
// possible.
func (q *Queue) failFollower(i int32, why Notice, from Payload, size int) {
	t, g := q.tasks.at(i), q.gathers[i]
	delete(q.gathers, i)
	q.unlink(i)
	q.emit(Command{Op: Keep, Task: t.id})
	if t.flags&durable != 0 {
		q.recordTask(i, FromInput, 0)
	}
	q.emit(Command{Op: KeepError, Task: t.id, Notice: why, Payload: from, N: boolBit(t.flags&durable != 0), M: uint64(size)})
	t.flags |= hasUpdate
	q.endPredecessor(g, i)
	q.endTaskWith(i, WasFailed, Command{Notice: Failed, M: uint64(Failed), Payload: FromResult})
}

// endPredecessor ends the group that task i follows, or releases the result of the task before it.
func (q *Queue) endPredecessor(g gather, i int32) {
	if g.group != nil {
		q.keepToken(g.group.id, g.group.token)
		q.addSuccessor(g.group.id, i)
		q.endGroup(g.group, Done, q.tasks.at(i).id)
	} else {
		q.addSuccessor(q.tasks.at(g.before).id, i)
		q.moveWaits(g.before, i)
		q.releaseResult(g.before)
	}
}

// gatherFailed fails a task whose input cannot be assembled.
func (q *Queue) gatherFailed(e *GatherFailed) {
	i := q.find(e.Task)
	if _, ok := q.gathers[i]; i == 0 || !ok {
		q.emit(Command{Op: Unknown, Task: e.Task})
		return
	}
	q.failFollower(i, Failed, FromEvent, 0)
}

// endGroup ends a group and releases its members.
func (q *Queue) endGroup(g *group, notice Notice, next ID) {
	delete(q.groups, g.id)
	for id, groups := range q.children.groups {
		if slices.Contains(groups, g) {
			if groups = slices.DeleteFunc(groups, func(x *group) bool { return x == g }); len(groups) == 0 {
				delete(q.children.groups, id)
			} else {
				q.children.groups[id] = groups
			}
		}
	}
	if g.durable {
		q.write(0, NoPayload, q.keyOf('g', g.id), nil)
	}
	if next == 0 {
		q.rememberGroup(g.id, endedGroup{notice, g.durable, g.token})
	}
	q.emit(Command{Op: GroupEnded, Task: g.id, Notice: notice, N: uint64(next)})
	for _, id := range g.members {
		if i := q.find(id); i != 0 {
			q.leaveGroup(i)
			if t := q.tasks.at(i); t.state.hasEnded() && !q.resultNeeded(i) {
				q.unlink(i)
				q.fileEnded(i)
			}
		}
	}
}

func (q *Queue) leaveGroup(i int32) {
	delete(q.memberOf, i)
	q.tasks.at(i).flags &^= grouped
}

// newFollower creates the first task of then, waiting for Gathered, and returns its slot. It
// returns 0 if there is no room for a task or a function.
func (q *Queue) newFollower(then []Next, inherit flags) int32 {
	n := then[0]
	f := q.ensureFunction(n.Function)
	if f == nil {
		return 0
	}
	i := q.newTask(f, 0, n.Policy)
	if i == 0 {
		return 0
	}
	t := q.tasks.at(i)
	t.flags = inherit&(background|durable) | rankOf(n.Priority) | awaitsInput
	if len(then) > 1 {
		t.flags |= chained
		q.chains[i] = then[1:]
	}
	q.setState(i, Delayed)
	q.insertBefore(q.parked, i)
	return i
}

// linkFollower makes next the follower of task i, which is done.
func (q *Queue) linkFollower(i, next int32) {
	t, n := q.tasks.at(i), q.tasks.at(next)
	if m, ok := q.memberOf[i]; ok {
		m.group.members[m.index] = n.id
		q.leaveGroup(i)
		q.memberOf[next] = m
		n.flags |= grouped
	}
	q.gathers[next] = gather{before: i}
	q.emit(Command{Op: Gather, Task: n.id, Function: q.functions[n.fn].name, Tasks: []ID{t.id}})
}

// findFollower returns the follower of task i while it waits for its input, or 0.
func (q *Queue) findFollower(i int32) int32 {
	for next, g := range q.gathers {
		if g.group == nil && g.before == i {
			return next
		}
	}
	return 0
}

// releaseResult marks the result of task i as no longer needed by a follower.
func (q *Queue) releaseResult(i int32) {
	delete(q.chains, i)
	q.tasks.at(i).flags &^= chained
	q.unlink(i)
	q.fileEnded(i)
}

// gathered makes a task ready after the shell has assembled its input.
func (q *Queue) gathered(e *Gathered) {
	i := q.find(e.Task)
	g, ok := q.gathers[i]
	if i == 0 || !ok {
		q.emit(Command{Op: Unknown, Task: e.Task})
		return
	}
	t := q.tasks.at(i)
	t.flags &^= awaitsInput
	t.size = uint32(max(e.Size, 0))
	delete(q.gathers, i)
	q.unlink(i)
	if t.flags&durable != 0 {
		q.recordTask(i, FromInput, 0)
	}
	q.endPredecessor(g, i)
	if t.firstWait == 0 && t.flags&background == 0 {
		q.endTask(i, WasCancelled, Cancelled, NoPayload)
		return
	}
	q.makeReady(i, false)
}

// moveWaits makes the peers waiting for task i wait for next.
func (q *Queue) moveWaits(i, next int32) {
	t, n := q.tasks.at(i), q.tasks.at(next)
	q.notifyWaiters(i, Command{Notice: Followed, N: uint64(n.id)})
	for t.firstWait != 0 {
		x := *q.waits.at(t.firstWait)
		q.dropWait(t.firstWait)
		q.addWait(q.peers[x.peer], next, x.parent)
	}
}

// cancelGather cleans up after task i if it ended while waiting for Gathered: the group or the task
// before it is released.
func (q *Queue) cancelGather(i int32) {
	g, ok := q.gathers[i]
	if !ok {
		return
	}
	delete(q.gathers, i)
	q.tasks.at(i).flags &^= awaitsInput | durable // it has no Record yet
	if g.group != nil {
		q.endGroup(g.group, Cancelled, 0)
		return
	}
	q.notifyWaiters(g.before, Command{Notice: Cancelled})
	for b := q.tasks.at(g.before); b.firstWait != 0; {
		q.dropWait(b.firstWait)
	}
	q.releaseResult(g.before)
}
