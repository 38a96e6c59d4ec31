package dashboard

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// A page that takes long to make is made less often.
func TestFreshFor(t *testing.T) {
	t.Parallel()
	for took, want := range map[time.Duration]time.Duration{0: fresh, 10 * time.Millisecond: fresh, 100 * time.Millisecond: 2 * time.Second, time.Minute: oldest} {
		if got := freshFor(took); got != want {
			t.Errorf("a page that took %v stays for %v, want %v", took, got, want)
		}
	}
}

// BenchmarkViewers measures what twenty viewers of a job of 200,000 tasks on 1,000 workers cost. A
// page is made at most once a second, and takes at most a twentieth of a core; see freshFor. Each
// viewer asks every two seconds:
//
//	ns/op      the answer to the viewer that has the page made
//	ns/shared  the answer to the nineteen others
//	B/page     the size of the page, and B/time-line the size of an update of the time line
func BenchmarkViewers(b *testing.B) {
	const tasks, workers, viewers = 200_000, 1000, 20
	d := open(b)
	spec := job.Spec{ID: "large", Name: "large", Hash: "h", Stages: []job.Stage{{Name: "read > map", Tasks: tasks}}}
	if err := d.cfg.Coordinator.Submit(b.Context(), spec, report.Options{Submitted: time.Now()}); err != nil {
		b.Fatal(err)
	}
	begin := time.Now().Add(-time.Hour)
	run := &report.Run{ID: "large", Name: "large", Submitted: begin, Stages: []report.RunStage{{Name: "read > map", Kind: "map", Tasks: tasks}}}
	for i := range tasks - workers {
		started := begin.Add(time.Duration(i/workers) * 15 * time.Second)
		run.Attempts = append(run.Attempts, report.Attempt{Task: job.Task{Index: i}, N: 1, Worker: fmt.Sprintf("worker-%d", i%workers), Started: started,
			Ended: started.Add(time.Duration(10+i*7919%5) * time.Second), ReadRecords: int64(1000 + i*31%97), ReadBytes: int64(1<<20 + i*17%4096), WroteRecords: 10, WroteBytes: 1000})
	}
	d.cfg.History = func(job.ID) (*report.Run, error) { return run, nil }
	h := d.Handler()
	ask := func(path string) int {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Host = "127.0.0.1:7071"
		r.Header.Set("Accept", browser)
		r.Header.Set("Accept-Encoding", "gzip")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatalf("%s: %d", path, w.Code)
		}
		return w.Body.Len()
	}
	var shared time.Duration
	size, others := 0, 0
	for b.Loop() {
		d.mu.Lock()
		clear(d.made)
		d.mu.Unlock()
		size = ask("/jobs/large")
		from := time.Now()
		for range viewers - 1 {
			ask("/jobs/large")
		}
		shared += time.Since(from)
		others += viewers - 1
	}
	b.ReportMetric(float64(shared.Nanoseconds())/float64(others), "ns/shared")
	b.ReportMetric(float64(size), "B/page")
	b.ReportMetric(float64(ask(fmt.Sprintf("/jobs/large/attempts?from=%d", tasks-2*workers))), "B/time-line")
}
