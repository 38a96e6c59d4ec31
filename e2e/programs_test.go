//go:build unix

package e2e

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/layshaft/layshaft/e2e/internal/programs"
)

var update = flag.Bool("update", false, "write the golden files anew")

// binDir holds the programs; TestMain makes and removes it.
var binDir string

func TestMain(m *testing.M) {
	programs.Main(m, &binDir, "examples/wordcount", "examples/catalog", "e2e/internal/probe", "cmd/layshaft")
}

// program returns the path of a program.
func program(name string) string {
	return filepath.Join(binDir, name)
}

// result is how a process ended.
type result struct {
	stdout, stderr string
	code           int
	rss            int64 // bytes of memory at the most
}

// run runs a program to its end.
func run(t *testing.T, name string, args ...string) result {
	t.Helper()
	return start(t, name, args...)()
}

// start starts a program in the background. The returned function waits for its end.
func start(t *testing.T, name string, args ...string) func() result {
	t.Helper()
	_, wait := startProcess(t, name, args...)
	return wait
}

func startProcess(t *testing.T, name string, args ...string) (*os.Process, func() result) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(name), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process, func() result {
		t.Helper()
		err := cmd.Wait()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode(), maxRSS(cmd.ProcessState)}
	}
}

// succeeded fails the test unless r did well, and returns r.
func (r result) succeeded(t *testing.T) result {
	t.Helper()
	if r.code != 0 {
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	return r
}

// failed fails the test unless r ended with an error of one line that holds all of words.
func (r result) failed(t *testing.T, words ...string) {
	t.Helper()
	if r.code == 0 || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("exit code %d, want an error of one line\n%s%s", r.code, r.stdout, r.stderr)
	}
	for _, w := range words {
		if !strings.Contains(r.stderr, w) {
			t.Errorf("error lacks %q: %s", w, r.stderr)
		}
	}
}

func maxRSS(p *os.ProcessState) int64 {
	rss := int64(p.SysUsage().(*syscall.Rusage).Maxrss)
	if runtime.GOOS != "darwin" {
		rss <<= 10
	}
	return rss
}
