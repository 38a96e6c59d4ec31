// Command probe is a worker with functions for tests.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/layshaft/layshaft/tasks"
)

func main() {
	log.SetFlags(0)
	w := tasks.NewWorker(tasks.Cluster{})
	cluster := tasks.Flags(flag.CommandLine)
	file := flag.String("record", "", "append a line to `FILE` for each call of record and tally")
	healed := flag.String("healed", "", "raise no more once `FILE` is there")
	flag.IntVar(&w.Concurrency, "concurrency", 1, "")
	flag.IntVar(&w.Reserved, "reserved", 0, "")
	flag.IntVar(&w.MaxTasks, "max-tasks", 0, "")
	flag.DurationVar(&w.IdleExit, "idle-exit", 0, "")
	join := flag.String("join", "", "gossip address of a member")
	flag.Parse()
	if *join != "" {
		w.Gossip.Join = []string{*join}
	}
	cluster.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(w, *cluster, *file, *healed); err != nil {
		log.Fatal(err)
	}
}

// run applies the cluster to w, the worker of the flags, and runs it until SIGTERM.
func run(flags *tasks.Worker, cluster tasks.Cluster, file, healed string) error {
	w := tasks.NewWorker(cluster)
	w.Concurrency, w.Reserved, w.MaxTasks, w.IdleExit = flags.Concurrency, flags.Reserved, flags.MaxTasks, flags.IdleExit
	w.Gossip = flags.Gossip
	w.Hooks = tasks.Hooks{ // one write each: lines stay whole
		Retry:  func(e tasks.Event) { fmt.Printf("retry %d %v\n", e.Attempt, e.Err) },
		Failed: func(e tasks.Event) { fmt.Printf("failed %d %v\n", e.Attempt, e.Err) },
	}
	record := func(string) error { return nil }
	if file != "" {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		record = func(line string) error {
			_, err := f.WriteString(line + "\n") // one write: lines of many processes stay whole
			return err
		}
	}
	var started atomic.Int64
	tasks.Handle(w, "order", func(context.Context, string) (int64, error) { return started.Add(1), nil })
	tasks.Handle(w, "echo", func(_ context.Context, in []byte) ([]byte, error) { return in, nil })
	tasks.Handle(w, "download", func(ctx context.Context, ms int) (int64, error) { return time.Now().UnixNano(), rest(ctx, ms) })
	tasks.Handle(w, "index", func(context.Context, int) (int64, error) { return time.Now().UnixNano(), nil })
	tasks.Handle(w, "chunks", chunks)
	tasks.Handle(w, "flood", flood)
	tasks.Handle(w, "raise", func(ctx context.Context, _ string) (string, error) {
		if _, err := os.Stat(healed); err == nil {
			return "healed", nil
		}
		return "", fmt.Errorf("database is down (%d)", tasks.Attempt(ctx))
	})
	tasks.Handle(w, "exit", func(ctx context.Context, bad bool) (int, error) {
		if err := rest(ctx, 50); bad || err != nil { // time for others to begin
			os.Exit(9)
		}
		return tasks.Attempt(ctx), nil
	})
	tasks.Handle(w, "record", func(ctx context.Context, in string) (string, error) {
		return in, record("record " + in + " " + tasks.TaskID(ctx).String())
	})
	tasks.Handle(w, "tally", func(ctx context.Context, in string) (string, error) {
		return in, record("tally " + in + " " + tasks.TaskID(ctx).String())
	})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return w.Run(ctx)
}

// rest waits, to simulate work.
func rest(ctx context.Context, ms int) error {
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// chunks sends five chunks with the time, at an interval of ms milliseconds. The first attempt
// fails halfway.
func chunks(ctx context.Context, ms int) (string, error) {
	for i := range 5 {
		if err := rest(ctx, ms); err != nil {
			return "", err
		}
		if tasks.Attempt(ctx) == 1 && i == 2 {
			return "", errors.New("half way")
		}
		if err := errors.Join(tasks.Send(ctx, []int64{int64(i), time.Now().UnixNano()}), tasks.Progress(ctx, uint64(i+1), 5)); err != nil {
			return "", err
		}
	}
	return "EOD", nil
}

// flood sends n megabytes, numbered.
func flood(ctx context.Context, n int) (string, error) {
	chunk := make([]byte, 1<<20)
	for i := range n {
		binary.LittleEndian.PutUint64(chunk, uint64(i))
		if err := tasks.Send(ctx, chunk); err != nil {
			return "", err
		}
	}
	return "EOD", nil
}
