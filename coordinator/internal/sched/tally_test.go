package sched

import (
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

func TestTallies(t *testing.T) {
	s := New(Config{RetryDelay: time.Second, LocalityWait: -1})
	now := time.Unix(1e9, 0)
	step := func(ev Event) []Command {
		t.Helper()
		now = now.Add(time.Second)
		cmds := append([]Command(nil), s.Step(now, ev)...)
		if bad := Audit(s); len(bad) > 0 {
			t.Fatalf("after %+v: %q", ev, bad)
		}
		return cmds
	}
	launched := func(cmds []Command) (all []job.Attempt) {
		for _, c := range cmds {
			if l, ok := c.(Launch); ok {
				all = append(all, l.Launch.Attempt)
			}
		}
		return all
	}
	step(WorkerJoined{Worker: "a", Slots: 2})
	as := launched(step(Submitted{Spec: job.Spec{ID: "j", Stages: []job.Stage{{Tasks: 2}, {Tasks: 1, Inputs: []job.Edge{{}}}}}}))
	if len(as) != 2 {
		t.Fatalf("launched %v", as)
	}
	if run := s.Attempts("j", 1); len(run) != 1 || run[0].Worker != "a" || run[0].Attempt != as[0] || !run[0].Since.Equal(now) {
		t.Errorf("Attempts = %+v", run)
	}
	step(AttemptFailed{Worker: "a", Attempt: as[0], Failure: job.Failure{Message: "no", Detail: strings.Repeat("ä", maxDetail)}})
	step(WorkerLost{Worker: "a"})
	as = launched(step(WorkerJoined{Worker: "b", Slots: 2}))
	for _, a := range as {
		as = append(as, launched(step(AttemptDone{Worker: "b", Attempt: a}))...)
	}
	step(AttemptDone{Worker: "b", Attempt: as[0]}) // again
	sums := s.Sums()
	if sums.Jobs[Running] != 1 || sums.Waiting != 0 || sums.Tasks.Done != 2 || sums.Tasks.Running != 1 || sums.Tasks.Tasks != 3 || sums.Tasks.FailedAttempts != 2 {
		t.Errorf("Sums = %+v", sums)
	}
	step(AttemptDone{Worker: "b", Attempt: as[len(as)-1]})

	m, r := s.Tallies()[MapStage], s.Tallies()[ReduceStage]
	if m.Begun != 4 || m.Ended != [Ends]int{EndDone: 2, EndFailed: 1, EndLost: 1} || m.Took.N != 2 || m.Took.Sum != 3*time.Second {
		t.Errorf("map: %+v", m)
	}
	if r.Begun != 1 || r.Ended != [Ends]int{EndDone: 1} {
		t.Errorf("reduce: %+v", r)
	}
	bad := s.Troubles("j")
	if len(bad) != 2 || bad[0].Failure.Message != "no" || bad[0].Took != time.Second || bad[1].Failure.Kind != job.WorkerLost || bad[1].Worker != "a" {
		t.Errorf("Troubles = %+v", bad)
	}
	if d := bad[0].Failure.Detail; len(d) > maxDetail+4 || !strings.HasSuffix(d, "ä…") {
		t.Errorf("a detail of %d bytes ends with %q", len(d), d[len(d)-8:])
	}
	if s.Sums().Jobs[Done] != 1 || s.Troubles("other") != nil || s.Attempts("j", 9) != nil {
		t.Errorf("at the end: %+v", s.Sums())
	}
}

// A job that fails all the time is remembered by few of its attempts.
func TestTroublesAreFew(t *testing.T) {
	s := New(Config{BlockAfter: -1})
	now := time.Unix(1e9, 0)
	s.Step(now, WorkerJoined{Worker: "a", Slots: 1})
	s.Step(now, Submitted{Spec: job.Spec{ID: "j", Stages: []job.Stage{{Tasks: 1, MaxAttempts: 100}}}})
	for range 50 {
		for _, a := range s.Attempts("j", 1) {
			s.Step(now, AttemptFailed{Worker: "a", Attempt: a.Attempt})
		}
		now = now.Add(time.Minute)
		s.Step(now, Heartbeat{Worker: "a"})
		s.Step(now, WorkerJoined{Worker: "a", Slots: 1})
	}
	all := s.Troubles("j")
	if len(all) != maxTroubles || !all[0].At.Before(all[maxTroubles-1].At) {
		t.Errorf("%d troubles: %+v", len(all), all)
	}
}

// An audit in steps finds the same as a whole one, and checks each stage.
func TestAuditStep(t *testing.T) {
	s := New(Config{})
	now := time.Unix(1e9, 0)
	for _, id := range []job.ID{"a", "b", "c"} {
		s.Step(now, Submitted{Spec: job.Spec{ID: id, Stages: []job.Stage{{Tasks: 3}, {Tasks: 1, Inputs: []job.Edge{{}}}}}})
	}
	s.jobs["b"].stages[1].queues = queues{} // its task waits, and nothing will wake it
	found, parts := []string(nil), 0
	for at := (AuditPosition{}); parts == 0 || at != (AuditPosition{}); parts++ {
		var bad []string
		bad, at = AuditStep(s, at)
		found = append(found, bad...)
		if parts == 0 {
			s.Step(now, Cancelled{Job: "a"})
		}
	}
	if parts != 1+4+1 || len(found) != 1 || found[0] != "task 1/0 of job b is in state 0 and has no owner" {
		t.Errorf("%d parts: %q", parts, found)
	}
}

func BenchmarkAuditStep(b *testing.B) {
	const tasks = 200_000
	s := New(Config{})
	now := time.Unix(1e9, 0)
	s.Step(now, WorkerJoined{Worker: "a", Slots: 8})
	s.Step(now, Submitted{Spec: job.Spec{ID: "j", Stages: []job.Stage{{Tasks: tasks}}}})
	for range tasks / 2 {
		s.Step(now, AttemptDone{Worker: "a", Attempt: s.Attempts("j", 1)[0].Attempt})
	}
	for b.Loop() {
		AuditStep(s, AuditPosition{})
	}
	b.ReportMetric(tasks, "tasks")
}
