package desk

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/coordinator/internal/schedule"
)

// TestSchedulesRestart runs schedules over restarts of the desk: before, between and after fires,
// with tasks that end while no desk runs.
func TestSchedulesRestart(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d, shut := openAndShut(t, Config{Dir: dir})
		set := func(x schedule.Spec) {
			t.Helper()
			d.Lock()
			err := d.SetSchedule(x, true)
			d.Unlock()
			if err != nil {
				t.Fatal(err)
			}
		}
		get := func(name string) schedule.Info {
			t.Helper()
			d.Lock()
			defer d.Unlock()
			i, ok := d.Schedule(name)
			if !ok {
				t.Fatalf("no schedule %s", name)
			}
			return i
		}
		keep := queue.Policy{Keep: time.Hour, Attempts: 1}
		set(schedule.Spec{Name: "hourly", Cron: "@hourly", Function: "f", Input: []byte("in"), Policy: keep})
		set(schedule.Spec{Name: "program", Cron: "30 * * * *", Zone: "Europe/Berlin", Function: "program/p", Program: []string{"p", "-x"}, Policy: keep})
		restart := func(down time.Duration) {
			t.Helper()
			shut()
			time.Sleep(down)
			d, shut = openAndShut(t, Config{Dir: dir})
		}
		restart(0)
		time.Sleep(time.Until(get("hourly").Next)) // 2000-01-01 01:00
		synctest.Wait()
		w := join(t, d, "worker")
		w.work(9, "program/p")
		w.report(w.expect(`program/p#1({"args":["p","-x"],"schedule":"program","time":"2000-01-01T01:30:00+01:00"})`), queue.Failed, "broke")
		w.expect("ack 1")
		w.work(9, "f")
		first := w.expect("f#1(in)")
		synctest.Wait()
		if i := get("program"); i.Counts.Failed != 1 || i.History[0].Outcome != schedule.OutcomeFailed || i.Task != 0 {
			t.Errorf("program: %+v", i)
		}
		if i := get("hourly"); i.Task != uint64(first.Task) || i.History[0].Outcome != schedule.Running {
			t.Errorf("hourly: %+v", i)
		}
		w.report(first, queue.Done, "out")
		w.expect("ack 1")
		synctest.Wait()
		w.leave()

		restart(10 * time.Minute) // nothing was due
		if i := get("hourly"); i.Counts.Fired != 1 || i.History[0].Outcome != schedule.OutcomeDone || i.Success.IsZero() {
			t.Errorf("hourly: %+v", i)
		}
		restart(3 * time.Hour)
		w = join(t, d, "worker")
		w.work(9, "f")
		w.expect("f#1(in)")
		w.work(9, "program/p")
		again := w.expect(`program/p#1({"args":["p","-x"],"schedule":"program","time":"2000-01-01T04:30:00+01:00"})`)
		synctest.Wait()
		if i := get("hourly"); i.Counts != (schedule.Counts{Due: 4, Fired: 2, Missed: 2}) {
			t.Errorf("hourly: %+v", i.Counts)
		}

		restart(0) // while a task of each has not ended
		restart(2 * time.Second)
		if i := get("program"); i.Counts.Fired != 2 || i.Task != uint64(again.Task) {
			t.Errorf("program: %+v", i)
		}
		d.Lock()
		d.Cancel(again.Task)
		d.Unlock()
		synctest.Wait()
		if i := get("program"); i.Task != 0 || i.History[0].Outcome != schedule.OutcomeCancelled {
			t.Errorf("program: %+v", i)
		}
		d.Lock()
		if err := d.RemoveSchedule("program"); err != nil {
			t.Error(err)
		}
		for _, bad := range d.Audit() {
			t.Error(bad)
		}
		d.Unlock()
		restart(0)
		d.Lock()
		if n := len(d.Schedules()); n != 1 {
			t.Errorf("%d schedules after one of two was removed", n)
		}
		d.Unlock()
		shut()
	})
}

// TestReplaceOnFullQueue checks that a task is cancelled only when the task in its place exists.
func TestReplaceOnFullQueue(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *Desk) {
		w := join(t, d, "worker")
		w.work(1, "f")
		d.Lock()
		d.SetFunction("f", queue.Limits{Queue: [3]int{queue.Normal: 2}})
		err := d.SetSchedule(schedule.Spec{Name: "n", Cron: "@hourly", Function: "f", Overlap: schedule.OverlapReplace, Policy: queue.Policy{Attempts: 1}}, true)
		d.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		get := func() schedule.Info {
			d.Lock()
			defer d.Unlock()
			i, _ := d.Schedule("n")
			return i
		}
		time.Sleep(time.Until(get().Due))
		first := w.expect("f#1()")
		other := join(t, d, "client").submit(Submission{Function: "f", Input: []byte("x")})
		time.Sleep(time.Until(get().Due))
		synctest.Wait()
		if i := get(); i.Problem == "" || i.Task != uint64(first.Task) || i.History[0].Outcome != schedule.Running {
			t.Errorf("with a full queue: %+v", i)
		}
		d.Lock()
		if info, ok := d.core.Status(first.Task); !ok || info.State != queue.Running {
			t.Errorf("with a full queue, the earlier task is %+v, %t", info, ok)
		}
		d.Cancel(other)
		d.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if i := get(); i.Problem != "" || i.Task == uint64(first.Task) || i.History[1].Outcome != schedule.OutcomeReplaced {
			t.Errorf("with room again: %+v", i)
		}
	})
}
