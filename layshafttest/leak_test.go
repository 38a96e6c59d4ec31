package layshafttest

import (
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// After 200 jobs no more goroutines are there than after a few.
func TestNoLeaks(t *testing.T) {
	jobs := 200
	if testing.Short() {
		jobs = 20
	}
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 3, Memory(8<<20))
		after := func(jobs int) map[string]int {
			for range jobs {
				work(t, c, sums, numbers{N: 12, Splits: 3, Groups: 2})
			}
			time.Sleep(time.Minute) // connections that nobody uses are closed
			synctest.Wait()
			return bubbleGoroutines()
		}
		before := after(10)
		now := after(jobs)
		if total(now) > total(before) {
			t.Errorf("%d goroutines after 10 jobs, %d after %d more", total(before), total(now), jobs)
		}
		for start, n := range now {
			if t.Failed() && n > before[start] {
				t.Logf("%d, then %d created by %s", before[start], n, start)
			}
		}
	})
}

func total(started map[string]int) (n int) {
	for _, count := range started {
		n += count
	}
	return n
}

// bubbleGoroutines returns how many goroutines of synctest bubbles each go statement started. The
// goroutines outside are left out: the runtime starts and counts some of its own at any time.
func bubbleGoroutines() map[string]int {
	stacks := make([]byte, 1<<20)
	for {
		n := runtime.Stack(stacks, true)
		if n < len(stacks) {
			stacks = stacks[:n]
			break
		}
		stacks = make([]byte, 2*len(stacks))
	}
	started := map[string]int{}
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		state, _, _ := strings.Cut(stack, "\n")
		if !strings.Contains(state, "synctest bubble") {
			continue
		}
		_, start, _ := strings.Cut(stack, "\ncreated by ")
		start, _, _ = strings.Cut(start, " in goroutine ")
		started[start]++
	}
	return started
}
