package queue

import "slices"

// children has the tasks and groups that an unended task waits for, the oldest first, by the ID of
// the waiting task. A handler that calls a function of its own worker would wait for its own slot.
// So a worker whose tasks all wait for others lends its slots to these others:
//
//	worker 1, with one slot, runs a; a calls b     1 runs a and b
//
// The tasks of a batch wait together: each of them waits when its leader does, the task by which
// the batch is known here.
//
// A lent run in a share has no slot of its own. If the run with the slot ends first, the lent run
// takes the slot over.
type children struct {
	of     map[ID][]int32
	groups map[ID][]*group
}

// maxLent limits the tasks of a worker beyond its slots.
const maxLent = 1000

// groupWait is the wait of a peer for a group, on behalf of a task.
type groupWait struct {
	g      *group
	parent ID
}

// lead makes one task the leader of another.
func (q *Queue) lead(e *Lead) {
	p, i, k := q.findPeer(e.Peer), q.find(e.Task), q.find(e.Leader)
	runs := func(i int32) bool {
		return i != 0 && q.tasks.at(i).state == Running && q.runs.at(q.tasks.at(i).run).peer == p.n
	}
	if p != nil && i != k && runs(i) && runs(k) && q.leaders[e.Leader] == 0 {
		q.leaders[e.Task] = e.Leader
	}
}

// leaderOf returns the leader of a task, or the task itself.
func (q *Queue) leaderOf(id ID) ID {
	if l := q.leaders[id]; l != 0 {
		return l
	}
	return id
}

// addChild records that parent waits for task i, and returns the leader of parent. It returns 0 if
// parent has ended.
func (q *Queue) addChild(i int32, parent ID) ID {
	if k := q.find(parent); k == 0 || q.tasks.at(k).state.hasEnded() {
		return 0
	}
	parent = q.leaderOf(parent)
	q.children.of[parent] = append(q.children.of[parent], i)
	return parent
}

// dropChild ends one wait of parent for task i.
func (q *Queue) dropChild(i int32, parent ID) {
	if q.children.of[parent] = remove(q.children.of[parent], i); len(q.children.of[parent]) == 0 {
		delete(q.children.of, parent)
	}
}

// addGroupWait records that parent, a task whose handler uses peer p, waits for g.
func (q *Queue) addGroupWait(p *peer, g *group, parent ID) {
	if k := q.find(parent); k != 0 && !q.tasks.at(k).state.hasEnded() {
		parent = q.leaderOf(parent)
		p.groupWaits = append(p.groupWaits, groupWait{g, parent})
		q.children.groups[parent] = append(q.children.groups[parent], g)
	}
}

// dropGroupWaits ends the waits of p for groups.
func (q *Queue) dropGroupWaits(p *peer) {
	for _, x := range p.groupWaits {
		if q.children.groups[x.parent] = remove(q.children.groups[x.parent], x.g); len(q.children.groups[x.parent]) == 0 {
			delete(q.children.groups, x.parent)
		}
	}
	p.groupWaits = nil
}

// waitsForItself reports whether parent would wait for itself if it waited for task i, or for g:
// directly, or through the tasks that these wait for.
func (q *Queue) waitsForItself(parent ID, i int32, g *group) bool {
	k := q.find(parent)
	if k == 0 {
		return false
	}
	leader := q.leaderOf(parent)
	if g != nil {
		if q.memberOf[k].group == g {
			return true
		}
		for id := range q.leaders {
			if q.leaderOf(id) == leader && q.memberOf[q.find(id)].group == g {
				return true
			}
		}
		k = q.find(leader)
		return k != 0 && q.memberOf[k].group == g
	}
	seen, todo := map[int32]bool{}, []int32{i}
	for len(todo) > 0 {
		i, todo = todo[0], todo[1:]
		of := q.leaderOf(q.tasks.at(i).id)
		if of == leader {
			return true
		}
		if !seen[i] {
			seen[i] = true
			todo = append(todo, q.children.of[of]...)
		}
	}
	return false
}

// isWaiting reports whether a task waits for others.
func (c *children) isWaiting(id ID) bool { return len(c.of[id])+len(c.groups[id]) > 0 }

// stuckChild returns the oldest task that p can run and that some task waits for, if all tasks of p
// wait for others. Otherwise it returns 0.
func (q *Queue) stuckChild(p *peer) (best int32) {
	if !p.hasSlots || p.slots == 0 || len(p.runs) == 0 || p.share == nil && len(p.runs) < p.slots || len(p.runs) >= p.slots+maxLent {
		return 0
	}
	for _, r := range p.runs {
		if !q.children.isWaiting(q.leaderOf(q.runs.at(r).id)) {
			return 0
		}
	}
	if !slices.ContainsFunc(p.abilities, func(a *ability) bool { return a.f.counts.In[Waiting] > 0 && q.canStart(a.f) }) {
		return 0
	}
	try := func(k int32) bool {
		q.stuck.visited++
		t := q.tasks.at(k)
		f := q.functions[t.fn]
		if k == 0 || t.state != Waiting || p.abilityFor(f) == nil || !q.canStart(f) {
			return false
		}
		if best == 0 || t.id < q.tasks.at(best).id {
			best = k
		}
		return true
	}
	for _, kids := range q.children.of {
		_ = slices.ContainsFunc(kids, try)
	}
	for _, groups := range q.children.groups {
		for _, g := range groups {
			_ = slices.ContainsFunc(q.unendedMembers(g), func(id ID) bool { return try(q.find(id)) })
		}
	}
	return best
}

// unendedMembers returns the members of g from the first that has not ended, 1,000 at most.
func (q *Queue) unendedMembers(g *group) []ID {
	for g.ended < len(g.members) {
		if i := q.find(g.members[g.ended]); i != 0 && !q.tasks.at(i).state.hasEnded() {
			break
		}
		g.ended++
	}
	return g.members[g.ended:min(len(g.members), g.ended+1000)]
}

// lend lends the slots of all workers with waiting tasks.
func (q *Queue) lend() {
	for _, p := range q.peers {
		for p != nil {
			child := q.stuckChild(p)
			if child == 0 {
				break
			}
			q.startTask(p, q.functions[q.tasks.at(child).fn], child)
			q.runs.at(q.tasks.at(child).run).lent = true
		}
	}
}

// returnSlot returns the slot of run r, which leaves p, to its share, or gives it to a lent run.
func (q *Queue) returnSlot(p *peer, r *run) {
	if p.share == nil || r.lent {
		return
	}
	for _, k := range p.runs {
		if x := q.runs.at(k); x.lent {
			x.lent, x.slotRank = false, r.slotRank
			return
		}
	}
	q.vacateSlot(p.share.name, priorities[r.slotRank])
}
