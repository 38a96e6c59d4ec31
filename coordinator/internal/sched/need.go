package sched

import (
	"fmt"
	"slices"
	"strings"
)

// A job may ask for workers that have tags, and for a program that runs on their platform. Workers that offer the same are of
// one kind, jobs that ask for the same have one need, so who can run what is found out once per kind and need.

// need is what a job asks of a worker beside a slot.
type need struct {
	key            string
	tags           []string
	code, platform string
	jobs           int  // that have it and have not ended
	met            bool // by a kind of which some worker takes attempts
}

// kind is what a worker offers beside slots.
type kind struct {
	key         string
	tags, codes []string
	platform    string
	ships       bool
	workers     int // of this kind
	takers      int // those that do not drain
	meets       map[*need]bool
}

// key joins parts so that different parts give different keys.
func key(parts ...[]string) string { return fmt.Sprintf("%q", parts) }

func sorted(words []string) []string {
	words = slices.Clone(words)
	slices.Sort(words)
	return slices.Compact(words)
}

// isEmpty says whether every worker will do.
func (n *need) isEmpty() bool { return n.code == "" && len(n.tags) == 0 }

func (k *kind) meetsNeed(n *need) bool {
	for _, tag := range n.tags {
		if _, ok := slices.BinarySearch(k.tags, tag); !ok {
			return false
		}
	}
	return k.runsProgram(n)
}

// runsProgram says whether workers of the kind run the program.
func (k *kind) runsProgram(n *need) bool {
	if n.code == "" {
		return true
	}
	_, given := slices.BinarySearch(k.codes, n.code)
	return (given || k.ships) && (n.platform == "" || n.platform == k.platform)
}

// needOf returns what a job asks for, and counts the job.
func (s *Scheduler) needOf(o *Options) *need {
	n := &need{tags: sorted(o.Tags), code: o.Code, platform: o.Platform}
	n.key = key(n.tags, []string{n.code, n.platform})
	if known := s.needs[n.key]; known != nil {
		n = known
	} else {
		s.needs[n.key] = n
		for _, k := range s.kinds {
			k.meets[n] = k.meetsNeed(n)
			n.met = n.met || k.takers > 0 && k.meets[n]
		}
	}
	n.jobs++
	return n
}

// dropNeed says that a job has ended.
func (s *Scheduler) dropNeed(n *need) {
	if n.jobs--; n.jobs == 0 {
		delete(s.needs, n.key)
		for _, k := range s.kinds {
			delete(k.meets, n)
		}
	}
}

// kindOf returns what a worker offers, and counts the worker.
func (s *Scheduler) kindOf(ev *WorkerJoined) *kind {
	k := &kind{tags: sorted(ev.Tags), codes: sorted(ev.Codes), platform: ev.Platform, ships: ev.AllowsShippedCode}
	k.key = key(k.tags, k.codes, []string{k.platform, fmt.Sprint(k.ships)})
	if known := s.kinds[k.key]; known != nil {
		k = known
	} else {
		s.kinds[k.key] = k
		k.meets = make(map[*need]bool, len(s.needs))
		for _, n := range s.needs {
			k.meets[n] = k.meetsNeed(n)
		}
	}
	k.workers++
	return k
}

// countTaker counts a worker among those of its kind that take attempts (by 1), or no more (by -1). When it is the first or the last of
// its kind, jobs come to the line or leave it.
func (s *Scheduler) countTaker(k *kind, by int) {
	before := k.takers
	if k.takers += by; before > 0 && k.takers > 0 {
		return
	}
	for n, meets := range k.meets {
		if !meets {
			continue
		}
		n.met = false
		for _, k := range s.kinds {
			n.met = n.met || k.takers > 0 && k.meets[n]
		}
	}
	for _, j := range s.active {
		if j.inLine != (j.launchable > 0 && j.need.met) {
			s.updateLine(j, 0, 0)
		}
	}
}

// fits says whether a worker that can take an attempt can take one of this job.
func (w *worker) fits(j *jobState) bool {
	if j.isQueued && (w.share == nil || w.share.waiting[j.queuedClass] == 0) || !j.isQueued && !w.blockedUntil.IsZero() {
		return false
	}
	return (j.options.Interactive || w.ordinary < w.slots-w.reserved) && (j.need.isEmpty() || w.kind.meets[j.need])
}

// explainUnmet says why no worker takes attempts with this need.
func (s *Scheduler) explainUnmet(n *need) string {
	can := func(ok func(*kind) bool) bool {
		for _, k := range s.kinds {
			if ok(k) {
				return true
			}
		}
		return false
	}
	if can(func(k *kind) bool { return k.meets[n] }) {
		return "every worker that could run it is draining"
	}
	for _, tag := range n.tags {
		if !can(func(k *kind) bool { return slices.Contains(k.tags, tag) }) {
			return "no worker has the tag " + tag
		}
	}
	program := "its program " + n.code[:min(len(n.code), 12)]
	on := ""
	if n.platform != "" {
		on = " on " + n.platform
	}
	if n.code != "" && !can(func(k *kind) bool { return k.runsProgram(n) }) {
		return "no worker" + on + " has " + program + " or takes programs from clients"
	}
	all := slices.Clone(n.tags)
	for i := range all {
		all[i] = "the tag " + all[i]
	}
	if n.code != "" {
		all = append(all, program+on)
	}
	return "no single worker has " + strings.Join(all, " and ")
}
