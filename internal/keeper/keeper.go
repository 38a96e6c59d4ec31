// Package keeper ends everything that a process has started when that process ends, also by
// kill -9. Linux can tell a child of the end of its parent, but not the child's own children.
//
// A process that starts commands calls Start, and puts Env into the environment of each command.
// Start runs the same program once more, as the keeper. The keeper waits for the end of the
// process. Then it kills all processes that have Env in their environment: commands, what they have
// started, and daemons among them.
//
// Only Linux shows the environment of processes. Elsewhere this package does nothing.
package keeper

import (
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"time"
)

const (
	// keeperEnv makes a program a keeper; its value is the mark of the processes to kill.
	keeperEnv = "LAYSHAFT_KEEPER"
	// markEnv is in the environment of all processes to kill.
	markEnv = "LAYSHAFT_KEPT"
)

var mark atomic.Pointer[string]

// Main runs the keeper if Start has started this process as one. It must be the first call of a
// program that calls Start. It returns in all other processes.
func Main() {
	if m := os.Getenv(keeperEnv); m != "" {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the process that called Start
		killAll(markEnv + "=" + m)
		os.Exit(0)
	}
}

// Env returns the environment for commands; nothing before Start.
func Env() []string {
	if m := mark.Load(); m != nil {
		return []string{markEnv + "=" + *m}
	}
	return nil
}

// restartAfter is the pause before a keeper that was killed is replaced.
const restartAfter = time.Second

// Start starts the keeper of this process. A keeper that ends is replaced.
func Start() error {
	if !supported {
		return nil
	}
	m := rand.Text()
	ended, err := run(m)
	if err != nil {
		return err
	}
	mark.Store(&m)
	go func() { // lives as long as the process
		for {
			if ended != nil {
				<-ended
			}
			time.Sleep(restartAfter)
			ended, _ = run(m)
		}
	}()
	return nil
}

// run starts a keeper. ended is closed when it has ended.
func run(m string) (ended chan struct{}, err error) {
	cmd := exec.Command(self)
	cmd.Env = []string{keeperEnv + "=" + m}
	cmd.SysProcAttr = ownSession()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
		_ = in.Close() // stays open until here
	}()
	return ended, nil
}
