package queue

// children has the unended tasks that a running task waits for, the oldest first, by the ID of the
// waiting task, and the reverse. A handler that calls a function of its own worker would wait for
// its own slot. So a worker whose tasks all wait for others lends its slots to these others:
//
//	worker 1, with one slot, runs a; a calls b     1 runs a and b
type children struct {
	of     map[ID][]int32
	parent map[int32]ID
}

// maxLent limits the tasks of a worker beyond its slots.
const maxLent = 1000

func (q *Queue) addChild(i int32, parent ID) {
	if k := q.find(parent); k != 0 && q.tasks.at(k).state == Running && q.children.parent[i] == 0 {
		q.children.parent[i] = parent
		q.children.of[parent] = append(q.children.of[parent], i)
	}
}

// dropChild removes task i, which has ended.
func (q *Queue) dropChild(i int32) {
	if parent, ok := q.children.parent[i]; ok {
		delete(q.children.parent, i)
		if q.children.of[parent] = remove(q.children.of[parent], i); len(q.children.of[parent]) == 0 {
			delete(q.children.of, parent)
		}
	}
}

// stuckChild returns the oldest task that p can run and that some task waits for, if all tasks of p
// wait for others. Otherwise it returns 0.
func (q *Queue) stuckChild(p *peer) (best int32) {
	if !p.hasSlots || p.share != nil || p.slots == 0 || len(p.runs) < p.slots || len(p.runs) >= p.slots+maxLent {
		return 0
	}
	for _, r := range p.runs {
		if len(q.children.of[q.runs.at(r).id]) == 0 {
			return 0
		}
	}
	for _, kids := range q.children.of {
		for _, k := range kids {
			t := q.tasks.at(k)
			if f := q.functions[t.fn]; t.state == Waiting && p.abilityFor(f) != nil && q.canStart(f) {
				if best == 0 || t.id < q.tasks.at(best).id {
					best = k
				}
				break
			}
		}
	}
	return best
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
		}
	}
}
