//go:build unix

package tasks

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/tasks"
)

// BenchmarkMillion queues a million durable tasks of 128 bytes, kills the coordinator, and starts
// it again. It reports what the coordinator has in memory then and at the most, how long the
// submits and the restart took, and how fast they are done:
//
//	go test ./e2e/tasks -run '^$' -bench Million -benchtime 1x
func BenchmarkMillion(b *testing.B) {
	const n, batch = 1_000_000, 10_000
	for range b.N {
		c := newCluster(b)
		if err := c.Pause(within(b), "echo"); err != nil {
			b.Fatal(err)
		}
		inputs := make([][]byte, batch)
		begin := time.Now()
		for i := range n {
			in := make([]byte, 128)
			copy(in, strconv.Itoa(i))
			if inputs[i%batch] = in; i%batch < batch-1 {
				continue
			}
			if _, err := tasks.EnqueueAll(within(b), c.Client, "echo", inputs, tasks.Keep(0)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(n/time.Since(begin).Seconds(), "submits/s")
		settled(b, c.coordinator)
		b.ReportMetric(memory(b, c.coordinator, "VmRSS"), "MiB-loaded")
		b.ReportMetric(memory(b, c.coordinator, "RssAnon"), "MiB-anonymous")
		b.ReportMetric(memory(b, c.coordinator, "VmHWM"), "MiB-most")

		c.coordinator.Kill()
		begin = time.Now()
		c.start(b)
		c.await(b, "all to be there again", func(o tasks.Overview) bool { return function(o, "echo").Counts.Waiting == n })
		b.ReportMetric(time.Since(begin).Seconds(), "s-restart")
		settled(b, c.coordinator)
		b.ReportMetric(memory(b, c.coordinator, "VmRSS"), "MiB-restarted")
		b.ReportMetric(0, "ns/op")
	}
}

// memory returns a line of the memory of a process, in MiB.
func memory(t testing.TB, p *process, line string) float64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	if err != nil {
		t.Skipf("the memory of a process is read from /proc: %v", err)
	}
	_, rest, ok := strings.Cut(string(b), "\n"+line+":")
	f := strings.Fields(rest)
	if !ok || len(f) == 0 {
		t.Fatalf("/proc has no %s", line)
	}
	kb, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return float64(kb) / 1024
}

// settled waits until the memory of a process has not changed for longer than it keeps what it may
// need again.
func settled(t testing.TB, p *process) {
	t.Helper()
	was, since := 0.0, time.Now()
	for begin := time.Now(); time.Since(since) < 22*time.Second && time.Since(begin) < 2*patience; time.Sleep(time.Second) {
		if now := memory(t, p, "VmRSS"); now < was-1 || now > was+1 {
			was, since = now, time.Now()
		}
	}
}
