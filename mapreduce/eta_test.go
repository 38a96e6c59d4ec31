package mapreduce

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
)

// TestETA checks that the remaining time is never too low, however little is done.
func TestETA(t *testing.T) {
	for _, c := range []struct {
		took  time.Duration
		share float64
		want  string
	}{
		{10 * time.Second, 0.5, "  ETA 10s"},
		{10 * time.Second, 0.001, "  ETA 2h46m30s"},
		{10 * time.Second, 0, ""},
		{10 * time.Second, 1e-12, ""},
		{10 * time.Second, 0.999, ""},
		{10 * time.Second, 1, ""},
	} {
		if got := eta(c.took, c.share); got != c.want {
			t.Errorf("eta(%v, %v) = %q, want %q", c.took, c.share, got, c.want)
		}
	}
}

// TestLineFits checks that a line fits the terminal, and keeps the remaining time whole. Time stands
// still meanwhile.
func TestLineFits(t *testing.T) { synctest.Test(t, lineFits) }

func lineFits(t *testing.T) {
	spec := &job.Spec{Stages: []job.Stage{{Splits: []job.Split{{Bytes: 4 << 40}}, Tasks: 8000}, {Tasks: 500, Inputs: []job.Edge{{From: 0}}}}}
	p := &display{j: &Job{spec: spec}, start: time.Now().Add(-10 * time.Minute), began: map[int]time.Time{0: time.Now().Add(-10 * time.Minute)}}
	s := report.Stage{Name: "read > filter > map > aggregateby words", FailedAttempts: 123}
	s.Tasks, s.Done, s.Running = 8000, 2345, 64
	for width := 1; width < 220; width++ {
		for _, name := range []string{"read > filter > map > aggregateby words", "読む > 数える > 書く", "x"} {
			s.Name = name
			line := p.line(0, s, 123_456_789, 1<<40, width)
			if n := plain.Width(line); n > width && width > 3 {
				t.Errorf("%d of %d columns: %s", n, width, line)
			}
			if strings.Contains(line, "E") != strings.HasSuffix(line, "  ETA 30m0s") || width >= 20 && !strings.Contains(line, "ETA") {
				t.Errorf("width %d: the remaining time is cut: %s", width, line)
			}
			if strings.Contains(line, "/") != strings.Contains(line, " 2345/8000 tasks") || width >= 40 && !strings.Contains(line, "/") {
				t.Errorf("width %d: the number of tasks is cut: %s", width, line)
			}
		}
		s.Name = "read > filter > map > aggregateby words"
		line := p.line(0, s, 123_456_789, 1<<40, width)
		if width > 160 && !strings.Contains(line, "[#####...............] 2345/8000 tasks, 64 running, 123 attempts failed  123.46M records  205.8k/s  1.7 GiB/s") {
			t.Errorf("parts are missing: %s", line)
		}
	}
	// a quarter of the first stage is done, and its output is a quarter of its input
	s.Sum.Bytes = 1 << 38
	if got := p.total([]report.Stage{s, {}}, []int64{1 << 40, 0}, 0); got != "   whole job 20%  ETA 40m0s" {
		t.Errorf("whole job: %q", got)
	}
	if got := p.total([]report.Stage{s, {}}, []int64{1 << 40, 0}, 20); got != "ETA 40m0s" {
		t.Errorf("whole job in a narrow terminal: %q", got)
	}
	if got := p.total([]report.Stage{s}, []int64{1 << 40}, 0); got != "" {
		t.Errorf("one stage: %q", got)
	}
}

// A stage without any progress is starting; a count of no tasks would look like an error.
func TestLineOfStartingStage(t *testing.T) {
	p := &display{j: &Job{spec: &job.Spec{Stages: []job.Stage{{Name: "read", Tasks: 1}}}}, start: time.Now(), began: map[int]time.Time{0: time.Now()}}
	for _, x := range []struct {
		stage   report.Stage
		records int64
		want    string
	}{
		{report.Stage{Name: "read", Tasks: 1, Running: 1}, 0, "] starting, 1 running"},
		{report.Stage{Name: "read", Tasks: 1, Running: 1}, 5, "] 0/1 task, 1 running  5 records"},
		{report.Stage{Name: "read", Tasks: 1, Running: 1}, 1, "] 0/1 task, 1 running  1 record"},
		{report.Stage{Name: "read", Tasks: 1, Running: 1, FailedAttempts: 1}, 0, "] 0/1 task, 1 running, 1 attempt failed"},
		{report.Stage{Name: "read", Tasks: 2, Done: 1}, 0, "] 1/2 tasks"},
	} {
		if got := p.line(0, x.stage, x.records, 0, 0); !strings.HasSuffix(got, x.want) {
			t.Errorf("%q, want %q at its end", got, x.want)
		}
	}
}

// TestLineOfInput checks the line about the input of a job of several stages, and that it fits.
func TestLineOfInput(t *testing.T) {
	spec := &job.Spec{Stages: []job.Stage{{Splits: []job.Split{{Bytes: 4 << 30}}, Tasks: 8}, {Tasks: 4, Inputs: []job.Edge{{From: 0}}}}}
	p := &display{j: &Job{spec: spec, engine: idle{}}, brief: true}
	read := report.Stage{Tasks: 8, Done: 4, Sum: report.Summary{Counters: map[string]int64{consumedCounter: 5_000_000, consumedBytes: 2 << 30}}}
	for _, c := range []struct {
		width int
		want  string
	}{
		{0, "[##########..........] 50%  2.0 GiB of 4.0 GiB  5.00M rows  204.8 MiB/s  500.0k rows/s  ETA 10s"},
		{85, "[##########..........] 50%  2.0 GiB of 4.0 GiB  5.00M rows  204.8 MiB/s  ETA 10s"},
		{50, "50%  5.00M rows  204.8 MiB/s  ETA 10s"},
		{20, "50%  ETA 10s"},
	} {
		got := p.reading([]report.Stage{read, {Tasks: 4}}).line(10*time.Second, c.width)
		if got != c.want {
			t.Errorf("width %d: %q, want %q", c.width, got, c.want)
		}
	}
	read.Done, read.Sum.Counters[consumedBytes] = 8, 4<<30
	r := p.reading([]report.Stage{read, {Tasks: 4}})
	if got := r.line(20*time.Second, 0); got != "[####################] 100%  4.0 GiB of 4.0 GiB  5.00M rows  all read, merging" {
		t.Errorf("after reading: %q", got)
	}
	if got := r.summary(20 * time.Second); got != "read 5.00M rows, 4.0 GiB in 20s: 250.0k rows/s, 204.8 MiB/s" {
		t.Errorf("at the end: %q", got)
	}
}
