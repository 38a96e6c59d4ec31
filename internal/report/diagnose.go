package report

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// DebugFile is a file of a debug bundle.
type DebugFile struct {
	Name string // such as goroutines.txt
	Data []byte
}

// Process is what a process tells about itself in a debug bundle.
type Process struct {
	Version string // of the program
	// Log has the end of its log.
	Log *LogTail
	// Settings are its flags, with their sources and without secrets.
	Settings string

	metrics atomic.Pointer[func() []byte]
}

// SetMetrics sets the function that returns the metrics as text.
func (p *Process) SetMetrics(f func() []byte) { p.metrics.Store(&f) }

// Files returns the files of the process, without secrets. A nil Process has none.
func (p *Process) Files() []DebugFile {
	if p == nil {
		return nil
	}
	var version bytes.Buffer
	fmt.Fprintf(&version, "layshaft %s %s %s/%s, %d goroutines\n", p.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumGoroutine())
	if info, ok := debug.ReadBuildInfo(); ok {
		fmt.Fprintln(&version, info)
	}
	files := []DebugFile{{"version.txt", version.Bytes()}, {"settings.txt", []byte(MaskText(p.Settings))}, {"goroutines.txt", stacks()}}
	if p.Log != nil {
		files = append(files, DebugFile{"log.txt", []byte(MaskText(string(p.Log.Bytes())))})
	}
	if f := p.metrics.Load(); f != nil {
		files = append(files, DebugFile{"metrics.txt", (*f)()})
	}
	return files
}

// maxStacks limits the stacks of a process, in bytes.
const maxStacks = 64 << 20

// stacks returns the stacks of all goroutines.
func stacks() []byte {
	for n := 1 << 20; ; n *= 2 {
		if b := make([]byte, n); n >= maxStacks || runtime.Stack(b, true) < n {
			return b[:runtime.Stack(b, true)]
		}
	}
}

// maxLog is how much of a log LogTail keeps, in bytes.
const maxLog = 1 << 20

// LogTail keeps the end of what is written to it. The zero value is ready.
type LogTail struct {
	// mu guards the fields below.
	mu  sync.Mutex
	old []byte // before cur; of maxLog/2 bytes or more, or empty
	cur []byte
}

// Write adds a line. It never fails.
func (t *LogTail) Write(line []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.cur)+len(line) > maxLog/2 {
		t.old, t.cur = t.cur, t.old[:0]
	}
	t.cur = append(t.cur, line...)
	return len(line), nil
}

// Bytes returns the last lines, at most about 1 MiB.
func (t *LogTail) Bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append(bytes.Clone(t.old), t.cur...)
}
