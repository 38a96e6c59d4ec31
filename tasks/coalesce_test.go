package tasks_test

import (
	"context"
	"testing"

	"github.com/layshaft/layshaft/tasks"
)

// Every submit is followed by a run that began after it, and no two runs of a key overlap.
func TestCoalesce(t *testing.T) {
	s, c := serve(t)
	begun, end := make(chan struct{}), make(chan struct{})
	runs, running := 0, make(chan struct{}, 1)
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "index", func(context.Context, int) (int, error) {
			select {
			case running <- struct{}{}:
			default:
				t.Error("two runs at once")
			}
			runs++
			n := runs
			begun <- struct{}{}
			<-end
			<-running
			return n, nil
		})
	})
	submit := func(want tasks.ID, opts ...tasks.Option) tasks.ID {
		t.Helper()
		id, err := tasks.Enqueue(within(t), c, "index", 7, append(opts, tasks.Coalesce("product 7"))...)
		if err != nil || want != 0 && id != want {
			t.Fatalf("task %v, %v, want %v", id, err, want)
		}
		return id
	}
	id := submit(0)
	<-begun
	submit(id) // both are served by the second run
	submit(id)
	end <- struct{}{}
	<-begun
	submit(id)
	end <- struct{}{}
	<-begun
	end <- struct{}{}
	if n, err := tasks.Attach[int](within(t), c, id); n != 3 || err != nil {
		t.Errorf("result %d, %v, want that of the third run", n, err)
	}
	if next := submit(0); next == id {
		t.Error("a submit joined a task that has ended")
	}
	<-begun
	end <- struct{}{}
}
