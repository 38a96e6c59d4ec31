//go:build unix

// Package cluster tests clusters as people run them: real processes, real signals, real sockets and
// disks. Every result must be, to the byte, that of a run inside one process, and no more may run
// again than the loss explains.
package cluster

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	// What the programs are made of, so that a change of it ends the go command's cache of the
	// results.
	_ "github.com/layshaft/layshaft/coordinator"
	_ "github.com/layshaft/layshaft/mapreduce/memio"
	_ "github.com/layshaft/layshaft/mapreduce/textio"
	_ "github.com/layshaft/layshaft/worker"

	"github.com/layshaft/layshaft/e2e/internal/programs"
)

// patience is how long an event may take that should come at once. Tests with a limit of their own
// measure it.
const patience = 40 * time.Second

// binDir holds the programs, which TestMain builds once.
var binDir string

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given && runtime.NumCPU() < 4 {
		_ = flag.Set("test.parallel", "4") // the tests wait most of the time
	}
	programs.Main(m, &binDir, "cmd/layshaft", "examples/wordcount", "e2e/cluster/internal/probe", "e2e/cluster/internal/tables", "e2e/cluster/internal/documents")
}

// heavy skips a test that takes long.
func heavy(t testing.TB) {
	t.Helper()
	if testing.Short() || os.Getenv(programs.HeavyEnv) == "" {
		t.Skipf("takes long; %s=1 without -short runs it", programs.HeavyEnv)
	}
}

// process is a program that runs, or ran.
type process struct {
	name  string
	cmd   *exec.Cmd
	out   bytes.Buffer // standard output; read it after the end
	ended chan struct{}

	// mu guards the fields below.
	mu    sync.Mutex
	lines []string      // of standard error
	more  chan struct{} // closed and replaced when there are more
}

// launch starts a program. It does not outlive the test, and what it said is shown when the test
// fails.
func launch(t testing.TB, name, program string, args ...string) *process {
	t.Helper()
	return launchCmd(t, name, exec.Command(filepath.Join(binDir, program), args...))
}

func launchCmd(t testing.TB, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{name: name, cmd: cmd, ended: make(chan struct{}), more: make(chan struct{})}
	cmd.Stdout = &p.out
	stderr, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = w
	err = cmd.Start()
	w.Close()
	if err != nil {
		stderr.Close()
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer stderr.Close()
		for r := bufio.NewReader(stderr); ; {
			line, err := r.ReadString('\n')
			p.mu.Lock()
			if line != "" {
				p.lines = append(p.lines, strings.TrimSuffix(line, "\n"))
			}
			close(p.more)
			p.more = make(chan struct{})
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	go func() {
		_ = cmd.Wait()
		// A grandchild may hold the pipe a moment longer.
		select {
		case <-read:
		case <-time.After(time.Second):
		}
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill(t)
		if t.Failed() {
			p.mu.Lock()
			defer p.mu.Unlock()
			const shown = 120
			t.Logf("---- %s (pid %d, %v), the last %d of %d lines:\n%s%s", p.name, cmd.Process.Pid, cmd.ProcessState,
				min(shown, len(p.lines)), len(p.lines), strings.Join(p.lines[max(0, len(p.lines)-shown):], "\n"), p.out.String())
		}
	})
	return p
}

// signal sends a signal, unless the process has ended.
func (p *process) signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
}

// kill ends the process with SIGKILL and waits until it is gone.
func (p *process) kill(t testing.TB) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
	<-p.ended
}

// wait waits for the end of the process and returns its exit code.
func (p *process) wait(t testing.TB) int {
	t.Helper()
	return p.waitFor(t, patience)
}

func (p *process) waitFor(t testing.TB, limit time.Duration) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(limit):
		t.Fatalf("%s did not end in %v", p.name, limit)
	}
	return p.cmd.ProcessState.ExitCode()
}

// alive reports whether the process runs.
func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// said returns what the process wrote to standard error so far.
func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// await waits for a line of standard error that holds all texts, from line number from on, and
// returns it and the next number.
func (p *process) await(t testing.TB, from int, texts ...string) (string, int) {
	t.Helper()
	late := time.After(patience)
	for i := from; ; i++ {
		p.mu.Lock()
		for ; i < len(p.lines); i++ {
			if all(p.lines[i], texts) {
				defer p.mu.Unlock()
				return p.lines[i], i + 1
			}
		}
		i--
		more := p.more
		p.mu.Unlock()
		select {
		case <-more:
		case <-p.ended:
			if p.count(texts...) == 0 {
				t.Fatalf("%s ended before it said %q", p.name, texts)
			}
		case <-late:
			t.Fatalf("%s did not say %q", p.name, texts)
		}
	}
}

// line returns the number of the next line.
func (p *process) line() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lines)
}

// count returns how many lines hold all texts.
func (p *process) count(texts ...string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lines {
		if all(l, texts) {
			n++
		}
	}
	return n
}

func all(line string, texts []string) bool {
	for _, s := range texts {
		if !strings.Contains(line, s) {
			return false
		}
	}
	return true
}

// until waits until something is true.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !is(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not so after %v: %s", patience, what)
		}
	}
}

// children returns the processes that a process has started and that live.
func (p *process) children(t testing.TB) (pids []int) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
	if err != nil || len(tasks) == 0 {
		t.Skipf("children of %s cannot be listed here (%v)", p.name, err)
	}
	for _, path := range tasks {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // that thread has ended
		}
		for r := bytes.NewReader(b); ; {
			var pid int
			if _, err := fmt.Fscan(r, &pid); err != nil {
				if !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
				break
			}
			pids = append(pids, pid)
		}
	}
	return pids
}
