package queue

import "encoding/binary"

// successors maps a task or a group to the task that follows it, for later queries with the old ID.
// If b follows a and c follows b, then a and b both map to c. An entry lasts as long as the
// follower.
type successors struct {
	next         map[ID]ID
	predecessors map[int32][]ID // reverse of next, by slot of the follower
	// tokens has the tokens of ended groups, so that a repeated submit finds them; see token.go.
	tokens map[ID]uint64
}

// addSuccessor records that task next, ready to run, follows id, a task or group that is done.
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
			q.write(0, NoPayload, q.keyOf('v', x), appendToken(binary.AppendUvarint([]byte{version}, uint64(t.id)), q.successors.tokens[x]))
		}
	}
	q.successors.predecessors[next] = append(q.successors.predecessors[next], ids...)
}

// findLatest returns the slot of task id or of its last follower, or 0 if it no longer exists.
func (q *Queue) findLatest(id ID) int32 {
	if next, ok := q.successors.next[id]; ok {
		return q.find(next)
	}
	return q.find(id)
}

// AttemptNumber returns the number of the running or else the next attempt at a task or its last
// follower. It returns zero for an unknown task.
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

// dropPredecessors removes the successor entries pointing to task i.
func (q *Queue) dropPredecessors(i int32) {
	if len(q.successors.predecessors) == 0 {
		return
	}
	for _, id := range q.successors.predecessors[i] {
		delete(q.successors.next, id)
		delete(q.successors.tokens, id)
		if q.tasks.at(i).flags&durable != 0 {
			q.write(0, NoPayload, q.keyOf('v', id), nil)
		}
	}
	delete(q.successors.predecessors, i)
}

func (q *Queue) restoreSuccessor(id ID, r *reader) error {
	next := q.find(ID(r.Uint()))
	token := r.token()
	if r.Failed() || next == 0 || q.successors.next[id] != 0 {
		return errRecord
	}
	q.successors.next[id] = q.tasks.at(next).id
	q.successors.predecessors[next] = append(q.successors.predecessors[next], id)
	q.keepToken(id, token)
	q.tokens.add(token, id)
	return nil
}

// keepToken keeps the token of a group that has a successor.
func (q *Queue) keepToken(id ID, token uint64) {
	if token != 0 {
		q.successors.tokens[id] = token
	}
}

// appendToken appends a token, if there is one.
func appendToken(b []byte, token uint64) []byte {
	if token == 0 {
		return b
	}
	return binary.LittleEndian.AppendUint64(b, token)
}

// token reads what appendToken has written. It must be the last field.
func (r *reader) token() uint64 {
	if len(r.Rest()) == 0 {
		return 0
	}
	return r.Word()
}

// endedGroups has the outcomes of the latest groups that ended without a follower.
type endedGroups struct {
	outcomes map[ID]endedGroup
	order    []ID
}

type endedGroup struct {
	outcome Notice
	durable bool
	token   uint64
}

// maxEndedGroups limits the entries of endedGroups.
const maxEndedGroups = 10_000

// GroupOutcome returns how a group without a follower ended: Done, Failed or Cancelled. Only the
// last 10,000 are remembered.
func (q *Queue) GroupOutcome(id ID) (Notice, bool) {
	e, ok := q.endedGroups.outcomes[id]
	return e.outcome, ok
}

// rememberGroup stores the outcome of a group and drops the oldest one beyond maxEndedGroups.
func (q *Queue) rememberGroup(id ID, e endedGroup) {
	q.endedGroups.outcomes[id] = e
	q.endedGroups.order = append(q.endedGroups.order, id)
	if e.durable {
		q.write(0, NoPayload, q.keyOf('e', id), appendToken([]byte{version, byte(e.outcome)}, e.token))
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
	notice := Notice(r.Byte())
	token := r.token()
	if r.Failed() || notice != Done && notice != Failed && notice != Cancelled || q.endedGroups.outcomes[id].outcome != 0 {
		return errRecord
	}
	q.endedGroups.outcomes[id] = endedGroup{notice, true, token}
	q.tokens.add(token, id)
	q.endedGroups.order = append(q.endedGroups.order, id)
	return nil
}

// cancelGroup ends a group and cancels its unended tasks.
func (q *Queue) cancelGroup(g *group) {
	for i, x := range q.gathers {
		if x.group == g { // its follower waits for its input
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
