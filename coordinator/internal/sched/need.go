package sched

import (
	"fmt"
	"slices"
	"strings"
)

// A job may need workers with certain tags, and a program for their platform. Workers with the same
// offer are of one kind, and jobs with the same wishes have one need, so the scheduler matches each
// kind with each need only once.

// need is the set of properties required of a worker, beside a slot.
type need struct {
	key            string
	tags           []string
	code, platform string
	jobs           int  // running jobs with this need
	met            bool // a kind with takers meets it
}

// kind is the set of properties offered by a worker, beside slots.
type kind struct {
	key           string
	tags, codes   []string
	platform      string
	allowsShipped bool
	workers       int // all workers of this kind
	takers        int // workers of this kind, without draining ones
	meets         map[*need]bool
}

// key joins parts. Different parts give different keys.
func key(parts ...[]string) string { return fmt.Sprintf("%q", parts) }

func sorted(words []string) []string {
	words = slices.Clone(words)
	slices.Sort(words)
	return slices.Compact(words)
}

// isEmpty reports whether every worker meets the need.
func (n *need) isEmpty() bool { return n.code == "" && len(n.tags) == 0 }

func (k *kind) meetsNeed(n *need) bool {
	for _, tag := range n.tags {
		if _, ok := slices.BinarySearch(k.tags, tag); !ok {
			return false
		}
	}
	return k.runsProgram(n)
}

// runsProgram reports whether workers of the kind can run the program.
func (k *kind) runsProgram(n *need) bool {
	if n.code == "" {
		return true
	}
	_, given := slices.BinarySearch(k.codes, n.code)
	return (given || k.allowsShipped) && (n.platform == "" || n.platform == k.platform)
}

// needOf returns the need of a job and counts the job.
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

// dropNeed uncounts an ended job.
func (s *Scheduler) dropNeed(n *need) {
	if n.jobs--; n.jobs == 0 {
		delete(s.needs, n.key)
		for _, k := range s.kinds {
			delete(k.meets, n)
		}
	}
}

// kindOf returns the kind of a worker and counts the worker.
func (s *Scheduler) kindOf(ev *WorkerJoined) *kind {
	k := &kind{tags: sorted(ev.Tags), codes: sorted(ev.Codes), platform: ev.Platform, allowsShipped: ev.AllowsShippedCode}
	k.key = key(k.tags, k.codes, []string{k.platform, fmt.Sprint(k.allowsShipped)})
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

// countTaker adds by to the workers of a kind that take attempts. With the first or last one, jobs
// enter or leave the line.
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

// fits reports whether a worker with a free slot can run an attempt or queued task of this job.
func (w *worker) fits(j *jobState) bool {
	if j.isQueued && (w.share == nil || w.share.waiting[j.queuedClass] == 0) || !j.isQueued && !w.blockedUntil.IsZero() {
		return false
	}
	return (j.options.Interactive || w.ordinary < w.slots-w.reserved) && (j.need.isEmpty() || w.kind.meets[j.need])
}

// explainUnmet returns the reason why no worker meets a need, with the flags of one that does.
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
		return "every worker that could run it is draining; start another"
	}
	for _, tag := range n.tags {
		if !can(func(k *kind) bool { return slices.Contains(k.tags, tag) }) {
			return "no worker has the tag " + tag + "; start one with: layshaft worker -tags " + strings.Join(n.tags, ",")
		}
	}
	program := "its program " + n.code[:min(len(n.code), 12)]
	on := ""
	if n.platform != "" {
		on = " on " + n.platform
	}
	if n.code != "" && !can(func(k *kind) bool { return k.runsProgram(n) }) {
		return "no worker" + on + " has " + program + " or takes programs from clients; start one" + on + " with: layshaft worker -allow-shipped-code"
	}
	all := slices.Clone(n.tags)
	for i := range all {
		all[i] = "the tag " + all[i]
	}
	if n.code != "" {
		all = append(all, program+on)
	}
	why := "no single worker has " + strings.Join(all, " and ") + "; start one with: layshaft worker -tags " + strings.Join(n.tags, ",")
	if n.code != "" {
		why += " -allow-shipped-code"
	}
	return why
}
