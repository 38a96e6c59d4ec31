//go:build unix

package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/layshaft/layshaft/tasks"
)

// options apply to all tasks: a fault never uses up their attempts, and results stay until the
// check.
var options = []tasks.Option{tasks.Attempts(100), tasks.Keep(24 * time.Hour)}

// executions returns the IDs under which each input was executed.
func (s *site) executions() map[string]map[string]int {
	f, err := os.Open(s.ledger())
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	all := map[string]map[string]int{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		input, id, _ := strings.Cut(sc.Text(), " ")
		if all[input] == nil {
			all[input] = map[string]int{}
		}
		all[input][id]++
	}
	return all
}

// every calls f with 0, 1, 2 and so on at an interval, until ctx ends.
func every(ctx context.Context, interval time.Duration, f func(i int)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f(i)
		}
	}
}

// queue enqueues tasks without waiting for them.
type queue struct {
	s *site

	// mu guards the field below.
	mu  sync.Mutex
	ids map[tasks.ID]string // inputs of acknowledged tasks
}

func newQueue(s *site) *queue { return &queue{s: s, ids: map[tasks.ID]string{}} }

func (q *queue) run(ctx context.Context) {
	var group sync.WaitGroup
	for c := range 2 {
		group.Go(func() {
			every(ctx, 10*time.Millisecond, func(i int) {
				in := fmt.Sprintf("enqueue-%d-%d", c, i)
				id, err := tasks.Enqueue(context.Background(), q.s.client, "count", []byte(in), options...)
				if err != nil {
					q.s.t.Errorf("%s: %v", in, err)
					return
				}
				q.mu.Lock()
				q.ids[id] = in
				q.mu.Unlock()
			})
		})
	}
	group.Wait()
}

func (q *queue) check() string { return q.s.checkQueued(q.ids) }

// checkQueued compares queued tasks with their inputs, and returns a summary.
func (s *site) checkQueued(ids map[tasks.ID]string) string {
	ctx := context.Background()
	for id, in := range ids {
		out, err := tasks.Attach[[]byte](ctx, s.client, id, tasks.Deadline(settle))
		if err != nil || string(out) != in {
			s.t.Errorf("task %v of %s: result %q, %v", id, in, out, err)
		}
	}
	ran := s.executions()
	repeated, doubled := 0, 0
	for id, in := range ids {
		n := ran[in][id.String()]
		switch {
		case n == 0:
			s.t.Errorf("task %v of %s is done and was never executed", id, in)
		case n > 1:
			repeated++
		}
		for other := range ran[in] {
			// A task that was lost before its acknowledgement may have run, and is unknown now.
			o, err := tasks.ParseID(other)
			if err == nil && o != id {
				_, err = s.client.Status(ctx, o)
			}
			if o != id && err == nil {
				doubled++
				s.t.Errorf("one Enqueue of %s made tasks %v and %v", in, id, o)
			}
		}
	}
	return fmt.Sprintf("%d queued tasks; %d executed more than once, %d submitted twice", len(ids), repeated, doubled)
}

// waiters call Do.
type waiters struct {
	s *site
	n [2]int
}

func newWaiters(s *site) *waiters { return &waiters{s: s} }

func (w *waiters) run(ctx context.Context) {
	var group sync.WaitGroup
	for c := range w.n {
		group.Go(func() {
			every(ctx, 5*time.Millisecond, func(i int) {
				in := fmt.Sprintf("do-%d-%d", c, i)
				out, err := tasks.Do[[]byte](context.Background(), w.s.client, "count", []byte(in), tasks.Attempts(100))
				if err != nil || string(out) != in {
					w.s.t.Errorf("Do %s: result %q, %v", in, out, err)
				}
				w.n[c]++
			})
		})
	}
	group.Wait()
}

func (w *waiters) check() string {
	return fmt.Sprintf("%d calls of Do", w.n[0]+w.n[1])
}

// scatters call Scatter with 30 inputs.
type scatters struct {
	s *site
	n int
}

func newScatters(s *site) *scatters { return &scatters{s: s} }

func (l *scatters) run(ctx context.Context) {
	every(ctx, 100*time.Millisecond, func(i int) {
		var in []string
		for k := range 30 {
			in = append(in, fmt.Sprintf("scatter-%d-%d", i, k))
		}
		got := map[int]bool{}
		for r := range tasks.Scatter[string](context.Background(), l.s.client, "count", in, tasks.Attempts(100)) {
			if r.Err != nil || r.Value != in[r.Index] || got[r.Index] {
				l.s.t.Errorf("Scatter %s: result %q, %v, repeated %t", in[r.Index], r.Value, r.Err, got[r.Index])
			}
			got[r.Index] = true
		}
		if len(got) != len(in) {
			l.s.t.Errorf("Scatter %d: %d results, want %d", i, len(got), len(in))
		}
		l.n++
	})
}

func (l *scatters) check() string { return fmt.Sprintf("%d scatters of 30 tasks", l.n) }

// groups sum the squares of 1 to 10.
type groups struct {
	s *site
	n int
}

func newGroups(s *site) *groups { return &groups{s: s} }

func (l *groups) run(ctx context.Context) {
	every(ctx, 100*time.Millisecond, func(i int) {
		if err := l.group(context.Background()); err != nil {
			l.s.t.Errorf("group %d: %v", i, err)
		}
		l.n++
	})
}

func (l *groups) group(ctx context.Context) error {
	g, err := tasks.OpenGroup(ctx, l.s.client, tasks.Then("sum", options...))
	if err != nil {
		return err
	}
	in := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	if _, err := tasks.AddToGroup(ctx, g, "square", in, options...); err != nil {
		return err
	}
	if err := g.Close(ctx); err != nil {
		return err
	}
	sum, err := tasks.Attach[int](ctx, l.s.client, g.ID(), tasks.Deadline(settle))
	if err != nil {
		return err
	}
	if sum != 385 {
		return errors.New(fmt.Sprint("sum ", sum, ", want 385"))
	}
	return nil
}

func (l *groups) check() string { return fmt.Sprintf("%d groups of 10 tasks", l.n) }
