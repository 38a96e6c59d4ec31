package sched

import (
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

func TestCheck(t *testing.T) {
	one := []job.Stage{{Tasks: 1}}
	for _, x := range []struct {
		spec job.Spec
		want string
	}{
		{job.Spec{ID: "j", Stages: one}, ""},
		{job.Spec{Name: "x", Stages: one}, `job "x": the ID is empty`},
		{job.Spec{ID: "j"}, "job j: there are no stages"},
		{job.Spec{ID: "j", Stages: []job.Stage{{Tasks: -1}}}, "job j: stage 0: -1 tasks, 0 attempts, timeout 0s: must not be negative"},
		{job.Spec{ID: "j", Stages: []job.Stage{{Tasks: 1 << 60}, {Tasks: 1 << 60}}}, "job j: more than 10000000 tasks; make splits larger or reduce to fewer partitions"},
		{job.Spec{ID: "j", Stages: []job.Stage{{Tasks: 2, Splits: make([]job.Split, 1)}}}, "job j: stage 0: 1 splits for 2 tasks: must be equal"},
		{job.Spec{ID: "j", Stages: []job.Stage{{Tasks: 1, Inputs: []job.Edge{{From: 0}}}}}, "job j: stage 0 reads stage 0: must be an earlier stage"},
		{job.Spec{ID: "j", Stages: []job.Stage{{Tasks: 1}, {Tasks: 1, Inputs: []job.Edge{{Mode: job.Group}}}}},
			"job j: stage 1: 1 inputs, 1 by group, 1 tasks: a combine stage must have one input, by group, and at least one task; other stages have no input by group"},
		{job.Spec{ID: "j", Stages: []job.Stage{{Tasks: 1}, {Tasks: 0, Combine: true, Inputs: []job.Edge{{Mode: job.Group}}}}},
			"job j: stage 1: 1 inputs, 1 by group, 0 tasks: a combine stage must have one input, by group, and at least one task; other stages have no input by group"},
		{job.Spec{ID: "j", Stages: []job.Stage{{Tasks: 1}, {Tasks: 1, Combine: true, Inputs: []job.Edge{{}}}}},
			"job j: stage 1: 1 inputs, 0 by group, 1 tasks: a combine stage must have one input, by group, and at least one task; other stages have no input by group"},
		{job.Spec{ID: "j", Stages: []job.Stage{{Tasks: 1}, {Tasks: 1, Combine: true, Inputs: []job.Edge{{Mode: job.Group}}}}}, ""},
		{job.Spec{ID: "j", Stages: []job.Stage{{Tasks: 1}, {Tasks: 4, Slices: 2, Combine: true, Inputs: []job.Edge{{Mode: job.Group}}}}}, ""},
		{job.Spec{ID: "j", Stages: []job.Stage{{Tasks: 1}, {Tasks: 4, Slices: 3, Combine: true, Inputs: []job.Edge{{Mode: job.Group}}}}},
			"job j: stage 1: 3 slices for 4 tasks: must not be negative, be 1 unless the stage combines, and divide the tasks"},
		{job.Spec{ID: "j", Stages: []job.Stage{{Tasks: 4, Slices: 2}}},
			"job j: stage 0: 2 slices for 4 tasks: must not be negative, be 1 unless the stage combines, and divide the tasks"},
	} {
		got := ""
		if err := Check(&x.spec); err != nil {
			got = err.Error()
		}
		if got != x.want {
			t.Errorf("Check = %q, want %q", got, x.want)
		}
		s := New(Config{})
		s.Step(time.Unix(0, 0), Submitted{Spec: x.spec})
		if _, known := s.Status("j"); known != (x.want == "") {
			t.Errorf("%q: the core knows the job: %v", x.want, known)
		}
	}
}
