package sched

import (
	"cmp"
	"slices"

	"github.com/layshaft/layshaft/internal/job"
)

// A record may kill the process of user code or make it panic, and every further attempt would end
// there too. After the first such death the attempts of the task run alone, and each reports the
// record at hand when it dies. A record that killed deathsToSkip attempts is skipped from then on.
// User code decides whether the plan allows that: it sets the record aside or fails the job. A
// death without a new record, such as a panic of the source itself, counts as a failure. An
// example:
//
//	attempt 1 dies                            -> attempt 2 runs alone
//	attempts 2 and 3 die at record 17         -> attempt 4 skips record 17

const (
	// deathsToSkip is how many attempts a record must kill before it is skipped.
	deathsToSkip = 2
	// maxPoison is how many records of a task may kill attempts without a count of failures.
	maxPoison = 32
)

// suspect collects the deaths of a task's attempts.
type suspect struct {
	isolated bool          // an attempt died
	died     int           // attempts that died
	deaths   map[int64]int // by number of the record
	skips    []job.Skip    // by number; launches share it
}

// noteDeath records how an attempt died, and returns how many attempts of the task died so far. A
// Poison failure without news becomes a transient one, which counts.
func (st *stage) noteDeath(task int, f *job.Failure) (deaths int) {
	if !f.Crashed && f.Number == 0 && f.Kind != job.Poison {
		return 0
	}
	p := st.suspects[task]
	if p == nil {
		p = &suspect{deaths: map[int64]int{}}
		if st.suspects == nil {
			st.suspects = map[int]*suspect{}
		}
		st.suspects[task] = p
	}
	p.died++
	dies := f.Crashed || f.Kind == job.Poison
	learnt := dies && !p.isolated
	p.isolated = p.isolated || dies
	if n := f.Number; n > 0 && p.deaths[n] < deathsToSkip && (p.deaths[n] > 0 || len(p.deaths) < maxPoison) {
		learnt = true
		if p.deaths[n]++; p.deaths[n] == deathsToSkip {
			at, _ := slices.BinarySearchFunc(p.skips, n, func(s job.Skip, n int64) int { return cmp.Compare(s.Number, n) })
			p.skips = slices.Insert(slices.Clone(p.skips), at, job.Skip{Number: n, Reason: f.Message, Detail: f.Detail})
		}
	}
	if f.Kind == job.Poison && !learnt {
		f.Kind = job.Transient
	}
	return p.died
}
