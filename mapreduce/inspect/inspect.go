// Package inspect adds the tools that show the runs of a program: the flags -report, -trace, -web
// and -profile, which are the fields Report, Trace, Web and Profile of a target. Import it for this
// effect:
//
//	import _ "github.com/layshaft/layshaft/mapreduce/inspect"
//
// It adds 1.4 MB to a program, and 5 MB to a build with -tags grpcnotrace. Without it, a
// run that asks for one of these ends with an error at once. Jobs on a cluster are on its pages in
// either case.
package inspect

import (
	"io"
	"runtime/debug"
	"time"

	"github.com/layshaft/layshaft/coordinator/recorder"
	"github.com/layshaft/layshaft/internal/inspection"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/runpage"
)

func init() { inspection.Register(tools{}) }

// tools are the inspection.Tools of a program.
type tools struct{ recorder.Memory }

func (tools) WriteReport(w io.Writer, run *report.Run, live *report.Job, running []report.Attempt) error {
	now := time.Now()
	return runpage.WriteHTML(w, run, report.ViewRun(run, live, running, now), version(), now)
}

func (tools) WriteTrace(w io.Writer, run *report.Run) error { return runpage.WriteTrace(w, run) }

// version is the version of the program.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
