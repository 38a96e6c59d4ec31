package recorder

import (
	"fmt"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/history"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// Post-mortems survive restarts with their own texts, within their limits.
func TestPostMortems(t *testing.T) {
	t.Parallel()
	files := &memory{files: map[string][]byte{}}
	n := 0
	var r *Recorder
	for life := range 2 {
		r = New(files, nil)
		r.life += fmt.Sprint(life)
		submit(r)
		for range 600 {
			f := &job.Failure{Message: "broke", Detail: "the same", Record: fmt.Sprint("record ", n), Death: &job.Death{Exit: "signal: killed", Stacks: strings.Repeat("s", maxStacks+1)}}
			r.Ended("j", report.Attempt{Task: job.Task{Index: n}, N: 1, End: report.EndFailed}, f, nil)
			n++
			if n%200 == 0 {
				r.write()
			}
		}
		r.write()
	}
	for range 2 {
		run, err := r.Open("j")
		if err != nil {
			t.Fatal(err)
		}
		if len(run.PostMortems) != n { // maxPosts is for each life of the coordinator
			t.Errorf("%d post-mortems of %d attempts", len(run.PostMortems), n)
		}
		size := 0
		for i, p := range run.PostMortems {
			if p.Task.Index != i || p.Record != fmt.Sprint("record ", i) {
				t.Fatalf("post-mortem %d: %+v", i, p)
			}
			size += len(p.Death.Stacks)
		}
		if size == 0 || size > 2*maxPostSize+2*maxStacks {
			t.Errorf("%d bytes of stacks", size)
		}
		again, err := history.Decode(history.Encode(run))
		if err != nil || len(again.PostMortems) != n || again.PostMortems[1].Death.Exit != "signal: killed" {
			t.Errorf("as a file: %d, %v", len(again.PostMortems), err)
		}
		r = New(files, nil)
	}
}
