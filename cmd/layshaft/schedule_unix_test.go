//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// TestParallelSchedules runs one program for several schedules at once. Each run gets its own
// arguments and environment, and the environment of the next run has nothing of an earlier one.
func TestParallelSchedules(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	p := program{function: "program/sh", env: append(make([]string, 0, 8), "A=1")}
	handle := p.runScheduled(sh)
	run := func(name string) {
		in, err := json.Marshal(scheduledProgram{Schedule: name, Time: time.Unix(0, 0).UTC(),
			Args: []string{"sh", "-c", `echo "$0 $LAYSHAFT_SCHEDULE $(env | grep -c '^LAYSHAFT_SCHEDULE')"`, name}})
		if err != nil {
			t.Error(err)
			return
		}
		out, err := handle(t.Context(), in)
		if want := name + " " + name + " 2\n"; err != nil || string(out) != want {
			t.Errorf("schedule %s printed %q, %v; want %q", name, out, err, want)
		}
	}
	var all sync.WaitGroup
	for n := range 16 {
		all.Go(func() { run(fmt.Sprint("s", n)) })
	}
	all.Wait()
}
