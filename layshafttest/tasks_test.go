package layshafttest

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/tasks"
)

// Queued tasks run, and callers get their results, while the leading coordinator is killed and
// restarted again and again.
func TestQueuedTasks(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprintf("coordinators=%d", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := Start(t, 1, Coordinators(n), QueuedTasks())
				w := tasks.NewWorker(c.Tasks())
				tasks.Handle(w, "double", func(ctx context.Context, n int) (int, error) {
					time.Sleep(300 * time.Millisecond)
					return 2 * n, nil
				})
				ctx, cancel := context.WithCancel(t.Context())
				worked := make(chan error, 1)
				go func() { worked <- w.Run(ctx) }()
				defer func() { <-worked }()
				defer cancel()
				client, err := tasks.Dial(c.Tasks())
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				var ids []tasks.ID
				for i := range 20 {
					id, err := tasks.Enqueue(ctx, client, "double", i)
					if err != nil {
						t.Fatal(err)
					}
					ids = append(ids, id)
					if i%5 == 2 {
						x := c.Coordinator()
						x.Kill()
						time.AfterFunc(2*time.Second, x.Restart)
					}
					if got, err := tasks.Do[int](ctx, client, "double", 100+i); err != nil || got != 2*(100+i) {
						t.Errorf("Do(%d) = %d, %v", 100+i, got, err)
					}
				}
				for i, id := range ids {
					if got, err := tasks.Attach[int](ctx, client, id); err != nil || got != 2*i {
						t.Errorf("Attach(%d) = %d, %v", i, got, err)
					}
				}
			})
		})
	}
}
