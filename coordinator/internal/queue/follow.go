package queue

import "encoding/binary"

// successors remembers which task followed a task or a group, for who asks for those later: as long as the one that follows is there. One that followed in turn
// takes its place.
type successors struct {
	next         map[ID]ID
	predecessors map[int32][]ID // the reverse, by slot of the one that follows
}

// addSuccessor notes that task next, which is ready to run, follows id, a task or group that is done.
func (q *Queue) addSuccessor(id ID, next int32) {
	t := q.tasks.at(next)
	ids := []ID{id}
	if i := q.find(id); i != 0 {
		ids = append(q.successors.predecessors[i], id)
		delete(q.successors.predecessors, i)
	}
	for _, x := range ids {
		q.successors.next[x] = t.id
		if t.flags&durable != 0 {
			q.write(0, NoPayload, q.keyOf('v', x), binary.AppendUvarint([]byte{version}, uint64(t.id)))
		}
	}
	q.successors.predecessors[next] = append(q.successors.predecessors[next], ids...)
}

// findLatest returns the slot of task id or, when others followed it, of the last of them; 0 when it is gone.
func (q *Queue) findLatest(id ID) int32 {
	if next, ok := q.successors.next[id]; ok {
		return q.find(next)
	}
	return q.find(id)
}

// AttemptNumber returns the number of the try at a task, or at the last that followed it, that runs or runs next; zero when it is not there.
func (q *Queue) AttemptNumber(id ID) uint64 {
	i := q.findLatest(id)
	if i == 0 {
		return 0
	}
	if q.tasks.at(i).state == Running {
		return q.attemptNumber(i)
	}
	return q.attemptNumber(i) + 1
}

// dropPredecessors lets go of what is known of those before task i.
func (q *Queue) dropPredecessors(i int32) {
	for _, id := range q.successors.predecessors[i] {
		delete(q.successors.next, id)
		if q.tasks.at(i).flags&durable != 0 {
			q.write(0, NoPayload, q.keyOf('v', id), nil)
		}
	}
	delete(q.successors.predecessors, i)
}

func (q *Queue) restoreSuccessor(id ID, r *reader) error {
	next := q.find(ID(r.uint()))
	if r.err != nil || next == 0 || q.successors.next[id] != 0 {
		return errRecord
	}
	q.successors.next[id] = q.tasks.at(next).id
	q.successors.predecessors[next] = append(q.successors.predecessors[next], id)
	return nil
}

// endedGroups are those that nothing followed, the last few.
type endedGroups struct {
	outcomes map[ID]endedGroup
	order    []ID
}

type endedGroup struct {
	outcome Notice
	durable bool
}

// maxEndedGroups is how many groups are remembered after their end that nothing followed.
const maxEndedGroups = 10_000

// GroupOutcome says how a group ended that no task followed: Done, Failed or Cancelled. The last 10,000 are known.
func (q *Queue) GroupOutcome(id ID) (Notice, bool) {
	e, ok := q.endedGroups.outcomes[id]
	return e.outcome, ok
}

// rememberGroup remembers how a group ended.
func (q *Queue) rememberGroup(id ID, e endedGroup) {
	q.endedGroups.outcomes[id] = e
	q.endedGroups.order = append(q.endedGroups.order, id)
	if e.durable {
		q.write(0, NoPayload, q.keyOf('e', id), []byte{version, byte(e.outcome)})
	}
	if len(q.endedGroups.order) <= maxEndedGroups {
		return
	}
	oldest := q.endedGroups.order[0]
	q.endedGroups.order = q.endedGroups.order[1:]
	if q.endedGroups.outcomes[oldest].durable {
		q.write(0, NoPayload, q.keyOf('e', oldest), nil)
	}
	delete(q.endedGroups.outcomes, oldest)
}

func (q *Queue) restoreEnded(id ID, r *reader) error {
	what := Notice(r.byte())
	if r.err != nil || what != Done && what != Failed && what != Cancelled || q.endedGroups.outcomes[id].outcome != 0 {
		return errRecord
	}
	q.endedGroups.outcomes[id] = endedGroup{what, true}
	q.endedGroups.order = append(q.endedGroups.order, id)
	return nil
}

// cancelGroup ends a group that is not over, and its tasks.
func (q *Queue) cancelGroup(g *group) {
	for i, x := range q.gathers {
		if x.group == g { // what follows it is being made ready
			q.cancelTask(i)
			return
		}
	}
	q.endGroup(g, Cancelled, 0)
	for _, id := range g.members {
		if i := q.find(id); i != 0 && !q.tasks.at(i).state.hasEnded() {
			q.cancelTask(i)
		}
	}
}
