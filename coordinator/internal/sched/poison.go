package sched

import (
	"cmp"
	"slices"

	"github.com/layshaft/layshaft/internal/job"
)

// A record may end the process of user code, and every further attempt would die of it. After the first such death the attempts of the
// task run alone and tell the record that they had at hand; the one that ended deadly of them is left out from then on. Whether the
// plan allows that, user code knows: it sets the record aside, or fails the job.

const (
	// deadly is how many attempts a record must have ended.
	deathsToSkip = 2
	// maxPoison is for how many records of a task attempts may end without counting as failed.
	maxPoison = 32
)

// suspect is what is known of the records of a task whose attempts died.
type suspect struct {
	alone  bool          // a process died
	deaths map[int64]int // by number of the record
	skips  []job.Skip    // by number; launches share it
}

// noteDeath looks at how an attempt failed. A failure of kind Poison that brings nothing new becomes a transient one, which counts.
func (st *stage) noteDeath(task int, f *job.Failure) {
	if !f.Crashed && f.Number == 0 {
		return
	}
	p := st.suspects[task]
	if p == nil {
		p = &suspect{deaths: map[int64]int{}}
		if st.suspects == nil {
			st.suspects = map[int]*suspect{}
		}
		st.suspects[task] = p
	}
	learnt := f.Crashed && !p.alone
	p.alone = p.alone || f.Crashed
	if n := f.Number; n > 0 && p.deaths[n] < deathsToSkip && (p.deaths[n] > 0 || len(p.deaths) < maxPoison) {
		learnt = true
		if p.deaths[n]++; p.deaths[n] == deathsToSkip {
			at, _ := slices.BinarySearchFunc(p.skips, n, func(s job.Skip, n int64) int { return cmp.Compare(s.Number, n) })
			p.skips = slices.Insert(slices.Clone(p.skips), at, job.Skip{Number: n, Why: f.Message, Detail: f.Detail})
		}
	}
	if f.Kind == job.Poison && !learnt {
		f.Kind = job.Transient
	}
}
