package queue

import "encoding/binary"

// successors remembers which task followed a task or a group, for who asks for those later: as long as the one that follows is there. One that followed in turn
// takes its place.
type successors struct {
	of     map[ID]ID
	before map[int32][]ID // the reverse, by slot of the one that follows
}

// succeed notes that task next, which is ready to run, follows id, a task or group that is done.
func (q *Queue) succeed(id ID, next int32) {
	t := q.tasks.at(next)
	ids := []ID{id}
	if i := q.find(id); i != 0 {
		ids = append(q.after.before[i], id)
		delete(q.after.before, i)
	}
	for _, x := range ids {
		q.after.of[x] = t.id
		if t.flags&durable != 0 {
			q.write(0, NoPayload, q.keyOf('v', x), binary.AppendUvarint([]byte{version}, uint64(t.id)))
		}
	}
	q.after.before[next] = append(q.after.before[next], ids...)
}

// last returns the slot of task id or, when others followed it, of the last of them; 0 when it is gone.
func (q *Queue) last(id ID) int32 {
	if next, ok := q.after.of[id]; ok {
		return q.find(next)
	}
	return q.find(id)
}

// AttemptNumber returns the number of the try at a task, or at the last that followed it, that runs or runs next; zero when it is not there.
func (q *Queue) AttemptNumber(id ID) uint64 {
	i := q.last(id)
	if i == 0 {
		return 0
	}
	if q.tasks.at(i).state == Running {
		return q.number(i)
	}
	return q.number(i) + 1
}

// unfollow lets go of what is known of those before task i.
func (q *Queue) unfollow(i int32) {
	for _, id := range q.after.before[i] {
		delete(q.after.of, id)
		if q.tasks.at(i).flags&durable != 0 {
			q.write(0, NoPayload, q.keyOf('v', id), nil)
		}
	}
	delete(q.after.before, i)
}

func (q *Queue) restoreSuccessor(id ID, r *reader) error {
	next := q.find(ID(r.uint()))
	if r.err != nil || next == 0 || q.after.of[id] != 0 {
		return errRecord
	}
	q.after.of[id] = q.tasks.at(next).id
	q.after.before[next] = append(q.after.before[next], id)
	return nil
}

// endedGroups are those that nothing followed, the last few.
type endedGroups struct {
	how   map[ID]endedGroup
	order []ID
}

type endedGroup struct {
	what    Notice
	durable bool
}

// maxEndedGroups is how many groups are remembered after their end that nothing followed.
const maxEndedGroups = 10_000

// GroupOutcome says how a group ended that no task followed: Done, Failed or Cancelled. The last 10,000 are known.
func (q *Queue) GroupOutcome(id ID) (Notice, bool) {
	e, ok := q.ended.how[id]
	return e.what, ok
}

// groupEnded remembers how a group ended.
func (q *Queue) groupEnded(id ID, e endedGroup) {
	q.ended.how[id] = e
	q.ended.order = append(q.ended.order, id)
	if e.durable {
		q.write(0, NoPayload, q.keyOf('e', id), []byte{version, byte(e.what)})
	}
	if len(q.ended.order) <= maxEndedGroups {
		return
	}
	oldest := q.ended.order[0]
	q.ended.order = q.ended.order[1:]
	if q.ended.how[oldest].durable {
		q.write(0, NoPayload, q.keyOf('e', oldest), nil)
	}
	delete(q.ended.how, oldest)
}

func (q *Queue) restoreEnded(id ID, r *reader) error {
	what := Notice(r.byte())
	if r.err != nil || what != Done && what != Failed && what != Cancelled || q.ended.how[id].what != 0 {
		return errRecord
	}
	q.ended.how[id] = endedGroup{what, true}
	q.ended.order = append(q.ended.order, id)
	return nil
}

// cancelGroup ends a group that is not over, and its tasks.
func (q *Queue) cancelGroup(g *group) {
	for i, x := range q.gathers {
		if x.group == g { // what follows it is being made ready
			q.stop(i)
			return
		}
	}
	q.closeDown(g, Cancelled, 0)
	for _, id := range g.members {
		if i := q.find(id); i != 0 && !q.tasks.at(i).state.ended() {
			q.stop(i)
		}
	}
}
