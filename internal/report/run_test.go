package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// sampleRun returns a run of two stages. The last task of the first stage reads ten times as much.
func sampleRun(each time.Duration) *Run {
	at := time.Unix(1_790_000_000, 0)
	r := &Run{ID: "j", Name: "night", Submitted: at, Outcome: JobDone, Ended: at.Add(time.Minute), Causes: []Cause{{Kind: "transient", Message: "no route"}},
		Stages: []RunStage{{Name: "read > key", Places: "a.go:1 > a.go:2", Kind: "map", Tasks: 10, State: Stage{Name: "read > key", Tasks: 10, Done: 10, FailedAttempts: 1}},
			{Name: "sum", Kind: "reduce", Tasks: 2, Inputs: []job.Edge{{From: 0}, {From: 0, Port: 1}}, State: Stage{Name: "sum", Tasks: 2, Done: 2}}}}
	for i := range 10 {
		a := Attempt{Task: job.Task{Index: i}, N: 1, Worker: fmt.Sprint("w", i%2), Started: at, Ended: at.Add(each), ReadBytes: 100, ReadRecords: 10}
		if i == 9 {
			a.Ended, a.ReadBytes = at.Add(10*each), 1000
		}
		r.Attempts = append(r.Attempts, a)
	}
	r.Attempts = append(r.Attempts, Attempt{Task: job.Task{Index: 3}, N: 2, Worker: "w1", Ended: at.Add(each), End: EndFailed, Cause: 1})
	for i := range 2 {
		r.Attempts = append(r.Attempts, Attempt{Task: job.Task{Stage: 1, Index: i}, N: 1, Worker: "w0", Started: at.Add(each), Ended: at.Add(2 * each)})
	}
	return r
}

func TestViewRun(t *testing.T) {
	v := ViewRun(sampleRun(time.Second), nil, nil, time.Now())
	if v.Took.Duration() != time.Minute || v.Tasks != 12 || v.Done != 12 || v.Remaining != nil {
		t.Errorf("%+v", v.JobView)
	}
	s := &v.Runs[0]
	if len(s.Operators) != 2 || s.Operators[1] != (Operator{"key", "a.go:2"}) || !s.Slowest || s.Skew != 10 {
		t.Errorf("%+v", s)
	}
	if c := s.Columns[0]; c.Name != "time" || c.Values != [6]int64{1e9, 1e9, 1e9, 1e9, 1e10, 1e10} || len(c.Outliers) != 1 || c.Outliers[0].Attempt != "0/9#1" || c.Outliers[0].Times != 10 {
		t.Errorf("%+v", c)
	}
	if len(v.Runs[1].Inputs) != 1 || v.Runs[1].Inputs[0] != (Input{0, "shuffle"}) {
		t.Errorf("inputs %+v", v.Runs[1].Inputs)
	}
	if len(v.Failures) != 1 || v.Failures[0].Attempts != 1 || v.Failures[0].Examples[0] != "0/3#2" {
		t.Errorf("%+v", v.Failures)
	}
	if len(v.Findings) == 0 || !strings.Contains(v.Findings[0].Text, "0/9#1 on w1 took 10s, 10.0 times the median of its stage: it read 1000 B, 10.0 times") {
		t.Errorf("%+v", v.Findings)
	}
	if len(v.Workers) != 2 || v.Workers[0].Attempts != 7 || v.Workers[1].Failed != 1 {
		t.Errorf("%+v", v.Workers)
	}
}

// A record that ends before its job counts what it has, and a live job has an estimate.
func TestViewRunOfRunningJob(t *testing.T) {
	r := sampleRun(time.Second)
	r.Outcome, r.Ended, r.Attempts = JobRunning, time.Time{}, r.Attempts[:5]
	if v := ViewRun(r, nil, nil, r.Submitted); v.Done != 5 || v.Waiting != 7 || v.Stages[0].ReadBytes != 500 {
		t.Errorf("%+v", v.JobView)
	}
	live := &Job{ID: "j", Options: Options{Submitted: r.Submitted}, Stages: []Stage{{Tasks: 10, Done: 5, Running: 5}, {Tasks: 2, Waiting: 2}}}
	running := []Attempt{{Task: job.Task{Index: 6}, Worker: "w0", Started: r.Submitted}}
	v := ViewRun(r, live, running, r.Submitted.Add(time.Second))
	if v.Remaining == nil || v.Remaining.Seconds <= 0 || !strings.Contains(v.Remaining.How, "1 stage to come") {
		t.Errorf("%+v", v.Remaining)
	}
}

func TestCompare(t *testing.T) {
	a, b := ViewRun(sampleRun(time.Second), nil, nil, time.Now()), ViewRun(sampleRun(2*time.Second), nil, nil, time.Now())
	c := Compare(a, b)
	if len(c.Stages) != 2 || c.Stages[0].Change != 1 || c.Stages[0].MedianAfter != 2 || !strings.Contains(c.Findings[1], "read > key, changed most: 38s of work, before 19s") {
		t.Errorf("%+v", c)
	}
}

// A coordinator that started again counts failures from then; the view has the failures of the record.
func TestViewRunAfterRestart(t *testing.T) {
	r := sampleRun(time.Second)
	live := r.job()
	live.Stages[0].FailedAttempts = 0
	if v := ViewRun(r, live, nil, r.Ended); v.Stages[0].FailedAttempts != 1 || v.Stages[0].Attempts != 11 {
		t.Errorf("%+v", v.Stages[0])
	}
	live.Stages[0].FailedAttempts = 3 // the record may lack some
	if v := ViewRun(r, live, nil, r.Ended); v.Stages[0].FailedAttempts != 3 || v.Stages[0].Attempts != 13 {
		t.Errorf("%+v", v.Stages[0])
	}
}
