package runner

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/call"
	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/machine"
	"github.com/layshaft/layshaft/internal/report"
)

// maxDetail is the maximum size in bytes of Failure.Detail, taken from a dead child's output.
const maxDetail = 8 << 10

// startError wraps the operating system's error of starting the program.
type startError struct{ err error }

func (e *startError) Error() string { return e.err.Error() }
func (e *startError) Unwrap() error { return e.err }

// maxPoints is the limit of points of a curve in a report.
const maxPoints = 60

// death returns what is known of the process after its end, or of a process that lives. text is its
// output.
func (p *process) death(text string) *job.Death {
	x := &job.Death{Peak: p.memory.Load(), Limit: machine.Memory()}
	p.mu.Lock()
	curve := p.curve[max(0, len(p.curve)-maxCurve):]
	step := (len(curve) + maxPoints - 1) / maxPoints
	for i := len(curve) - 1; i >= 0; i -= step {
		x.Curve = append(x.Curve, curve[i])
	}
	x.Every = time.Duration(step) * memoryEvery
	why := p.killReason
	p.mu.Unlock()
	slices.Reverse(x.Curve)
	select {
	case <-p.exited:
	default:
		return x
	}
	if p.state == nil {
		return x
	}
	x.CPU = p.state.UserTime() + p.state.SystemTime()
	x.Exit = p.state.String()
	var exit *exec.ExitError
	switch words := outOfMemory.FindString(text); {
	case words != "":
		x.Memory, x.Evidence = "yes", []string{"the program reported: " + words}
	case why != nil:
		x.Memory, x.Evidence = "no", []string{"the worker ended the process: " + why.Error()}
	case errors.As(p.err, &exit) && killed(exit) == "killed":
		killed, known, evidence := machine.ReadKills().Since(p.kills)
		x.Evidence = evidence
		switch {
		case killed:
			x.Memory = "yes"
		case known:
			x.Memory = "no"
		}
	default:
		x.Memory, x.Evidence = "no", []string{"no signal ended the process for lack of memory: " + x.Exit}
	}
	return x
}

// outOfMemory are the words of a Go program for which the system has no memory.
var outOfMemory = regexp.MustCompile(`(?m)^(fatal error: )?runtime: (out of memory|cannot allocate memory).*$`)

// withDeath adds to a failure what is known of the attempt and its process.
func (p *process) withDeath(err error, run *job.Run) error {
	f, ok := err.(*job.Failure)
	if !ok || f == nil {
		return err
	}
	c := *f
	if c.Death == nil || c.Death.Limit == 0 {
		x := p.death("")
		if c.Death != nil { // the child has set these
			x.Stacks, x.Idle = c.Death.Stacks, c.Death.Idle
		}
		c.Death = x
	}
	if run.Progress != nil {
		c.Death.Records, c.Death.Bytes = run.Progress.Records.Load(), run.Progress.Bytes.Load()
		if s := run.Progress.Stacks.Load(); s != nil && c.Death.Stacks == "" {
			c.Death.Stacks, c.Death.Idle = *s, time.Duration(run.Progress.Idle.Load())
		}
	}
	return &c
}

// postMortem returns the failure of an attempt whose child closed the connection. It blocks until
// the child is dead and removed. mark is nil unless the attempt had a child of its own.
func (p *process) postMortem(run *job.Run, mark *child.Mark, gone error) *job.Failure {
	p.awaitExit(gone)
	<-p.done
	p.mu.Lock()
	culprit, others := p.culprit, p.victims-1
	p.mu.Unlock()
	if culprit == "" {
		culprit = findCulprit(p.out.String())
	}
	f := p.describeDeath(others)
	f.Detail = detail(p.out.String(), culprit)
	if culprit != "" && culprit != run.Attempt.String() {
		return &job.Failure{Kind: job.WorkerLost, Death: f.Death, Message: fmt.Sprintf("ended with its process because of attempt %s: %s", culprit, f.Message)}
	}
	if f.Kind != job.Transient {
		return f
	}
	f.Crashed = true
	if mark != nil {
		f.Number, f.Record = mark.Record()
	}
	if run.Split != nil && p.conn.Tolerates() && (mark == nil || f.Number > 0) {
		f.Kind = job.Poison
	}
	if f.Number == 0 && run.Progress != nil && run.Split != nil {
		f.Record = fmt.Sprintf("%s, after %s or more", run.Split.Label, report.Plural(run.Progress.Records.Load(), "record"))
	}
	return f
}

var (
	stackHead = regexp.MustCompile(`(?m)^goroutine \d+ .*$`)
	attempted = regexp.MustCompile(`labels:\{"` + call.Label + `": "(\d+/\d+#\d+)"`)
)

// findCulprit finds the attempt whose goroutine crashed the process, by the goroutine's label in
// the output. It returns the attempt's String, or "" if it finds none.
func findCulprit(text string) string {
	if m := attempted.FindStringSubmatch(stackHead.FindString(trace(text))); m != nil {
		return m[1]
	}
	return ""
}

// trace returns the end of a child's output, from the last line with a reason for its death, such
// as "panic: ", from the Go runtime or child.Serve. Without a reason it returns "".
func trace(text string) string {
	last := -1
	for _, m := range lastWords.FindAllStringIndex(text, -1) {
		last = m[0]
	}
	if last < 0 {
		return ""
	}
	return text[last:]
}

var lastWords = regexp.MustCompile(`(?m)^(panic: |fatal error: |` + child.StuckMark + `)`)

// describeDeath describes the end of the child. It blocks until the child is removed. others is the
// number of other attempts running in the child at its end.
func (p *process) describeDeath(others int) *job.Failure {
	<-p.done
	text := p.out.String()
	death := p.death(text)
	f := &job.Failure{Kind: job.Transient, Death: death}
	p.mu.Lock()
	why := p.killReason
	p.mu.Unlock()
	var asked *job.Failure
	var exit *exec.ExitError
	var start *startError
	connected := p.conn != nil
	switch {
	case errors.As(why, &asked):
		return asked
	case errors.Is(why, errSilent):
		f.Message = fmt.Sprintf("%v (%v): %s", why, p.code.r.cfg.Connect, hint)
	case why != nil:
		f.Message = fmt.Sprintf("its process was killed: %v", why)
	case errors.As(p.err, &start):
		f.Message = fmt.Sprintf("program %s does not start: %v%s", p.code.path, start.err, explainFailedStart(p.code.path))
	case errors.As(p.err, &exit) && killed(exit) != "":
		f.Message = fmt.Sprintf("its process was killed from outside (%s)", killed(exit))
		if killed(exit) == "killed" {
			f.Message += map[string]string{"yes": ", because the machine or its cgroup ran out of memory", "no": "; the kernel killed no process for lack of memory",
				"": ", most likely because the machine or its cgroup ran out of memory"}[death.Memory]
		}
	case p.err != nil && exit == nil:
		f.Message = fmt.Sprintf("child process: %v", p.err)
	default:
		status := "exit status 0"
		if exit != nil {
			status = exit.Error()
		}
		f.Message = fmt.Sprintf("its process ended with %s", status)
		if first, _, _ := strings.Cut(trace(text), "\n"); first != "" {
			f.Message += ": " + first
		} else if connected {
			f.Message += "; user code must not call os.Exit or log.Fatal"
		}
		if !connected {
			f.Kind = job.Fatal
			f.Message = fmt.Sprintf("the program ended with %s before it connected to its worker: %s", status, hint)
		}
	}
	if n := p.memory.Load(); n > 0 {
		f.Message += fmt.Sprintf("; its peak memory was %s", bytesize.Format(n))
	}
	if others > 0 {
		f.Message += "; it was also running " + report.Plural(others, "other attempt")
	}
	f.Detail = detail(text, "")
	return f
}

const hint = "main must call mapreduce.Main() before anything else"

// explainFailedStart inspects the program file and returns a likely reason for a failed start, or
// "".
func explainFailedStart(path string) string {
	c, err := child.Inspect(path)
	here := runtime.GOOS + "/" + runtime.GOARCH
	switch {
	case err != nil:
		return fmt.Sprintf(" (%v)", err)
	case c.Platform != here:
		return fmt.Sprintf(" (it is built for %s, this worker is %s)", c.Platform, here)
	case c.Dynamic != "":
		if _, err := os.Stat(c.Dynamic); err != nil {
			return fmt.Sprintf(" (it needs the loader %s, which is missing on this machine; build it with CGO_ENABLED=0)", c.Dynamic)
		}
	}
	return ""
}

// detail shortens a child's output to at most maxDetail bytes: the text from the reason of its
// death, else the end of the output. If the stacks of the culprit are in it, detail drops the
// stacks of other attempts.
func detail(text, culprit string) string {
	t := trace(text)
	if t == "" {
		return text[max(0, len(text)-maxDetail):]
	}
	if culprit != "" {
		stacks := strings.Split(t, "\n\n")
		own := stacks[:1]
		for _, s := range stacks[1:] {
			if m := attempted.FindStringSubmatch(stackHead.FindString(s)); m != nil && m[1] == culprit {
				own = append(own, s)
			}
		}
		if len(own) > 1 {
			t = strings.Join(own, "\n\n")
		}
	}
	return t[:min(len(t), maxDetail)]
}
