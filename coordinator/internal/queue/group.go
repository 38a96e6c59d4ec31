package queue

import "slices"

// group is tasks whose results are gathered.
type group struct {
	id      ID
	then    []Next
	open    bool
	partial bool
	durable bool
	members []ID // a task that follows a member takes its place
	left    int  // members that have not ended
}

// maxMembers is how many tasks a group may have.
const maxMembers = 1 << 22

// member is a place in a group.
type member struct {
	g  *group
	at int
}

// gather is what a task waits for before it is ready: the result of another, or those of a group.
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
	g := &group{id: q.newID(0), then: e.Then, open: true, partial: e.Partial, durable: e.Durable}
	q.groups[g.id] = g
	q.recordGroup(g)
	q.emit(Command{Op: Accepted, Ref: e.Ref, Task: g.id})
}

func (q *Queue) closeGroup(id ID) {
	if g := q.groups[id]; g != nil && g.open {
		g.open = false
		q.recordGroup(g)
		q.review(g)
	}
}

func (q *Queue) joinGroup(i int32, g *group) {
	q.memberOf[i] = member{g, len(g.members)}
	t := q.tasks.at(i)
	t.flags |= grouped
	g.members = append(g.members, t.id)
	g.left++
}

// memberEnded is called when task i has ended, unless another follows it.
func (q *Queue) memberEnded(i int32) {
	m, ok := q.memberOf[i]
	if !ok {
		return
	}
	m.g.left--
	if q.tasks.at(i).state != WasDone && !m.g.partial {
		q.closeDown(m.g, Failed, 0)
		return
	}
	q.review(m.g)
}

// review goes on with a group when all its members have ended.
func (q *Queue) review(g *group) {
	if g.open || g.left > 0 {
		return
	}
	if len(g.then) == 0 {
		q.closeDown(g, Done, 0)
		return
	}
	flags := background
	if g.durable {
		flags |= durable
	}
	if i := q.follow(g.then, flags); i == 0 {
		q.closeDown(g, Failed, 0)
	} else {
		q.gathers[i] = gather{group: g}
		t := q.tasks.at(i)
		q.emit(Command{Op: Gather, Task: t.id, Function: g.then[0].Function, Tasks: slices.Clone(g.members), M: 1})
	}
}

// closeDown ends a group and lets go of its members.
func (q *Queue) closeDown(g *group, what Notice, next ID) {
	delete(q.groups, g.id)
	if g.durable {
		q.write(0, NoPayload, q.keyOf('g', g.id), nil)
	}
	if next == 0 {
		q.groupEnded(g.id, endedGroup{what, g.durable})
	}
	q.emit(Command{Op: GroupEnded, Task: g.id, Notice: what, N: uint64(next)})
	for _, id := range g.members {
		if i := q.find(id); i != 0 {
			q.leaveGroup(i)
			if t := q.tasks.at(i); t.state.ended() && !q.pending(i) {
				q.unlink(i)
				q.settle(i)
			}
		}
	}
}

func (q *Queue) leaveGroup(i int32) {
	delete(q.memberOf, i)
	q.tasks.at(i).flags &^= grouped
}

// follow makes the first task of then, which waits for Gathered, and returns its slot, or 0 when there can be none.
func (q *Queue) follow(then []Next, inherit flags) int32 {
	n := then[0]
	f := q.function(n.Function)
	if f == nil {
		return 0
	}
	i := q.newTask(f, 0, n.Policy)
	if i == 0 {
		return 0
	}
	t := q.tasks.at(i)
	t.flags = inherit&(background|durable) | rankOf(n.Priority) | held
	if len(then) > 1 {
		t.flags |= chained
		q.chains[i] = then[1:]
	}
	q.move(i, Delayed)
	q.insertBefore(q.held, i)
	return i
}

// followChain makes next follow task i, which is done.
func (q *Queue) followChain(i, next int32) {
	t, n := q.tasks.at(i), q.tasks.at(next)
	if m, ok := q.memberOf[i]; ok {
		m.g.members[m.at] = n.id
		q.leaveGroup(i)
		q.memberOf[next] = m
		n.flags |= grouped
	}
	q.gathers[next] = gather{before: i}
	q.emit(Command{Op: Gather, Task: n.id, Function: q.functions[n.fn].name, Tasks: []ID{t.id}})
}

// follower returns the task that follows i, which is done, and is not ready yet.
func (q *Queue) follower(i int32) int32 {
	for next, g := range q.gathers {
		if g.group == nil && g.before == i {
			return next
		}
	}
	return 0
}

// unchain lets go of a task whose result is not needed any more by another.
func (q *Queue) unchain(i int32) {
	delete(q.chains, i)
	q.tasks.at(i).flags &^= chained
	q.unlink(i)
	q.settle(i)
}

// gathered makes a task ready whose input has been put together.
func (q *Queue) gathered(e *Gathered) {
	i := q.find(e.Task)
	g, ok := q.gathers[i]
	if i == 0 || !ok {
		q.emit(Command{Op: Unknown, Task: e.Task})
		return
	}
	t := q.tasks.at(i)
	t.flags &^= held
	t.size = uint32(max(e.Size, 0))
	delete(q.gathers, i)
	q.unlink(i)
	if t.flags&durable != 0 {
		q.record(i, FromInput)
	}
	if g.group != nil {
		q.succeed(g.group.id, i)
		q.closeDown(g.group, Done, t.id)
	} else {
		q.succeed(q.tasks.at(g.before).id, i)
		q.moveWaits(g.before, i)
		q.unchain(g.before)
	}
	if t.waits == 0 && t.flags&background == 0 {
		q.end(i, WasCancelled, Cancelled, NoPayload)
		return
	}
	q.ready(i, false)
}

// moveWaits makes those that wait for task i wait for next.
func (q *Queue) moveWaits(i, next int32) {
	t, n := q.tasks.at(i), q.tasks.at(next)
	q.tell(i, Command{Notice: Followed, N: uint64(n.id)})
	for t.waits != 0 {
		p := q.peers[q.waits.at(t.waits).peer]
		q.dropWait(t.waits)
		q.addWait(p, next)
	}
}

// settleGather is called when task i has ended: if it was waiting for Gathered, nobody needs what it waited for.
func (q *Queue) settleGather(i int32) {
	g, ok := q.gathers[i]
	if !ok {
		return
	}
	delete(q.gathers, i)
	q.tasks.at(i).flags &^= held | durable // it was not recorded yet
	if g.group != nil {
		q.closeDown(g.group, Cancelled, 0)
		return
	}
	q.tell(g.before, Command{Notice: Cancelled})
	for b := q.tasks.at(g.before); b.waits != 0; {
		q.dropWait(b.waits)
	}
	q.unchain(g.before)
}
