//go:build unix

package mapreduce_test

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
)

// TestInterrupt sends SIGINT to a program whose context has no end. Main makes the run end in order.
func TestInterrupt(t *testing.T) {
	if signal.Ignored(os.Interrupt) {
		t.Skip("this process was started with interrupts ignored, as the background jobs of a shell are")
	}
	defer mapreduce.CatchInterrupts()()
	d := mapreduce.Define("interrupted", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[int64] {
		return mapreduce.TryMap(mapreduce.Read(p, upTo(1)), func(ctx context.Context, i int64) (int64, error) {
			if err := syscall.Kill(syscall.Getpid(), syscall.SIGINT); err != nil {
				t.Error(err)
			}
			<-ctx.Done()
			return i, ctx.Err()
		})
	})
	if _, err := d.Collect(context.Background(), mapreduce.Local{Slots: 1}, none{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want an interrupt", err)
	}
}
