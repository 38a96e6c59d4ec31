package sched

import (
	"cmp"
	"maps"
	"slices"

	"github.com/layshaft/layshaft/internal/order"
)

// A combine stage merges outputs before they cross the network: outputs of one worker first,
// outputs of one zone in a second tier. The groups are decided once, when the producing stage is
// first complete, and written as a record. They must not change: otherwise a committed group and a
// later one could both contain the same input. For example, with two zones:
//
//	outputs on w1, w2 (zone a) and w3 (zone b)
//	first tier: one task for each of w1, w2, w3
//	second tier: one task for zone a, one for zone b

// makeGroups puts the outputs read by a combine stage into groups: one per worker or zone. If the
// stage has too few tasks, workers or zones with neighbouring names share a group.
func (s *Scheduler) makeGroups(j *jobState, k int) {
	st := j.stages[k]
	from := j.stages[st.spec.Inputs[0].From]
	type place struct{ zone, worker string }
	of := func(i int) place {
		w := from.tasks[i].holder
		if st.byZone {
			return place{zone: w.zone}
		}
		return place{w.zone, w.name}
	}
	group := map[place]int{}
	for i := range from.tasks {
		group[of(i)] = 0
	}
	places := slices.Collect(maps.Keys(group))
	order.Sort(places, func(a, b *place) int {
		return cmp.Or(cmp.Compare(a.zone, b.zone), cmp.Compare(a.worker, b.worker))
	})
	room := st.spec.Tasks / st.groupSlices()
	for i, p := range places {
		group[p] = i * min(room, len(places)) / len(places)
	}
	groups := make([]int32, len(from.tasks))
	for i := range from.tasks {
		groups[i] = int32(group[of(i)])
	}
	s.emit(Write{Grouped{j.spec.ID, k, groups}})
	j.setGroups(st, groups)
}

// setGroups sets the groups of a combine stage, unless they are invalid.
func (j *jobState) setGroups(st *stage, groups []int32) {
	if !st.spec.Combine || j.outcome != Running || len(groups) != len(j.stages[st.spec.Inputs[0].From].tasks) {
		return
	}
	members := make([][]int32, st.spec.Tasks) // by task; tasks of one group share the slice
	for i, g := range groups {
		n := st.groupSlices()
		if g < 0 || int(g) >= len(members)/n {
			return
		}
		for k := int(g) * n; k < (int(g)+1)*n; k++ {
			members[k] = append(members[k], int32(i))
		}
	}
	st.groups, st.members = groups, members
}

// findNearGroups finds the workers near each group: the holders of most of its outputs or, in the
// second tier, all workers of the holders' zones.
func (s *Scheduler) findNearGroups(j *jobState, st *stage) [][]string {
	from := j.stages[st.spec.Inputs[0].From]
	out := make([][]string, len(st.members))
	zones := map[string][]string{}
	if st.byZone {
		for e := s.leases.Front(); e != nil; e = e.Next() {
			w := e.Value.(*worker)
			zones[w.zone] = append(zones[w.zone], w.name)
		}
	}
	for g, members := range st.members {
		held := map[*worker]int64{}
		var holders []*worker
		for _, i := range members {
			w := from.tasks[i].holder
			if held[w]++; held[w] == 1 {
				holders = append(holders, w)
			}
		}
		if !st.byZone {
			out[g] = heaviest(holders, func(k int) int64 { return held[holders[k]] }, 0)
			continue
		}
		seen := map[string]bool{"": true} // without a zone, no worker is nearer than others
		for _, w := range holders {
			if !seen[w.zone] {
				seen[w.zone] = true
				out[g] = append(out[g], zones[w.zone]...)
			}
		}
	}
	return out
}
