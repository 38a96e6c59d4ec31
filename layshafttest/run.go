package layshafttest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
)

// T is the part of [testing.TB] that Start needs. Tests pass their *testing.T.
type T interface {
	Cleanup(func())
	Context() context.Context
	Errorf(format string, args ...any)
	Failed() bool
	Fatalf(format string, args ...any)
	Helper()
	Logf(format string, args ...any)
	TempDir() string
}

// Run calls f outside of a test, for an Example or a demonstration. Clusters that f starts live in
// real time. Run returns the failures of f after all clusters have stopped.
func Run(f func(t T)) error {
	ctx, cancel := context.WithCancel(context.Background())
	r := &realTime{ctx: ctx}
	r.guard(func() { f(r) })
	cancel()
	for len(r.cleanups) > 0 {
		last := r.cleanups[len(r.cleanups)-1]
		r.cleanups = r.cleanups[:len(r.cleanups)-1]
		r.guard(last)
	}
	if !r.Failed() {
		return nil
	}
	return errors.Join(slices.Concat(r.failures, r.logs)...)
}

// realTime is the T of Run.
type realTime struct {
	ctx context.Context

	// mu guards the fields below.
	mu             sync.Mutex
	cleanups       []func()
	failures, logs []error
}

// guard calls f in a goroutine that Fatalf can end, and blocks until it has ended.
func (r *realTime) guard(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

func (r *realTime) add(to *[]error, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*to = append(*to, fmt.Errorf(format, args...))
}

func (r *realTime) Cleanup(f func())                  { r.mu.Lock(); r.cleanups = append(r.cleanups, f); r.mu.Unlock() }
func (r *realTime) Context() context.Context          { return r.ctx }
func (r *realTime) Errorf(format string, args ...any) { r.add(&r.failures, format, args...) }
func (r *realTime) Failed() bool                      { r.mu.Lock(); defer r.mu.Unlock(); return len(r.failures) > 0 }
func (r *realTime) Helper()                           {}
func (r *realTime) Logf(format string, args ...any)   { r.add(&r.logs, format, args...) }

func (r *realTime) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *realTime) TempDir() string {
	dir, err := os.MkdirTemp("", "layshafttest-")
	if err != nil {
		r.Fatalf("%v", err)
	}
	r.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
