package report

import (
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// A view of an attempt has its failure, its end in words, the other attempts of its task, and its
// last lines.
func TestViewAttempts(t *testing.T) {
	at := time.Unix(1e9, 0)
	task := job.Task{Stage: 0, Index: 7}
	r := &Run{Stages: []RunStage{{Name: "read"}}, Causes: []Cause{{Kind: "transient", Message: "killed", Detail: "first", Record: "a.txt"}},
		Attempts: []Attempt{
			{Task: task, N: 1, Worker: "w1", Started: at, Ended: at.Add(time.Second), End: EndFailed, Cause: 1},
			{Task: task, N: 2, Worker: "w2", Started: at, Ended: at.Add(time.Second), End: EndFailed, Cause: 1},
			{Task: job.Task{Index: 8}, N: 1, Worker: "w2", End: EndDone}},
		PostMortems: []PostMortem{{Task: task, N: 2, Record: "a.txt:9", Death: &job.Death{Exit: "signal: killed", Memory: "yes", Evidence: []string{"oom_kill rose"},
			Peak: 3 << 30, Limit: 4 << 30, Curve: []int64{1, 2, 3}, Every: time.Second, Records: 5, Bytes: 6, Idle: time.Minute}}},
		Lines: []Line{{Attempts: []string{"0/7#2"}, Text: "certain"}, {Attempts: []string{"0/7#2", "0/8#1"}, Text: "perhaps"}, {Text: "nobody"}}}
	running := []Attempt{{Task: task, N: 3, Worker: "w3", Started: at}}
	v := ViewRun(r, nil, running, at.Add(time.Hour)).PostMortems
	if len(v) != 2 || v[0].Attempt != "0/7#2" || v[1].Attempt != "0/7#1" {
		t.Fatalf("%+v", v)
	}
	x := v[0]
	if x.Message != "killed" || x.Detail != "first" || x.Record != "a.txt:9" || v[1].Record != "a.txt" || x.Stage != "read" || len(x.Output) != 2 || x.Output[0].Text != "certain" {
		t.Errorf("%+v", x)
	}
	if len(x.Others) != 2 || x.Others[0] != (OtherAttempt{"0/7#1", "w1", "failed"}) || x.Others[1] != (OtherAttempt{"0/7#3", "w3", "running"}) {
		t.Errorf("others %+v", x.Others)
	}
	var facts []string
	for _, f := range x.Facts {
		facts = append(facts, f.Name+" "+f.Text)
	}
	for _, want := range []string{"process signal: killed", "out of memory yes: oom_kill rose", "memory 3.0 GiB at its peak, of 4.0 GiB", "in the last 3s: ▃▆█, 3 B", "had read 5 records, 6 B", "no progress for 1m0s"} {
		if !strings.Contains(strings.Join(facts, "\n"), want) {
			t.Errorf("no fact %q in %q", want, facts)
		}
	}
	if all := ViewAttempts(r, running, at.Add(time.Hour), func(a *Attempt) bool { return a.N == 3 }); len(all) != 1 || all[0].End != "running" || all[0].Took != SecondsOf(time.Hour) {
		t.Errorf("%+v", all)
	}
}
