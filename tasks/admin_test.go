package tasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/tasks"
)

func TestDeadLetters(t *testing.T) {
	s, c := serve(t)
	var healed atomic.Bool
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "sick", func(context.Context, string) (string, error) {
			if healed.Load() {
				return "well", nil
			}
			return "", tasks.Fatal(errors.New("ill"))
		})
	})
	ctx := within(t)
	id, err := tasks.Enqueue(ctx, c, "sick", "patient 7", tasks.Unique("p7"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tasks.Attach[string](ctx, c, id); !errors.Is(err, tasks.ErrFailed) || !strings.Contains(err.Error(), "ill") {
		t.Errorf("Attach = %v", err)
	}
	dead, err := c.Dead(ctx, "sick", 10)
	if err != nil || len(dead) != 1 || dead[0].ID != id || dead[0].Error != "ill" || dead[0].Unique != "p7" || !dead[0].Dead {
		t.Fatalf("Dead = %+v, %v", dead, err)
	}
	if st, err := c.Inspect(ctx, id); err != nil || string(st.Input) != "patient 7" {
		t.Errorf("Inspect = %+v, %v", st, err)
	}
	healed.Store(true)
	if ids, err := c.Retry(ctx, id); err != nil || len(ids) != 1 {
		t.Fatalf("Retry = %v, %v", ids, err)
	}
	if out, err := tasks.Attach[string](ctx, c, id); out != "well" || err != nil {
		t.Errorf("after Retry: %q, %v", out, err)
	}
	if dead, err := c.Dead(ctx, "", 10); err != nil || len(dead) != 0 {
		t.Errorf("Dead = %+v, %v, want none", dead, err)
	}
}

func TestFunctions(t *testing.T) {
	s, c := serve(t)
	ctx := within(t)
	if err := errors.Join(c.SetBudget(ctx, "pg", 2), c.SetLimits(ctx, "query", tasks.Limits{QueueNormal: 3, Needs: map[string]int{"pg": 1}}), c.Pause(ctx, "query")); err != nil {
		t.Fatal(err)
	}
	begun, open := make(chan int32, 3), make(chan struct{})
	var now atomic.Int32
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "query", func(context.Context, int) (int, error) {
			begun <- now.Add(1)
			defer now.Add(-1)
			<-open
			return 0, nil
		})
	})
	ids, err := tasks.EnqueueAll(ctx, c, "query", []int{1, 2, 3, 4})
	if !errors.Is(err, tasks.ErrFull) || len(ids) != 4 || ids[2] == 0 || ids[3] != 0 {
		t.Errorf("EnqueueAll over the limit = %v, %v", ids, err)
	}
	var listed []tasks.ID
	for st, err := range c.Tasks(ctx, "query", tasks.StateWaiting) {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, st.ID)
	}
	if slices.Sort(listed); !slices.Equal(listed, ids[:3]) {
		t.Errorf("waiting are %v, want %v", listed, ids[:3])
	}
	await(t, c, "the worker", func(o tasks.Overview) bool { return o.Functions[0].Workers == 1 })
	o, err := c.Overview(ctx)
	if err != nil || !o.Functions[0].Paused || o.Functions[0].Counts.Waiting != 3 || o.Functions[0].Limits.Needs["pg"] != 1 {
		t.Errorf("Overview = %+v, %v", o, err)
	}
	if err := c.Resume(ctx, "query"); err != nil {
		t.Fatal(err)
	}
	await(t, c, "two to run", func(o tasks.Overview) bool { return o.Functions[0].Counts.Running == 2 && o.Budgets[0].Used == 2 })
	workers, err := c.Workers(ctx)
	if err != nil || len(workers) != 1 || workers[0].Slots != 4 || len(workers[0].Running) != 2 || !slices.Equal(workers[0].Functions, []string{"query"}) {
		t.Errorf("Workers = %+v, %v", workers, err)
	}
	// handlers start a moment after the task is counted as running
	most := max(<-begun, <-begun)
	close(open)
	await(t, c, "all to end", func(o tasks.Overview) bool { return o.Totals.Done == 3 })
	if most = max(most, <-begun); most != 2 {
		t.Errorf("%d ran at once with a budget of 2", most)
	}
}

// Dead letters are listed, retried and dropped in bulk, by function, error and age.
func TestDeadInBulk(t *testing.T) {
	s, c := serve(t)
	ctx := within(t)
	work(t, s.Address, func(w *tasks.Worker) {
		for _, f := range []string{"f", "g"} {
			tasks.Handle(w, f, func(_ context.Context, in string) (string, error) { return "", tasks.Fatal(errors.New(in)) })
		}
	})
	fail := func(function, text string) tasks.ID {
		id, err := tasks.Enqueue(ctx, c, function, text, tasks.Keep(0))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tasks.Attach[string](ctx, c, id); !errors.Is(err, tasks.ErrFailed) {
			t.Fatal(err)
		}
		return id
	}
	down, full, other := fail("f", "database is Down"), fail("f", "disk full"), fail("g", "database is down")
	for _, tt := range []struct {
		which tasks.DeadLetters
		want  []tasks.ID
	}{
		{tasks.DeadLetters{}, []tasks.ID{full, down, other}}, // by function, the latest first
		{tasks.DeadLetters{Error: "DATABASE"}, []tasks.ID{down, other}},
		{tasks.DeadLetters{Function: "f", Error: "down"}, []tasks.ID{down}},
		{tasks.DeadLetters{Older: time.Hour}, nil},
	} {
		found, err := c.FindDead(ctx, tt.which, 10)
		var ids []tasks.ID
		for _, x := range found {
			ids = append(ids, x.ID)
			if since := time.Since(x.Ended); since < -time.Second || since > time.Hour || x.Due.Before(time.Now().Add(80*24*time.Hour)) {
				t.Errorf("task %s ended %v, kept until %v", x.ID, x.Ended, x.Due)
			}
		}
		if err != nil || !slices.Equal(ids, tt.want) {
			t.Errorf("%+v: %v, want %v; %v", tt.which, ids, tt.want, err)
		}
	}
	if ids, err := c.DropDead(ctx, tasks.DeadLetters{Function: "f", Error: "database"}); !slices.Equal(ids, []tasks.ID{down}) || err != nil {
		t.Errorf("dropped %v, %v", ids, err)
	}
	if ids, err := c.RetryDead(ctx, tasks.DeadLetters{Error: "full"}); !slices.Equal(ids, []tasks.ID{full}) || err != nil {
		t.Errorf("retried %v, %v", ids, err)
	}
	if _, err := tasks.Attach[string](ctx, c, full); !errors.Is(err, tasks.ErrFailed) {
		t.Error(err)
	}
	if ids, err := c.DropDead(ctx, tasks.DeadLetters{}); len(ids) != 2 || err != nil {
		t.Errorf("dropped %v, %v", ids, err)
	}
}

// JSON leaves out times that are not set; year 1 would look like a date.
func TestZeroTimesInJSON(t *testing.T) {
	for _, v := range []any{tasks.Status{}, tasks.Overview{}, tasks.WorkerStatus{}, report.JobView{}, report.Worker{}, report.Function{}} {
		b, err := json.Marshal(v)
		if err != nil || strings.Contains(string(b), "0001-01-01") {
			t.Errorf("%T: %s, %v", v, b, err)
		}
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b, err := json.Marshal(tasks.Status{State: tasks.StateDelayed, Due: at})
	if err != nil || !strings.Contains(string(b), `"due":"2026-01-02T03:04:05Z"`) || strings.Contains(string(b), "ended") {
		t.Errorf("%s, %v", b, err)
	}
}
