package sched

import (
	"cmp"
	"slices"
)

// Jobs that have tasks to launch, and for which some worker is fit, stand in a line for slots. A larger priority stands before a
// smaller one, an interactive job before others of its priority, and among equals the job with the fewest attempts on their
// way: each gets an even share of the slots, and one that cannot use its share leaves it to the others (max-min fairness). Calls
// stand there like jobs, one for each class of them.
//
// So that none starves, of the starts that a lower band could have had 1 in 18 is of the last one, and 1 in 18 of those between; see yield.

// compareBands orders jobs that never share slots: all of one band go before any of the next.
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

// updateLine changes how many launchable tasks and attempts on their way a job has, and so its place in the line.
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

// bandStart returns the place in the line where a band of jobs begins or would begin.
func (s *Scheduler) bandStart(o *Options) int {
	i, _ := slices.BinarySearchFunc(s.line, o, func(j *jobState, o *Options) int { return compareBands(&j.options, o) })
	return i
}

// bandEnd returns the place in the line behind a band of jobs.
func (s *Scheduler) bandEnd(o *Options) int {
	i, _ := slices.BinarySearchFunc(s.line, o, func(j *jobState, o *Options) int {
		if compareBands(&j.options, o) <= 0 {
			return -1
		}
		return 1
	})
	return i
}

// yieldSlot gives a slot that a band is about to take to a lower one, if it is its turn. Of the bands behind, the last has one turn in 18, and those
// between, if there are any, another: whoever had no start for longest. The turns are multiples of the golden ratio, modulo 1: they
// are spread evenly over all starts, and also over each second one, each third one and so on, so that no pattern of workers can miss them.
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
				break // it is enough that there is one
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
