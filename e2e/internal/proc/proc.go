//go:build unix

// Package proc runs programs for end-to-end tests: it starts, signals and kills them, and reads
// their output.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a program that runs, or ran.
type Process struct {
	Name  string        // name in messages of the test
	Cmd   *exec.Cmd     // the started command
	Out   Output        // standard output
	Err   Output        // standard error
	Ended chan struct{} // closed after the end

	patience time.Duration
}

// Output is what a process has printed so far.
type Output struct {
	// mu guards the fields below.
	mu    sync.Mutex
	lines []string
	rest  []byte        // the line without its end
	more  chan struct{} // closed and replaced when there is more; nil when nobody waits
}

// Write appends b.
func (o *Output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rest = append(o.rest, b...)
	for {
		i := bytes.IndexByte(o.rest, '\n')
		if i < 0 {
			break
		}
		o.lines = append(o.lines, string(o.rest[:i]))
		o.rest = o.rest[i+1:]
	}
	if o.more != nil {
		close(o.more)
		o.more = nil
	}
	return len(b), nil
}

// String returns everything.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.lines) == 0 {
		return string(o.rest)
	}
	return strings.Join(o.lines, "\n") + "\n" + string(o.rest)
}

// Lines returns the whole lines, from number from on, and a channel that is closed when there is
// more.
func (o *Output) Lines(from int) ([]string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.more == nil {
		o.more = make(chan struct{})
	}
	return o.lines[min(from, len(o.lines)):len(o.lines):len(o.lines)], o.more
}

// Start starts a program. It does not outlive the test. Its output is shown when the test fails.
// patience is how long an event may take that should come at once.
func Start(t testing.TB, patience time.Duration, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	p, err := Launch(patience, name, cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			const shown = 120
			all, _ := p.Err.Lines(0)
			t.Logf("---- %s (pid %d, %v), the last %d of %d lines:\n%s\n%s", name, cmd.Process.Pid, cmd.ProcessState,
				min(shown, len(all)), len(all), strings.Join(all[max(0, len(all)-shown):], "\n"), p.Out.String())
		}
	})
	return p
}

// Launch starts a program for a caller that ends it. Out and Err stay empty if cmd has other
// places for its output.
func Launch(patience time.Duration, name string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{Name: name, Cmd: cmd, Ended: make(chan struct{}), patience: patience}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.Out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.Err
	}
	cmd.WaitDelay = time.Second // a grandchild may hold the pipe a moment longer
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait()
		close(p.Ended)
	}()
	return p, nil
}

// Signal sends a signal, unless the process has ended.
func (p *Process) Signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := p.Cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Signal(syscall.SIGKILL) // it may have ended
	<-p.Ended
}

// Wait waits for the end of the process and returns its exit code.
func (p *Process) Wait(t testing.TB) int {
	t.Helper()
	return p.WaitFor(t, p.patience)
}

// WaitFor is Wait with a limit of its own.
func (p *Process) WaitFor(t testing.TB, limit time.Duration) int {
	t.Helper()
	select {
	case <-p.Ended:
	case <-time.After(limit):
		t.Fatalf("%s did not end in %v", p.Name, limit)
	}
	return p.Cmd.ProcessState.ExitCode()
}

// IsAlive reports whether the process runs.
func (p *Process) IsAlive() bool {
	select {
	case <-p.Ended:
		return false
	default:
		return true
	}
}

// Await waits for a line of standard error with all texts, from line number from on. It returns the
// line and the number of the next one.
func (p *Process) Await(t testing.TB, from int, texts ...string) (string, int) {
	t.Helper()
	return p.await(t, from, texts, func(line string) bool { return hasAll(line, texts) })
}

// AwaitMatch waits for a line of standard error that matches a regular expression, and returns the
// last submatch.
func (p *Process) AwaitMatch(t testing.TB, expression string) string {
	t.Helper()
	re := regexp.MustCompile(expression)
	line, _ := p.await(t, 0, expression, re.MatchString)
	m := re.FindStringSubmatch(line)
	return m[len(m)-1]
}

func (p *Process) await(t testing.TB, from int, what any, fits func(line string) bool) (string, int) {
	t.Helper()
	late := time.After(p.patience)
	for {
		ended := !p.IsAlive()
		lines, more := p.Err.Lines(from)
		for i, l := range lines {
			if fits(l) {
				return l, from + i + 1
			}
		}
		if from += len(lines); ended {
			t.Fatalf("%s ended without a line with %q", p.Name, what)
		}
		select {
		case <-more:
		case <-p.Ended:
		case <-late:
			t.Fatalf("%s printed no line with %q in %v", p.Name, what, p.patience)
		}
	}
}

// Line returns the number of the next line of standard error.
func (p *Process) Line() int {
	lines, _ := p.Err.Lines(0)
	return len(lines)
}

// Count returns how many lines of standard error have all texts.
func (p *Process) Count(texts ...string) (n int) {
	lines, _ := p.Err.Lines(0)
	for _, l := range lines {
		if hasAll(l, texts) {
			n++
		}
	}
	return n
}

func hasAll(line string, texts []string) bool {
	for _, s := range texts {
		if !strings.Contains(line, s) {
			return false
		}
	}
	return true
}

// Children returns the processes that the process has started and that live. It skips the test
// where they cannot be listed.
func (p *Process) Children(t testing.TB) []int {
	t.Helper()
	pids, err := p.ListChildren()
	if err != nil {
		t.Skipf("children of %s cannot be listed here: %v", p.Name, err)
	}
	return pids
}

// ListChildren is Children for a process that may have ended.
func (p *Process) ListChildren() (pids []int, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.Cmd.Process.Pid))
	if err != nil || len(tasks) == 0 {
		return nil, errors.Join(err, errors.New("no files children in /proc"))
	}
	for _, path := range tasks {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // that thread has ended
		}
		for _, word := range strings.Fields(string(b)) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
