//go:build unix

package tasks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/layshaft/layshaft/tasks"
)

// A backup that is taken while tasks are submitted, run and followed by others holds whatever was
// acknowledged before: tasks that wait, are delayed or done, dead letters, results, groups, limits,
// budgets. A coordinator that is restored from it continues with them, and gives new tasks IDs that
// were never given.
func TestBackup(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	healed := filepath.Join(t.TempDir(), "healed")
	c.worker(t, "-concurrency", "4", "-healed", healed)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	keep := tasks.Keep(time.Hour)
	enqueue := func(function string, in any, options ...tasks.Option) tasks.ID {
		t.Helper()
		id, err := tasks.Enqueue(within(t), c.Client, function, in, append(options, keep)...)
		must(err)
		return id
	}
	must(c.SetBudget(within(t), "pg", 8))
	limits := tasks.Limits{QueueLow: 7, Concurrency: 5, Rate: 2.5, Burst: 3, Needs: map[string]int{"pg": 2}}
	must(c.SetLimits(within(t), "limited", limits))
	must(c.Pause(within(t), "index"))
	dead := enqueue("raise", "letter", tasks.Attempts(1))
	large := bytes.Repeat([]byte("large"), 200_000)
	done := enqueue("echo", large)
	if _, err := tasks.Attach[[]byte](within(t), c.Client, dead); !errors.Is(err, tasks.ErrFailed) {
		t.Fatal(err)
	}
	if _, err := tasks.Attach[[]byte](within(t), c.Client, done); err != nil {
		t.Fatal(err)
	}
	delayed := enqueue("echo", "later", tasks.After(time.Hour))
	group, err := tasks.OpenGroup(within(t), c.Client, tasks.Then("echo", keep))
	must(err)
	_, err = tasks.AddToGroup(within(t), group, "index", make([]int, 3))
	must(err)

	var mu sync.Mutex
	acknowledged := map[tasks.ID]string{}
	ctx, stop := context.WithCancel(within(t))
	defer stop()
	var load sync.WaitGroup
	for s := range 4 {
		load.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				in := fmt.Sprintf("%d.%d", s, i)
				id, err := tasks.Enqueue(ctx, c.Client, "record", in, keep, tasks.Then("tally", keep))
				if err == nil {
					mu.Lock()
					acknowledged[id] = in
					mu.Unlock()
				} else if ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	count := func() (ids []tasks.ID) {
		mu.Lock()
		defer mu.Unlock()
		for id := range acknowledged {
			ids = append(ids, id)
		}
		return ids
	}
	c.await(t, "some load", func(o tasks.Overview) bool { return len(count()) > 200 })
	before := count()
	file := filepath.Join(t.TempDir(), "backup")
	run(t, "layshaft", "coordinator", "backup", "-cluster", c.address, file)
	behind := len(count())
	c.await(t, "load after the backup", func(o tasks.Overview) bool { return len(count()) > behind+100 })
	stop()
	load.Wait()

	c.coordinator.Kill()
	c.dir = filepath.Join(t.TempDir(), "restored")
	run(t, "layshaft", "coordinator", "restore", file, "-data", c.dir)
	c.start(t)
	t.Logf("%d tasks before the backup, %d after", len(before), len(acknowledged)-len(before))
	for _, id := range before {
		if out, err := tasks.Attach[string](within(t), c.Client, id); err != nil || out != acknowledged[id] {
			t.Errorf("task %s (%s): %q, %v", id, acknowledged[id], out, err)
		}
	}
	if out, err := tasks.Attach[[]byte](within(t), c.Client, done); err != nil || !bytes.Equal(out, large) {
		t.Errorf("a result of %d bytes is one of %d, %v", len(large), len(out), err)
	}
	if s, err := c.Status(within(t), delayed); err != nil || s.State != tasks.StateDelayed || time.Until(s.Due) < 30*time.Minute {
		t.Errorf("a delayed task: %+v, %v", s, err)
	}
	letters, err := c.Dead(within(t), "", 0)
	if err != nil || len(letters) != 1 || letters[0].ID != dead || letters[0].Error != "database is down (1)" {
		t.Errorf("dead letters: %+v, %v", letters, err)
	}
	o, err := c.Overview(within(t))
	must(err)
	got := function(o, "limited").Limits
	if fmt.Sprint(got) != fmt.Sprint(limits) || len(o.Budgets) != 1 || o.Budgets[0].Size != 8 || !function(o, "index").Paused {
		t.Errorf("limits %+v, budgets %+v, index %+v", got, o.Budgets, function(o, "index"))
	}
	// The waiting tasks continue: the letter, the group and what follows it.
	must(os.WriteFile(healed, nil, 0o600))
	if _, err := c.Retry(within(t), dead); err != nil {
		t.Error(err)
	}
	if out, err := tasks.Attach[string](within(t), c.Client, dead); err != nil || out != "healed" {
		t.Errorf("the letter: %q, %v", out, err)
	}
	must(group.Close(within(t)))
	must(c.Resume(within(t), "index"))
	if _, err := tasks.Attach[[]byte](within(t), c.Client, group.ID()); err != nil {
		t.Errorf("the group: %v", err)
	}
	fresh := enqueue("echo", "fresh")
	if _, taken := acknowledged[fresh]; taken || slices.Contains(before, fresh) {
		t.Errorf("a new task has the ID %s of an earlier one", fresh)
	}
	c.await(t, "all to end", func(o tasks.Overview) bool { return o.Totals.Waiting+o.Totals.Running == 0 && o.Totals.Delayed == 1 })
	o, err = c.Overview(within(t))
	must(err)
	if a, b := function(o, "record").Counts, function(o, "tally").Counts; a.Done != b.Done || a.Done < len(before) {
		t.Errorf("%d records were followed by %d tallies; %d were acknowledged before", a.Done, b.Done, len(before))
	}
}
