package tasks_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
	"github.com/layshaft/layshaft/tasks"
)

// deaf is a coordinator that reads nothing from its streams.
type deaf struct {
	tasksv1.UnimplementedTasksServiceServer
}

func (deaf) CallTasks(s grpc.BidiStreamingServer[tasksv1.CallTasksRequest, tasksv1.CallTasksResponse]) error {
	<-s.Context().Done()
	return nil
}

// Callers that share a stream keep their deadlines while the coordinator does not read it.
func TestFullStreamKeepsDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bufconn.Listen(64 << 10)
		s := grpc.NewServer()
		tasksv1.RegisterTasksServiceServer(s, deaf{})
		var family sync.WaitGroup
		family.Go(func() { _ = s.Serve(l) })
		c, err := tasks.Dial(tasks.Cluster{Dial: func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }})
		if err != nil {
			t.Fatal(err)
		}
		input := make([]byte, 200<<10)
		for range 20 {
			family.Go(func() {
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute/6)
				defer cancel()
				_, err := tasks.Enqueue(ctx, c, "f", input)
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Minute/6 {
					t.Errorf("Enqueue after %v: %v", time.Since(begin), err)
				}
			})
			family.Go(func() {
				begin := time.Now()
				_, err := tasks.Do[[]byte](t.Context(), c, "f", input, tasks.Deadline(time.Minute/4))
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Minute/4 {
					t.Errorf("Do after %v: %v", time.Since(begin), err)
				}
			})
		}
		time.Sleep(time.Minute)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		s.Stop()
		family.Wait()
	})
}
