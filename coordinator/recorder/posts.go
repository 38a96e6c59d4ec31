package recorder

import (
	"slices"
	"strings"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

const (
	// maxPosts is the limit of post-mortems of one job; maxPostSize is the limit of their bytes
	// beyond which they have no texts.
	maxPosts    = 1000
	maxPostSize = 1 << 20
	maxStacks   = 8 << 10 // bytes of the stacks in one
	maxEvidence = 8       // lines of evidence in one
	postCost    = 300     // bytes of one without texts
)

// postMortem keeps what was seen of an attempt that ended with f. The attempt is the next one of
// run.Attempts. The caller holds Recorder.mu.
func (x *recording) postMortem(a *report.Attempt, f *job.Failure) {
	if a.End == report.EndCancelled || len(x.run.PostMortems) >= maxPosts {
		return
	}
	_, more, _ := strings.Cut(cut(f.Message), "\n")
	p := report.PostMortem{Task: a.Task, N: a.N, Index: len(x.run.Attempts), Record: cut(f.Record), Detail: cut(strings.TrimSpace(more + "\n" + f.Detail))}
	if f.Death != nil {
		d := *f.Death
		d.Stacks = d.Stacks[:min(len(d.Stacks), maxStacks)]
		d.Evidence = slices.Clone(d.Evidence[:min(len(d.Evidence), maxEvidence)])
		for i := range d.Evidence {
			d.Evidence[i] = cut(d.Evidence[i])
		}
		p.Death = &d
	}
	if x.postSize > maxPostSize {
		p.Detail = ""
		if p.Death != nil {
			p.Death.Stacks, p.Death.Curve = "", nil
		}
	}
	x.postSize += postCost + len(p.Detail) + len(p.Record)
	if p.Death != nil {
		x.postSize += len(p.Death.Stacks) + 8*len(p.Death.Curve)
	}
	x.run.PostMortems = append(x.run.PostMortems, p)
}

// postsOf returns the post-mortems of the attempts with indexes from from to to.
func postsOf(all []report.PostMortem, from, to int) []report.PostMortem {
	at := func(i int) int {
		n, _ := slices.BinarySearchFunc(all, i, func(p report.PostMortem, i int) int { return p.Index - i })
		return n
	}
	return all[at(from):at(to)]
}
