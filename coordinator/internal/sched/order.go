package sched

import "slices"

// Jobs that have tasks to launch, and for which some worker is fit, stand in a line for slots. A larger priority stands before a
// smaller one, an interactive job before others of its priority, and among equals the job with the fewest attempts on their
// way: each gets an even share of the slots, and one that cannot use its share leaves it to the others (max-min fairness).

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

// adjust changes how many launchable tasks and attempts on their way a job has, and so its place in the line.
func (s *Scheduler) adjust(j *jobState, launchable, running int) {
	wasInLine, wasFresh := j.inLine, j.fresh
	if j.inLine {
		i, _ := slices.BinarySearchFunc(s.line, j, compareJobs)
		s.line = slices.Delete(s.line, i, i+1)
	}
	j.launchable += launchable
	j.running += running
	s.running += running
	if j.inLine = j.launchable > 0 && j.need.met; j.inLine {
		i, _ := slices.BinarySearchFunc(s.line, j, compareJobs)
		s.line = slices.Insert(s.line, i, j)
	}
	j.fresh = j.inLine && (wasFresh || launchable > 0 || !wasInLine)
	if j.fresh && !wasFresh {
		s.fresh++
	} else if wasFresh && !j.fresh {
		s.fresh--
	}
}

// bandStart returns the place in the line where a band of jobs begins or would begin.
func (s *Scheduler) bandStart(o *Options) int {
	i, _ := slices.BinarySearchFunc(s.line, o, func(j *jobState, o *Options) int { return compareBands(&j.options, o) })
	return i
}
