package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// killAfter is the time between SIGTERM and SIGKILL for a command.
	killAfter = 10 * time.Second
	// killLast is the same time when the worker itself ends.
	killLast = 500 * time.Millisecond
	// linger is how long to wait for more output after a command has exited, if one of its
	// children still holds its pipes.
	linger = time.Second
)

// execute runs a command as a process group until it has exited and its output has ended. When
// ctx ends, the group gets SIGTERM. It gets SIGKILL when the command and its output have ended,
// after killAfter, or soon after ending is closed. If a command exits by itself, the rest of its
// group keeps running.
func execute(ctx context.Context, cmd *exec.Cmd, stdout, stderr io.Writer, ending <-chan struct{}) error {
	runtime.LockOSThread() // Linux kills the command when its starting thread ends, so keep the thread
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = groupOfItsOwn()
	cmd.WaitDelay = linger // for input that nobody reads
	out, outW, err := newOutput(stdout)
	if err != nil {
		return err
	}
	warn, warnW, err := newOutput(stderr)
	if err != nil {
		return errors.Join(err, out.r.Close(), outW.Close())
	}
	cmd.Stdout, cmd.Stderr = outW, warnW
	err = cmd.Start()
	_, _ = outW.Close(), warnW.Close()
	if err != nil {
		_, _ = out.r.Close(), warn.r.Close()
		return err
	}
	var copies sync.WaitGroup
	copies.Go(out.copy)
	copies.Go(warn.copy)
	silent, ended, killed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() { copies.Wait(); close(silent) }()
	stop := context.AfterFunc(ctx, func() {
		terminateGroup(cmd.Process)
		waitGrace(ended, ending)
		killGroup(cmd.Process)
		close(killed)
	})
	if err = cmd.Wait(); errors.Is(err, exec.ErrWaitDelay) { // exit code 0
		err = nil
	}
	select {
	case <-silent:
	case <-time.After(linger):
	case <-ctx.Done():
		select {
		case <-silent:
		case <-killed:
		}
	}
	out.stop()
	warn.stop()
	<-silent
	close(ended)
	if !stop() {
		<-killed
	}
	return err
}

// waitGrace waits as long as a stopped command may still run.
func waitGrace(ended, ending <-chan struct{}) {
	t := time.NewTimer(killAfter)
	defer t.Stop()
	select {
	case <-ended:
		return
	case <-t.C:
		return
	case <-ending:
	}
	t.Reset(killLast)
	select {
	case <-ended:
	case <-t.C:
	}
}

// endingAfter returns a channel that is closed d after ctx has ended.
func endingAfter(ctx context.Context, d time.Duration) <-chan struct{} {
	ending := make(chan struct{})
	context.AfterFunc(ctx, func() { time.AfterFunc(d, func() { close(ending) }) })
	return ending
}

// output copies the output of a command.
type output struct {
	r       *os.File
	to      io.Writer
	stopped atomic.Bool // no more output comes after the pipe is empty
}

func newOutput(to io.Writer) (*output, *os.File, error) {
	r, w, err := os.Pipe()
	return &output{r: r, to: to}, w, err
}

// maxPipe is the largest pipe buffer in bytes that Linux allows without privileges.
const maxPipe = 1 << 20

// copy copies until every process has closed the pipe, or until stop and the pipe is empty.
func (o *output) copy() {
	defer o.r.Close()
	b := make([]byte, 32<<10)
	for left := maxPipe; left > 0; {
		stopped := o.stopped.Load()
		if stopped {
			_ = o.r.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		}
		n, err := o.r.Read(b)
		if n > 0 {
			if _, err := o.to.Write(b[:n]); err != nil {
				return // the attempt has ended
			}
		}
		if stopped {
			left -= n
		} else if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return
		}
	}
}

// stop ends the wait for more output.
func (o *output) stop() {
	_ = o.r.SetReadDeadline(time.Now())
	o.stopped.Store(true) // after the deadline: copy, once it sees this, sets a deadline that must stay
}
