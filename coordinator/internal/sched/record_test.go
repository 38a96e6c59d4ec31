package sched

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// An output reported as damaged stays damaged through a snapshot, and every output is counted once.
func TestRecordsKeepDamage(t *testing.T) {
	s, now := New(Config{}), time.Unix(0, 0)
	a := job.Attempt{Job: "j", N: 1}
	s.Step(now, Submitted{Spec: job.Spec{ID: "j", Stages: []job.Stage{{Tasks: 2}}}})
	s.Step(now, WorkerJoined{Worker: "w", Slots: 2})
	s.Step(now, AttemptDone{Worker: "w", Attempt: a, Summary: Summary{Records: 7}})
	s.Step(now, OutputLost{a})
	for range 3 { // also in a snapshot of a snapshot
		records := slices.Collect(s.Records())
		s = New(Config{})
		for _, r := range records {
			s.Restore(r)
		}
		s.Step(now, Restarted{})
		var refused bool
		for _, c := range s.Step(now, WorkerJoined{Worker: "w", Outputs: []job.Attempt{a}}) {
			refused = refused || c == Refuse{"w", a}
		}
		if !refused {
			t.Error("the damaged output counts again")
		}
		for _, c := range s.Step(now, AttemptDone{Worker: "w", Attempt: a}) {
			if c != (Refuse{"w", a}) {
				t.Errorf("the damaged output is reported again: %v", describe(c))
			}
		}
		if bad := Audit(s); bad != nil {
			t.Errorf("audit: %q", bad)
		}
		if st, _ := s.Status("j"); st.Stages[0].Sum.Records != 7 || st.Stages[0].Waiting != 2 {
			t.Errorf("stage is %+v", st.Stages[0])
		}
	}
	if got, want := fmt.Sprint(s.Epoch()), "3"; got != want {
		t.Errorf("epoch is %s, want %s", got, want)
	}
}
