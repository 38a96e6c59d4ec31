package coordinator_test

import (
	"context"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/internal/coordtest"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
)

// blockedJournal writes events after block only, when the caller gives up.
type blockedJournal struct {
	coordtest.Journal
	block bool
}

func (j *blockedJournal) Append(ctx context.Context, events ...[]byte) (uint64, error) {
	j.Mu.Lock()
	block := j.block
	j.Mu.Unlock()
	if block {
		<-ctx.Done()
		return 0, context.Cause(ctx)
	}
	return j.Journal.Append(ctx, events...)
}

// A call whose decision is being written when the coordinator ends, because its tenure was lost, is
// repeated by the client: it was not cancelled.
func TestEndDuringWrite(t *testing.T) {
	for name, call := range map[string]func(ctx context.Context, c *coordinator.Coordinator) error{
		"submit": func(ctx context.Context, c *coordinator.Coordinator) error {
			return c.Submit(ctx, job.Spec{ID: "k", Stages: []job.Stage{{Tasks: 1}}}, report.Options{})
		},
		"cancel": func(ctx context.Context, c *coordinator.Coordinator) error { return c.Cancel(ctx, "j", "") },
		"detach": func(ctx context.Context, c *coordinator.Coordinator) error { return c.Detach(ctx, "j") },
		"drop":   func(ctx context.Context, c *coordinator.Coordinator) error { return c.Drop(ctx, "j") },
		"wait":   func(ctx context.Context, c *coordinator.Coordinator) error { return c.Wait(ctx, "j") },
	} {
		coordtest.Bubble(t, func(t *testing.T) {
			j := &blockedJournal{}
			c, err := coordinator.New(coordinator.Config{Journal: j})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- c.Run(ctx) }()
			coordtest.Submit(t, c, coordtest.TwoStages(1, 1))
			j.Mu.Lock()
			j.block = true
			j.Mu.Unlock()
			answer := make(chan error, 1)
			go func() { answer <- call(t.Context(), c) }()
			synctest.Wait()
			stop()
			if err := <-answer; status.Code(wire.ToStatus(err)) != codes.Unavailable {
				t.Errorf("%s: %v: %v", name, status.Code(wire.ToStatus(err)), err)
			}
			<-done
		})
	}
}
