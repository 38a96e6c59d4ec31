package runner

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/keeper"
	"github.com/layshaft/layshaft/internal/machine"
)

const (
	// maxSocket is the maximum length of a socket's path in bytes. Kernels have a limit close to
	// it.
	maxSocket = 100
	// dumpTime is the time given to a child to print its stacks before it is killed.
	dumpTime = 2 * time.Second
	// lingerTime is the time given to a child to exit after it closed its connection. The runner
	// also waits this long for the last output of a dead child.
	lingerTime  = 500 * time.Millisecond
	memoryEvery = 250 * time.Millisecond // interval between two samples of a child's memory
	maxCurve    = 480                    // samples that are kept: two minutes
)

// process is one child, from its start until its processes, socket and files are removed.
type process struct {
	code *code
	dir  string
	out  *output
	// ready is closed when the child has accepted or refused the job.
	ready  chan struct{}
	exited chan struct{} // closed when the process is gone
	done   chan struct{} // closed when its files are removed

	conn    *child.Conn // set before ready is closed
	refused error       // set before ready is closed
	err     error       // how the process ended; set before exited is closed
	proc    atomic.Pointer[os.Process]
	memory  atomic.Int64     // highest memory seen, in bytes
	kills   machine.Kills    // before its start
	state   *os.ProcessState // set before exited is closed; nil if it did not start

	// mu guards the fields below.
	mu         sync.Mutex
	killReason error  // reason for killing it; nil if it was not killed
	culprit    string // the attempt that caused the kill; may be empty
	running    map[job.Attempt]bool
	victims    int // number of attempts running at its death
	// curve has the memory of the child in the last minutes, in bytes, at intervals of memoryEvery.
	curve []int64
}

// newProcess starts a child in the background. The child exits by itself or is killed by end.
func newProcess(c *code) *process {
	p := &process{code: c, out: &output{limit: c.r.cfg.StderrLimit, log: c.r.cfg.Log.With("job", c.id)},
		ready: make(chan struct{}), exited: make(chan struct{}), done: make(chan struct{}), running: make(map[job.Attempt]bool)}
	p.out.running = p.attempts
	if to := c.r.cfg.Lines; to != nil {
		p.out.lines = func(l Line) { to(c.id, l) }
	}
	var dirErr error
	p.dir, dirErr = os.MkdirTemp(c.r.cfg.Dir, "child-")
	go func() {
		defer close(p.done)
		defer os.RemoveAll(p.dir)
		if err := dirErr; err != nil {
			p.err = err
		} else {
			p.run()
		}
		p.mu.Lock()
		why := p.killReason
		p.mu.Unlock()
		var asked *job.Failure
		if errors.As(why, &asked) {
			p.out.log.Debug("child ended", "why", asked.Message)
		} else {
			p.out.log.Warn("child died", "err", cmp.Or(why, p.err))
		}
	}()
	return p
}

// run starts the child and blocks until it is dead. It sets p.err and closes p.exited.
func (p *process) run() {
	ln, remove, err := listen(p.dir)
	if err != nil {
		p.err = err
		close(p.exited)
		return
	}
	defer remove()
	defer ln.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		p.err = err
		close(p.exited)
		return
	}
	defer outR.Close()
	// Linux kills the child when the thread that started it ends, so keep this thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	token := rand.Text()
	p.kills = machine.ReadKills()
	cmd, err := p.start(child.Address(token, ln.Addr().String()), outW)
	_ = outW.Close()
	if err != nil {
		p.err = &startError{err}
		close(p.exited)
		return
	}
	preferForKill(cmd.Process.Pid)
	p.proc.Store(cmd.Process)
	p.mu.Lock()
	if p.killReason != nil { // end was called before p.proc was set
		kill(cmd.Process)
	}
	p.mu.Unlock()
	var group sync.WaitGroup
	group.Go(func() { p.out.read(outR) })
	group.Go(func() { p.connect(ln, token) })
	group.Go(p.watchMemory)
	p.err = cmd.Wait()
	p.state = cmd.ProcessState
	p.memory.Store(max(p.memory.Load(), peakOf(p.state)))
	p.mu.Lock()
	p.victims = len(p.running)
	p.mu.Unlock()
	close(p.exited)
	kill(cmd.Process) // processes left running by the child
	_ = ln.Close()
	_ = outR.SetReadDeadline(time.Now().Add(lingerTime))
	group.Wait()
}

// start starts the program. It retries ETXTBSY for about a second: a program file written a moment
// ago may still be open for writing in a process between its fork and its exec.
func (p *process) start(address string, out *os.File) (*exec.Cmd, error) {
	for wait := 10 * time.Millisecond; ; wait *= 2 {
		cmd := exec.Command(p.code.path)
		cmd.Dir, cmd.Env, cmd.SysProcAttr = p.dir, p.environment(address), attributes()
		cmd.Stdout, cmd.Stderr = out, out
		err := cmd.Start()
		if !errors.Is(err, syscall.ETXTBSY) || wait > time.Second {
			return cmd, err
		}
		time.Sleep(wait)
	}
}

// listen creates a Unix socket in dir or, if its path is too long, in a new temporary directory.
// Only the current user can reach it. remove deletes the temporary directory.
func listen(dir string) (ln net.Listener, remove func(), err error) {
	remove = func() {}
	path := filepath.Join(dir, "socket")
	if len(path) > maxSocket {
		if dir, err = os.MkdirTemp("", "layshaft-"); err != nil {
			return nil, nil, err
		}
		remove = func() { _ = os.RemoveAll(dir) }
		path = filepath.Join(dir, "socket")
	}
	if ln, err = net.Listen("unix", path); err != nil {
		remove()
		return nil, nil, fmt.Errorf("socket for a child process: %w; set TMPDIR to a shorter path", err)
	}
	return ln, remove, nil
}

func (p *process) environment(address string) []string {
	env := child.Environment(p.code.r.cfg.Env)
	debug := "GODEBUG=tracebacklabels=1" // makes a crash name the attempt
	if old := os.Getenv("GODEBUG"); old != "" {
		debug += "," + old
	}
	env = append(env, debug)
	env = append(env, keeper.Env()...)
	return append(append(env, p.code.env...), child.Env+"="+address)
}

// connect accepts the child's connection and sends it the job, both within Config.Connect. Then it
// waits for the end of the child and closes the connection.
func (p *process) connect(ln net.Listener, token string) {
	deadline := time.Now().Add(p.code.r.cfg.Connect)
	_ = ln.(*net.UnixListener).SetDeadline(deadline)
	nc, err := accept(ln, token, deadline)
	if err == nil {
		_ = ln.Close()
		p.conn, err = child.NewConn(nc)
	}
	if err != nil {
		p.end(errSilent)
		return
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	err = p.conn.Load(ctx, p.code.spec)
	cancel()
	if errors.Is(err, child.ErrGone) {
		p.awaitExit(errSilent)
	} else {
		if p.refused = err; err != nil {
			p.end(err)
		}
		close(p.ready)
	}
	<-p.exited
	_ = p.conn.Close()
}

// errSilent is the reason for killing a child not ready within Config.Connect.
var errSilent = errors.New("the program did not connect to its worker in time")

// accept returns the first connection that starts with the token, and closes all others. The token
// keeps foreign processes out.
func accept(ln net.Listener, token string, deadline time.Time) (net.Conn, error) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return nil, err
		}
		got := make([]byte, len(token))
		_ = nc.SetReadDeadline(deadline)
		if _, err = io.ReadFull(nc, got); err == nil && subtle.ConstantTimeCompare(got, []byte(token)) == 1 {
			return nc, nc.SetReadDeadline(time.Time{})
		}
		_ = nc.Close()
	}
}

// watchMemory samples the child's memory until its death, because it cannot be read afterwards.
func (p *process) watchMemory() {
	t := time.NewTicker(memoryEvery)
	defer t.Stop()
	for {
		select {
		case <-p.exited:
			return
		case <-t.C:
			now, peak := memoryOf(p.proc.Load().Pid)
			if peak == 0 {
				continue
			}
			p.memory.Store(peak)
			p.mu.Lock()
			if p.curve = append(p.curve, now); len(p.curve) > 2*maxCurve {
				p.curve = append(p.curve[:0], p.curve[len(p.curve)-maxCurve:]...)
			}
			p.mu.Unlock()
		}
	}
}

// isDying reports whether the child must get no more attempts.
func (p *process) isDying() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.exited:
		return true
	default:
		return p.killReason != nil
	}
}

// end kills the child for the given reason. It keeps only the first reason.
func (p *process) end(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.exited:
		return
	default:
	}
	if p.killReason == nil {
		p.killReason = why
	}
	if proc := p.proc.Load(); proc != nil {
		kill(proc)
	}
}

// awaitExit waits for a child to exit after it closed its connection, and kills it after
// lingerTime.
func (p *process) awaitExit(why error) {
	t := time.NewTimer(lingerTime)
	defer t.Stop()
	select {
	case <-p.exited:
	case <-t.C:
		p.end(why)
	}
}

// killStuck kills the child because the user code of attempt a ignores its cancelled context.
// Before, it makes the child print its stacks.
func (p *process) killStuck(a job.Attempt) {
	p.mu.Lock()
	if p.killReason == nil {
		p.killReason, p.culprit = fmt.Errorf("user code of attempt %s ignored the end of its context", a), a.String()
	}
	p.mu.Unlock()
	dump(p.proc.Load())
	t := time.NewTimer(dumpTime)
	defer t.Stop()
	select {
	case <-p.exited:
	case <-t.C:
		p.end(errors.New("did not exit"))
	}
}

func (p *process) enter(a job.Attempt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running[a] = true
}

func (p *process) leave(a job.Attempt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.running, a)
}

// attempts returns the running attempts.
func (p *process) attempts() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for a := range p.running {
		all = append(all, a.String())
	}
	slices.Sort(all)
	return all
}
