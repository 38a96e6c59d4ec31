package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/tasks"
)

// crowd is a sample with many of everything, and names in other scripts.
func crowd(at time.Time, n int) *sample {
	s := &sample{at: at}
	submitted := at.Add(-time.Minute)
	for i := range n {
		s.jobs = append(s.jobs, report.JobView{Job: fmt.Sprintf("старое-%d", i), Outcome: "done", Counts: report.Counts{Tasks: 3, Done: 3}, Submitted: &submitted, Ended: &at})
		s.functions = append(s.functions, tasks.Function{Name: fmt.Sprintf("関数%d\x1b[31m", i), Counts: tasks.Counts{Waiting: i, Done: 10 * i}, Workers: 1, Paused: i == 0})
		s.workers = append(s.workers, report.Worker{Name: fmt.Sprint("w", i), ID: fmt.Sprint("id", i), State: "ready", Slots: 4, Running: 1, QueuedTasks: 2, FreeBytes: 5 << 30, Silent: 0.25})
	}
	s.jobs = append(s.jobs, report.JobView{Job: "count-1a", Outcome: "running", Counts: report.Counts{Tasks: 8, Done: 2, Running: 6}, Submitted: &submitted,
		Stages: []report.StageView{{ReadRecords: 500}, {ReadRecords: int64(n)}}, Reason: "all slots are busy"})
	return s
}

// No screen is larger than the terminal, at any size, and none has bytes that a terminal obeys.
func TestTopFits(t *testing.T) {
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for _, n := range []int{0, 1, 3, 200} {
		for _, width := range []int{1, 2, 10, 39, 60, 80, 120, 199} {
			for _, height := range []int{1, 2, 3, 4, 5, 6, 8, 11, 15, 24, 60} {
				s := &topScreen{cluster: "c1:7070", every: time.Second, before: crowd(at.Add(-time.Second), n), now: crowd(at, n)}
				lines := s.lines(width, height, at)
				if len(lines) > height {
					t.Fatalf("%d lines of %d x %d", len(lines), width, height)
				}
				for _, l := range lines {
					if plain.Width(l) > width || strings.ContainsAny(l, "\x1b\n\r\t") {
						t.Fatalf("%d x %d: line of width %d: %q", width, height, plain.Width(l), l)
					}
				}
			}
		}
	}
}

// A screen has running jobs first, the longest queues first, rates since the last sample, and
// counts what it leaves out.
func TestTopShows(t *testing.T) {
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	s := &topScreen{cluster: "c1:7070", every: time.Second, before: crowd(at.Add(-2*time.Second), 0), now: crowd(at, 30)}
	s.before.functions = []tasks.Function{{Name: s.now.functions[29].Name, Counts: tasks.Counts{Done: 90}}}
	screen := strings.Join(s.lines(120, 24, at), "\n")
	for _, want := range []string{
		"coordinator c1:7070 ",
		" 12:00:00\n",
		"90 of 120 slots busy ███████████████░░░░░  30 attempts, 60 queued tasks run",
		"\ncount-1a  running  ████░░░░░░░░░░░░   2/8 ",
		" 15  all slots are busy\n",
		"\n関数29\\x1b[31m       29        0        0     100       0     0        1\n",
		"\nw0      ready        ██████░░   3/4    5.0 GiB  250ms ago\n",
		"\n… 26 more\n",
	} {
		if !strings.Contains(screen, want) {
			t.Errorf("%q is missing in\n%s", want, screen)
		}
	}
	for text, s := range map[string]*topScreen{
		"no jobs: a program submits one with -cluster c1:7070": {now: &sample{at: at}},
		"no functions: ": {now: &sample{at: at}},
		"no workers: ":   {now: &sample{at: at}},
		"no answer since 11:59:50; this is the state of that time": {now: &sample{at: at.Add(-10 * time.Second)}},
		"since 12:00:00: coordinator away":                         {now: &sample{at: at}, err: errors.New("coordinator away")},
		"the majority is lost":                                     {now: &sample{at: at, members: report.Coordinators{Stale: "the majority is lost", Warning: "two"}}},
		"two coordinators survive no loss":                         {now: &sample{at: at, members: report.Coordinators{Warning: "two coordinators survive no loss"}}},
	} {
		s.cluster, s.every = "c1:7070", time.Second
		if screen := strings.Join(s.lines(100, 20, at), "\n"); !strings.Contains(screen, text) {
			t.Errorf("%q is missing in\n%s", text, screen)
		}
	}
}

// drawing keeps the last write, which is a whole screen.
type drawing struct {
	mu   sync.Mutex
	text string
}

func (d *drawing) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text = string(b)
	return len(b), nil
}

func (d *drawing) last() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text
}

// The screen follows the cluster, keeps its last state when nobody answers, and ends with q.
func TestTopRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out drawing
		s := &topScreen{cluster: "c1:7070", every: time.Second, out: &out, now: &sample{at: time.Now()}, size: func() (int, int, error) { return 100, 20, nil }}
		pressed, ended, looks := make(chan byte), make(chan error), 0
		go func() {
			ended <- s.run(t.Context(), pressed, func(context.Context) (*sample, error) {
				if looks++; looks == 2 {
					return nil, errors.New("coordinator away")
				}
				return crowd(time.Now(), looks), nil
			})
		}()
		screen := func() string {
			pressed <- ' '
			synctest.Wait()
			return out.last()
		}
		for _, want := range []string{"no jobs", "count-1a", "coordinator away", "count-1a"} {
			if got := screen(); !strings.Contains(got, want) {
				t.Errorf("%q is missing in\n%s", want, got)
			}
			time.Sleep(s.every + 100*time.Millisecond)
		}
		pressed <- 'q'
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
