// Command asynq enqueues tasks of asynq one by one, for bench/cmd/enqueue. It is a module of its
// own, so that the dependencies of asynq stay out of Layshaft.
//
//	asynq REDIS CALLERS DURATION SIZE
//
// It prints the calls per second, and the median and the 99th percentile in microseconds.
package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hibiken/asynq"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "asynq:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("usage: asynq REDIS CALLERS DURATION SIZE")
	}
	callers, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	duration, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	size, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	client := asynq.NewClient(asynq.RedisClientOpt{Addr: args[0], PoolSize: callers})
	defer client.Close()
	task := asynq.NewTask("echo", make([]byte, size))
	for range 100 { // connect, and load the script
		if _, err := client.Enqueue(task); err != nil {
			return err
		}
	}
	took := make([][]time.Duration, callers)
	failed := make([]error, callers)
	var family sync.WaitGroup
	begin := time.Now()
	for i := range callers {
		family.Go(func() {
			for failed[i] == nil && time.Since(begin) < duration {
				start := time.Now()
				_, failed[i] = client.Enqueue(task)
				took[i] = append(took[i], time.Since(start))
			}
		})
	}
	family.Wait()
	elapsed := time.Since(begin)
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	fmt.Println(float64(len(all))/elapsed.Seconds(), all[len(all)/2].Microseconds(), all[len(all)*99/100].Microseconds())
	return nil
}
