// Command ledger is a task worker that appends one line per execution to a file.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/layshaft/layshaft/tasks"
)

func main() {
	log.SetFlags(0)
	cluster := tasks.Flags(flag.CommandLine)
	path := flag.String("ledger", "", "append executions to `FILE`")
	flag.Parse()
	cluster.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	f, err := os.OpenFile(*path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		log.Fatal("ledger: ", err)
	}
	w := tasks.NewWorker(*cluster)
	w.Concurrency = 4
	tasks.Handle(w, "count", func(ctx context.Context, in []byte) ([]byte, error) {
		h := fnv.New32()
		_, _ = h.Write(in) // it never fails
		// A Gearman job ends with its first failure.
		if h.Sum32()%10 == 0 && tasks.Attempt(ctx) == 1 && !bytes.HasPrefix(in, []byte("gearman-")) {
			return nil, errors.New("the first attempt fails")
		}
		select { // up to 32 ms, so that faults meet running attempts
		case <-time.After(time.Duration(h.Sum32()%33) * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		_, err := fmt.Fprintf(f, "%s %s\n", in, tasks.TaskID(ctx)) // one write: lines of processes stay whole
		return in, err
	})
	tasks.Handle(w, "square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	tasks.Handle(w, "sum", func(_ context.Context, in []int) (sum int, _ error) {
		for _, n := range in {
			sum += n
		}
		return sum, nil
	})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := w.Run(ctx); err != nil {
		log.Fatal("ledger: ", err)
	}
}
