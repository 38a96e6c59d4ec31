package sched

import (
	"cmp"
	"slices"
)

// Jobs with tasks to launch stand in a line for slots, if some worker meets their needs. A higher
// priority stands before a lower one, and an interactive job before others of its priority: jobs
// equal in both are a band. Within a band the job with the fewest running attempts is first. So
// each gets an even share of the slots, and a job that cannot use its share leaves it to the others
// (max-min fairness). Queued tasks stand in the line like jobs, one for each class.
//
// So that no job starves, lower bands get turns: the last band gets 1 in 18 of the starts that it
// could use, and the bands between another 1 in 18; see yieldSlot.

// compareBands orders the bands of jobs: all jobs of one band go before any job of the next.
func compareBands(a, b *Options) int {
	switch {
	case a.Priority > b.Priority, a.Priority == b.Priority && a.Interactive && !b.Interactive:
		return -1
	case a.Priority == b.Priority && a.Interactive == b.Interactive:
		return 0
	}
	return 1
}

func compareJobs(a, b *jobState) int {
	if c := compareBands(&a.options, &b.options); c != 0 {
		return c
	}
	if a.running != b.running {
		return a.running - b.running
	}
	return a.number - b.number
}

// updateLine adds to a job's counts of launchable tasks and running attempts, and so changes its
// place in the line.
func (s *Scheduler) updateLine(j *jobState, launchable, running int) {
	wasInLine, wasFresh := j.inLine, j.fresh
	if j.inLine {
		i, _ := slices.BinarySearchFunc(s.line, j, compareJobs)
		s.line = slices.Delete(s.line, i, i+1)
	}
	j.launchable += launchable
	j.running += running
	if !j.isQueued {
		s.running += running
	}
	if j.inLine = j.launchable > 0 && j.need.met; j.inLine {
		i, _ := slices.BinarySearchFunc(s.line, j, compareJobs)
		s.line = slices.Insert(s.line, i, j)
	}
	j.fresh = j.inLine && !j.isQueued && (wasFresh || launchable > 0 || !wasInLine)
	if j.fresh && !wasFresh {
		s.freshJobs++
	} else if wasFresh && !j.fresh {
		s.freshJobs--
	}
}

// bandStart returns the index in the line where a band begins or would begin.
func (s *Scheduler) bandStart(o *Options) int {
	i, _ := slices.BinarySearchFunc(s.line, o, func(j *jobState, o *Options) int { return compareBands(&j.options, o) })
	return i
}

// bandEnd returns the index in the line behind a band.
func (s *Scheduler) bandEnd(o *Options) int {
	i, _ := slices.BinarySearchFunc(s.line, o, func(j *jobState, o *Options) int {
		if compareBands(&j.options, o) <= 0 {
			return -1
		}
		return 1
	})
	return i
}

// yieldSlot gives a slot to a lower band if it is the lower band's turn. Of the bands behind the
// one about to take the slot, the last gets one turn in 18. The bands between share another one in
// 18: the job without a start for longest gets it.
//
// The turns are multiples of the golden ratio, modulo 1. They are spread evenly over all starts,
// and also over every second one, every third one and so on, so no pattern of workers can miss
// them.
func (s *Scheduler) yieldSlot(w *worker, o *Options) bool {
	last := &s.line[len(s.line)-1].options
	if compareBands(last, o) == 0 {
		return false
	}
	turn := s.turn + golden
	var lower []*jobState
	for _, j := range s.line[s.bandEnd(o):] {
		if (j.fresh || w.awake) && w.fits(j) {
			if lower = append(lower, j); turn >= 2*inTurn {
				break // one is enough
			}
		}
	}
	if lower == nil {
		return false
	}
	s.turn = turn
	last = &lower[len(lower)-1].options
	lower = slices.DeleteFunc(lower, func(j *jobState) bool { return (compareBands(&j.options, last) == 0) != (turn < inTurn) })
	if turn >= 2*inTurn {
		return false
	}
	slices.SortStableFunc(lower, func(a, b *jobState) int { return cmp.Compare(a.served, b.served) })
	for _, j := range lower {
		for d := near; d <= far; d++ {
			if s.startTask(w, j, d) {
				s.yielded++
				return true
			}
		}
	}
	return false
}

const (
	golden = 2654435769 // 2^32 / the golden ratio
	inTurn = 1 << 32 / 18
)
