package coordinator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/internal/coordtest"
	"github.com/layshaft/layshaft/internal/job"
)

// TestInputs fails a job in its reduce stage. The outputs that the failed attempts have read stay
// for KeepFailed, and Input names them.
func TestInputs(t *testing.T) {
	for _, keep := range []time.Duration{0, time.Minute} {
		coordtest.Bubble(t, func(t *testing.T) {
			c, stop := coordtest.Start(t, coordinator.Config{KeepFailed: keep})
			w := coordtest.NewWorker("w1")
			w.Fail = func(a job.Attempt) *job.Failure {
				if a.Task != (job.Task{Stage: 1, Index: 1}) {
					return nil
				}
				return &job.Failure{Kind: job.Transient, Message: "boom"}
			}
			w.Join(t, c, 2)
			go w.Beat()
			coordtest.Submit(t, c, coordtest.TwoStages(5, 2))
			if _, err := c.Input(job.Attempt{Job: "j", Task: job.Task{Stage: 1}}); err == nil || !strings.Contains(err.Error(), "not complete yet") {
				t.Errorf("input before the maps ran: %v", err)
			}
			if err := c.Wait(t.Context(), "j"); err == nil {
				t.Fatal("the job is done, want a failure")
			}
			synctest.Wait()
			want := []job.Producer{}
			for i := range 5 {
				want = append(want, job.Producer{Attempt: job.Attempt{Job: "j", Task: job.Task{Index: i}, N: 1}, Worker: "w1"})
			}
			for n, attempt := range map[int]int{0: 4, 2: 2} {
				l, err := c.Input(job.Attempt{Job: "j", Task: job.Task{Stage: 1, Index: 1}, N: n})
				switch {
				case keep == 0:
					if err == nil || !strings.Contains(err.Error(), "the job is failed") {
						t.Errorf("input of a dropped attempt: %v", err)
					}
				case err != nil || l.Attempt.N != attempt || len(l.Producers) != 1 || !slices.Equal(l.Producers[0], want):
					t.Errorf("input of attempt %d = %+v, %v", n, l, err)
				}
			}
			if _, err := c.Input(job.Attempt{Job: "j", Task: job.Task{Stage: 1, Index: 2}}); err == nil || !strings.Contains(err.Error(), "no task 1/2") {
				t.Errorf("input of a missing task: %v", err)
			}
			// what the reduce attempt 1/0 wrote is dropped at once
			if got, want := w.Outputs(), map[time.Duration]int{time.Minute: 5}[keep]; got != want {
				t.Errorf("the worker holds %d outputs after the end, want %d", got, want)
			}
			time.Sleep(2 * time.Minute)
			if n := w.Outputs(); n != 0 {
				t.Errorf("the worker holds %d outputs after KeepFailed", n)
			}
			stop()
			time.Sleep(5 * time.Second)
		})
	}
}

// TestInputsOfManyJobs fails a job again and again. Only the latest four hold outputs.
func TestInputsOfManyJobs(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		c, stop := coordtest.Start(t, coordinator.Config{KeepFailed: time.Hour})
		w := coordtest.NewWorker("w1")
		w.Fail = func(a job.Attempt) *job.Failure {
			if a.Task.Stage == 0 {
				return nil
			}
			return &job.Failure{Kind: job.Fatal, Message: "boom"}
		}
		w.Join(t, c, 2)
		go w.Beat()
		for i := range 7 {
			spec := coordtest.TwoStages(5, 1)
			spec.ID = job.ID(fmt.Sprint("j", i))
			coordtest.Submit(t, c, spec)
			if err := c.Wait(t.Context(), spec.ID); err == nil {
				t.Fatal("the job is done, want a failure")
			}
			synctest.Wait()
			if got, want := w.Outputs(), 5*min(i+1, 4); got != want {
				t.Errorf("after %d jobs, the worker holds %d outputs, want %d", i+1, got, want)
			}
			time.Sleep(time.Second)
		}
		for i := range 7 {
			l, err := c.Input(job.Attempt{Job: job.ID(fmt.Sprint("j", i)), Task: job.Task{Stage: 1}})
			if ok := err == nil && len(l.Producers) > 0; ok != (i >= 3) {
				t.Errorf("input of job %d: %v", i, err)
			}
		}
		time.Sleep(2 * time.Hour)
		if n := w.Outputs(); n != 0 {
			t.Errorf("the worker holds %d outputs after KeepFailed", n)
		}
		stop()
		time.Sleep(5 * time.Second)
	})
}
