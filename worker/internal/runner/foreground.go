package runner

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/job"
)

// Foreground runs one attempt in a program of a person: it has the terminal, no time limit, and is
// never killed. The program may be a debugger that starts the user's program.
type Foreground struct {
	// Command is the program and its arguments.
	Command []string
	// Env are further variables of its environment. It has all variables of this process.
	Env []string
	// Dir is an empty directory for the socket and scratch files.
	Dir string
	// Spec is the job.
	Spec *job.Spec
	// Stdout and Stderr get the output of the program.
	Stdout, Stderr *os.File
}

// forever is the time limit of a connection that waits for a person.
const forever = 1000 * time.Hour

// Run starts the program, runs attempt with the program's code, and waits until the program has
// ended. attempt must not keep the program after its return. Run returns the error of attempt; if
// the program died during the attempt, that is a *job.Failure with the last record.
func (f *Foreground) Run(attempt func(p *job.Program) error) error {
	ln, remove, err := listen(f.Dir)
	if err != nil {
		return err
	}
	defer remove()
	defer ln.Close()
	token := rand.Text()
	cmd := exec.Command(f.Command[0], f.Command[1:]...)
	cmd.Env = append(append(os.Environ(), f.Env...), "GODEBUG=tracebacklabels=1,"+os.Getenv("GODEBUG"), child.ReplayEnv+"=1", child.Env+"="+child.Address(token, ln.Addr().String()))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, f.Stdout, f.Stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("program %s does not start: %w", f.Command[0], err)
	}
	exited := make(chan error, 1)
	go func() {
		exited <- cmd.Wait()
		_ = ln.Close() // the program may have ended before it connected
	}()
	nc, err := accept(ln, token, time.Now().Add(forever))
	if err != nil {
		end := <-exited
		return fmt.Errorf("program %s ended (%s) before it connected: %s", f.Command[0], ended(end), hint)
	}
	err = f.serve(nc, attempt)
	end := <-exited
	var died *job.Failure
	if errors.As(err, &died) && died.Crashed {
		died.Message = "the process ended with " + ended(end)
	}
	return err
}

// ended describes the end of a process.
func ended(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// serve runs the attempt over the connection of the program, and closes the connection.
func (f *Foreground) serve(nc net.Conn, attempt func(p *job.Program) error) error {
	conn, err := child.NewConn(nc)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Load(context.Background(), f.Spec); err != nil {
		return err
	}
	if !conn.Replays() {
		return fmt.Errorf("program %s does not support replays, so its sinks would write: build it with this version of Layshaft, and let it keep the variable %s", f.Command[0], child.ReplayEnv)
	}
	p := &job.Program{Tolerates: conn.Tolerates()}
	for range f.Spec.Stages {
		p.Stages = append(p.Stages, func(ctx context.Context, run *job.Run) error { return f.stage(ctx, conn, run) })
	}
	return attempt(p)
}

// stage runs the attempt. The error of a program that died has the record at hand.
func (f *Foreground) stage(ctx context.Context, conn *child.Conn, run *job.Run) error {
	scratch, err := os.MkdirTemp(f.Dir, "attempt-")
	if err != nil {
		return err
	}
	mark, err := child.NewMark(scratch)
	if err != nil {
		return err
	}
	defer mark.Close()
	err = conn.Run(ctx, child.Call{Run: run, Scratch: scratch, Grace: forever, Stuck: func() {}})
	if !errors.Is(err, child.ErrGone) {
		return err
	}
	died := &job.Failure{Kind: job.Transient, Crashed: true, Message: err.Error()}
	died.Number, died.Record = mark.Record()
	return died
}
