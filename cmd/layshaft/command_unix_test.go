//go:build unix

package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long tests wait for an event.
const patience = time.Minute

// holders returns a FIFO, and channels that are closed when it has been opened for writing, and
// when its last writer has closed it.
func holders(t *testing.T) (path string, some, none <-chan struct{}) {
	path = filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	opened, ended := make(chan struct{}), make(chan struct{})
	go func() {
		f, err := os.Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		close(opened)
		_, _ = io.Copy(io.Discard, f)
		close(ended)
	}()
	return path, opened, ended
}

func wait(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("no sign of %s", what)
	}
}

// A command that is to end takes with it what it started.
func TestCommandEndsWithItsGroup(t *testing.T) {
	always := make(chan struct{})
	close(always)
	for _, tt := range []struct {
		name, script string
		ending       <-chan struct{}
		want         string
	}{
		{"as told", `sleep 1000 >"$0" & wait`, nil, "terminated"},
		{"deaf, at the end of the worker", `trap "" TERM; sleep 1000 >"$0" & wait`, always, "killed"},
		{"outlives the command", `(trap "" TERM; exec sleep 1000 >"$0") 2>/dev/null & wait`, nil, "terminated"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			fifo, some, none := holders(t)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			p := program{command: []string{"sh", "-c", tt.script, fifo}, ending: tt.ending}
			ended := make(chan error, 1)
			go func() {
				_, err := p.run(ctx, nil)
				ended <- err
			}()
			wait(t, "the command", some)
			cancel()
			if err := <-ended; err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
			wait(t, "the end of what it started", none)
		})
	}
}

// A command dies with its worker, however that ends.
func TestCommandDiesWithItsWorker(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells a process of the end of another")
	}
	fifo, some, none := holders(t)
	owner := exec.Command(os.Args[0])
	owner.Env = append(os.Environ(), ownerOf+"="+fifo)
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	wait(t, "the command", some)
	_ = owner.Process.Kill()
	_ = owner.Wait()
	wait(t, "its end", none)
}

// Exit code 0 means done, whoever else has the pipes; what was written until then is the result,
// all of it.
func TestCommandLeavesOthersBehind(t *testing.T) {
	t.Parallel()
	p := program{command: []string{"sh", "-c", "sleep 20 & head -c 60000 /dev/zero; echo started"}}
	begun := time.Now()
	out, err := p.run(context.Background(), make([]byte, 1<<20))
	if len(out) != 60008 || !strings.HasSuffix(string(out), "started\n") || err != nil {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("the slot was busy for %v, as long as what was left behind", took)
	}
}

// What lies in the pipe when a command has exited is read however slow the reader is.
func TestSlowReaderOfCommand(t *testing.T) {
	t.Parallel()
	slow := &slowWriter{open: make(chan struct{})}
	time.AfterFunc(linger+100*time.Millisecond, func() { close(slow.open) })
	err := execute(context.Background(), exec.Command("sh", "-c", "sleep 20 & head -c 60000 /dev/zero"), slow, io.Discard, nil)
	if err != nil || slow.n != 60000 {
		t.Errorf("%d bytes, %v, want 60000", slow.n, err)
	}
}

// slowWriter takes nothing until it is open.
type slowWriter struct {
	open chan struct{}
	n    int
}

func (w *slowWriter) Write(b []byte) (int, error) {
	<-w.open
	w.n += len(b)
	return len(b), nil
}

// A result that is too large is not kept in memory, and fails the task for good.
func TestTooLargeOutput(t *testing.T) {
	t.Parallel()
	p := program{command: []string{"head", "-c", "70000000", "/dev/zero"}}
	out, err := p.run(context.Background(), nil)
	if out != nil || err == nil || !strings.Contains(err.Error(), "a result of 70000000 bytes is over the limit of 67108864") {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}
