package layshafttest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// slowList is a source whose input takes long to list.
type slowList struct{}

func (slowList) String() string { return "slowList" }

func (slowList) Splits(ctx context.Context, _ int64) ([]connector.Split, error) {
	in := filesys.InputOf(ctx)
	in.Begin("listing files", 0)
	for range 10 {
		select {
		case <-time.After(time.Second):
			in.Advance(1000)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return []connector.Split{{Label: "all"}}, nil
}

func (slowList) Read(_ context.Context, _ connector.Split, r *connector.Reader[int64]) error {
	one := int64(1)
	r.Emit(&one)
	return nil
}

// TestPlanningIsShown checks that a job is listed, and can be cancelled, while its client lists the
// input.
func TestPlanningIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 1)
		d := mapreduce.Define("slow", func(p *mapreduce.Plan, _ struct{}) mapreduce.Dataset[int64] { return mapreduce.Read(p, slowList{}) })
		ended := make(chan error, 1)
		begin := func() {
			go func() {
				_, err := d.Collect(t.Context(), c.Target(), struct{}{})
				ended <- err
			}()
		}
		other, err := client.Dial(client.Config{Address: c.address, Dial: c.dial})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		list := func() report.Job {
			t.Helper()
			jobs, err := other.Jobs(t.Context(), 10)
			if err != nil || len(jobs) != 1 {
				t.Fatalf("%d jobs, %v", len(jobs), err)
			}
			return jobs[0]
		}
		begin()
		time.Sleep(5500 * time.Millisecond)
		st := list()
		if st.Outcome != report.JobPlanning || st.Name != "slow" || st.Reason != "listing files: 4000 files" && st.Reason != "listing files: 5000 files" || time.Since(st.Options.Submitted) < 5*time.Second {
			t.Errorf("while files are listed: %+v", st)
		}
		if again, err := other.Status(t.Context(), st.ID); err != nil || !strings.HasPrefix(again.Reason, "listing files: ") { // it goes on meanwhile
			t.Errorf("status %+v, %v", again, err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if now := list(); now.Outcome != report.JobDone || now.ID == st.ID {
			t.Errorf("afterwards: %+v", now)
		}
		if _, err := other.Status(t.Context(), st.ID); !errors.Is(err, wire.ErrUnknownJob) {
			t.Errorf("status of an ended planning: %v", err)
		}
		if err := other.Drop(t.Context(), list().ID); err != nil {
			t.Fatal(err)
		}

		begin()
		time.Sleep(3 * time.Second)
		watched := make(chan error, 1)
		id := list().ID
		go func() { watched <- other.Wait(t.Context(), id) }()
		if err := other.Cancel(t.Context(), id, "too slow"); err != nil {
			t.Fatal(err)
		}
		var gone *report.JobError
		if err := <-ended; !errors.As(err, &gone) || gone.Outcome != report.JobCancelled || !strings.Contains(err.Error(), "too slow") {
			t.Errorf("a run cancelled in planning: %v", err)
		}
		if err := <-watched; !errors.Is(err, wire.ErrUnknownJob) {
			t.Errorf("wait for a cancelled planning: %v", err)
		}
		if jobs, err := other.Jobs(t.Context(), 10); err != nil || len(jobs) > 0 {
			t.Errorf("%d jobs, %v", len(jobs), err)
		}

		// a client that is killed no longer reports
		if _, err := other.Plan(t.Context(), &report.Job{ID: "left-planning", Name: "left"}, false); err != nil {
			t.Fatal(err)
		}
		list()
		time.Sleep(11 * time.Second)
		if jobs, err := other.Jobs(t.Context(), 10); err != nil || len(jobs) > 0 {
			t.Errorf("%d jobs after the client has left, %v", len(jobs), err)
		}
	})
}

// TestListingIsShown checks that a look at files before a plan is listed, too, and can be
// cancelled. Reports look at their files in this way.
func TestListingIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 1)
		other, err := client.Dial(client.Config{Address: c.address, Dial: c.dial})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		ended := make(chan error, 1)
		go func() {
			ended <- mapreduce.WithFiles(t.Context(), c.Target(), func(ctx context.Context) error {
				_, err := slowList{}.Splits(ctx, 0)
				return err
			})
		}()
		time.Sleep(5500 * time.Millisecond)
		jobs, err := other.Jobs(t.Context(), 10)
		if err != nil || len(jobs) != 1 || jobs[0].Outcome != report.JobPlanning || !strings.HasPrefix(jobs[0].Reason, "listing files: ") {
			t.Fatalf("%+v, %v", jobs, err)
		}
		if err := other.Cancel(t.Context(), jobs[0].ID, ""); err != nil {
			t.Fatal(err)
		}
		var cancelled *report.JobError
		if err := <-ended; !errors.As(err, &cancelled) || cancelled.Outcome != report.JobCancelled {
			t.Errorf("%v, want an error of a cancelled job", err)
		}
	})
}
