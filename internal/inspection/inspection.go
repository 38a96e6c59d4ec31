// Package inspection has the hooks through which package mapreduce records and shows a run: its
// page, report, trace and profile. Package mapreduce/inspect registers the Tools; a program without
// that package contains no web server, no templates and no reader of profiles.
package inspection

import (
	"context"
	"io"
	"log/slog"
	"net"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// Package is the import path of the package that registers the Tools.
const Package = "github.com/layshaft/layshaft/mapreduce/inspect"

// Recorder makes records of runs. It is a part of Tools, and of the Tracer of package tracing.
type Recorder interface {
	// NewRecord returns the empty record of a job inside this process.
	NewRecord(log *slog.Logger) Record
	// DecodeRecord reads the record of a job from its form on the wire.
	DecodeRecord(encoded []byte) (*report.Run, error)
}

// Tools record and show a run.
type Tools interface {
	Recorder
	// WriteReport writes the page of a job. live is the state of a known job and may be nil;
	// running are its running attempts.
	WriteReport(w io.Writer, run *report.Run, live *report.Job, running []report.Attempt) error
	// WriteTrace writes the attempts as a trace.
	WriteTrace(w io.Writer, run *report.Run) error
	// Serve serves a page at l until ctx ends, and closes l.
	Serve(ctx context.Context, l net.Listener, page Page) error
	// StartProfile starts to profile this process. A process has one profile at a time.
	StartProfile(dir string) (Profile, error)
	// ProfileProcess starts to profile this process, which runs attempts for a cluster.
	ProfileProcess() (ProcessProfile, error)
	// WriteProfiles merges profiles of several processes, and writes the files of a Profile to dir.
	WriteProfiles(dir string, spec *job.Spec, cpu, heap [][]byte) error
}

// Page writes the present state of a page, and reports whether it will change.
type Page func(w io.Writer) (changes bool, err error)

// Record records the attempts of jobs. It is a coordinator.Recorder.
type Record interface {
	Submitted(spec *job.Spec, kinds []string, opt *report.Options)
	Ended(id job.ID, a report.Attempt, f *job.Failure, keys []job.KeySample)
	JobEnded(st *report.Job)
	Reopened(id job.ID)
	Forget(id job.ID)
	// Open returns the record of a job so far.
	Open(id job.ID) (*report.Run, error)
}

// Profile profiles this process.
type Profile interface {
	// Stop ends the profile. Only the first call has an effect.
	Stop()
	// Write ends the profile and writes its files.
	Write(spec *job.Spec) error
}

// ProcessProfile profiles a process in pieces.
type ProcessProfile interface {
	// Next returns the CPU profile since the call before, and starts the next. heap is the profile
	// of the heap if it has grown, else nil.
	Next() (cpu, heap []byte, err error)
}

// registered is nil in programs without package inspect.
var registered Tools

// Register sets the tools of this program. Call it from an init function.
func Register(t Tools) { registered = t }

// CPUProfile is the name of the file with the CPU profile of a whole run.
const CPUProfile = "cpu.pprof"

// Registered returns the tools of this program, or nil.
func Registered() Tools { return registered }
