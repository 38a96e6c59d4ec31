package layshafttest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/layshafttest"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// needy is a pipeline whose attempts need a budget, and last as long as its parameter.
var needy = mapreduce.Define("needy", func(p *mapreduce.Plan, in needs) mapreduce.Dataset[int] {
	var opts []mapreduce.Option
	if in.Budget != "" {
		opts = append(opts, mapreduce.Needs(in.Budget, 1))
	}
	return mapreduce.TryMap(mapreduce.Read(p, memio.Of(in.Number)), func(ctx context.Context, n int) (int, error) {
		select {
		case <-time.After(in.Lasts):
		case <-ctx.Done():
		}
		return n, nil
	}, opts...)
})

type needs struct {
	Budget string
	Lasts  time.Duration
	Number int
}

// TestRunSaysWhatItWaitsFor walks the causes for which a run waits. Each is printed once, after at
// most two seconds, and is part of the error when the context of the caller ends.
func TestRunSaysWhatItWaitsFor(t *testing.T) {
	for _, tt := range []struct {
		name    string
		workers int
		tags    []string
		params  needs
		busy    bool
		away    bool // the coordinator goes away
		want    string
	}{
		{name: "no worker", want: "the cluster has no workers; start one with: layshaft worker -join"},
		{name: "tag", workers: 1, tags: []string{"gpu"}, want: "no worker has the tag gpu; start one with: layshaft worker -tags gpu"},
		{name: "budget", workers: 1, params: needs{Budget: "pg"}, want: "layshaft task budget pg"},
		{name: "slots", workers: 1, busy: true, want: "all slots are busy"},
		{name: "coordinator", workers: 1, params: needs{Lasts: time.Hour}, away: true, want: "start one there (layshaft coordinator"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := layshafttest.Start(t, tt.workers, layshafttest.QueuedTasks())
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan error, 8)
				run := func(ctx context.Context, target mapreduce.Cluster, in needs) {
					_, err := needy.Collect(ctx, target, in)
					ended <- err
				}
				others := 0
				if tt.busy {
					for others = range 4 {
						target := c.Target()
						target.Priority, target.Err = 5, io.Discard
						go run(ctx, target, needs{Lasts: time.Hour, Number: others + 1})
					}
					others++
					time.Sleep(time.Second)
				}
				var out bytes.Buffer
				target := c.Target()
				target.Err, target.Tags = &out, tt.tags
				within, stop := context.WithTimeout(ctx, 6*time.Second)
				defer stop()
				mine := make(chan error, 1)
				go func() {
					_, err := needy.Collect(within, target, tt.params)
					mine <- err
				}()
				if tt.away {
					time.Sleep(time.Second)
					c.Coordinator().Kill()
				}
				time.Sleep(3 * time.Second)
				synctest.Wait()
				if n := strings.Count(out.String(), tt.want); n != 1 || !strings.Contains(out.String(), "layshaft: waiting: ") {
					t.Errorf("after three seconds %q was printed, want once %q", out.String(), tt.want)
				}
				time.Sleep(4 * time.Second)
				if tt.away {
					c.Coordinator().Restart()
				}
				if err := <-mine; !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("the error is %v, want it to contain %q", err, tt.want)
				}
				if !tt.away { // a short time is enough for the reason
					brief, stop := context.WithTimeout(ctx, 700*time.Millisecond)
					defer stop()
					target.Err = io.Discard
					params := tt.params
					params.Number = 100
					if _, err := needy.Collect(brief, target, params); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), tt.want) {
						t.Errorf("after a short time the error is %v, want it to contain %q", err, tt.want)
					}
				}
				cancel()
				for range others {
					<-ended
				}
			})
		})
	}
}
