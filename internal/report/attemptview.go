package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/job"
)

// PostMortem is what is kept of an attempt that ended without output, beside its Attempt and Cause.
type PostMortem struct {
	Task job.Task
	N    int // number of the attempt
	// Record and Detail belong to the failure. If they are empty, pages show the ones of the cause.
	Record string `json:",omitempty"`
	Detail string `json:",omitempty"`
	// Death is nil if the attempt ended without its worker's report.
	Death *job.Death `json:",omitempty"`
	// Index is the index of the attempt in Run.Attempts.
	Index int `json:"-"`
}

// AttemptView is what people see of one attempt. The page of a job, its JSON and the command line
// show it.
type AttemptView struct {
	Attempt     string     `json:"attempt"` // STAGE/INDEX#N
	Stage       string     `json:"stage"`   // name of the stage
	Worker      string     `json:"worker"`  // name of the worker
	End         string     `json:"end"`     // running, or how it ended
	Speculative bool       `json:"speculative,omitempty"`
	Started     *time.Time `json:"started,omitempty"` // nil if unknown
	Ended       *time.Time `json:"ended,omitempty"`   // nil while it runs
	Took        Seconds    `json:"took_seconds"`
	// Input and output of a committed attempt, else zero.
	ReadRecords  int64 `json:"read_records"`
	ReadBytes    int64 `json:"read_bytes"`
	WroteRecords int64 `json:"wrote_records"`
	WroteBytes   int64 `json:"wrote_bytes"`
	SpilledBytes int64 `json:"spilled_bytes"`
	// The failure; empty without one.
	Kind    string `json:"kind,omitempty"`
	Message string `json:"message,omitempty"`
	Detail  string `json:"detail,omitempty"`
	Record  string `json:"record,omitempty"`
	// Death is what its worker saw at the end; nil if nothing was.
	Death *job.Death `json:"death,omitempty"`
	Facts []Fact     `json:"facts,omitempty"` // Death in words
	// Others are the other attempts of its task, in order.
	Others []OtherAttempt `json:"others,omitempty"`
	// Output are the last lines that it wrote, or may have written.
	Output []Line `json:"output,omitempty"`
}

// Fact is a named value for people.
type Fact struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// OtherAttempt is another attempt of the same task.
type OtherAttempt struct {
	Attempt string `json:"attempt"` // STAGE/INDEX#N
	Worker  string `json:"worker"`  // name of its worker
	End     string `json:"end"`     // running, or how it ended
}

const (
	// maxPosts is the limit of attempts without output that a view describes, and maxPostLines the
	// limit of lines of each.
	maxPosts     = 20
	maxPostLines = 20
)

// ViewAttempts returns the views of attempts that want selects, in order of their ends; then those
// that run.
func ViewAttempts(r *Run, running []Attempt, now time.Time, want func(*Attempt) bool) []*AttemptView {
	var views []*AttemptView
	by := map[string]*AttemptView{}
	tasks := map[job.Task][]*AttemptView{}
	add := func(a *Attempt, end string) *AttemptView {
		v := &AttemptView{Attempt: a.String(), Worker: a.Worker, End: end, Speculative: a.Speculative, Took: SecondsOf(a.Took()), ReadRecords: a.ReadRecords,
			ReadBytes: a.ReadBytes, WroteRecords: a.WroteRecords, WroteBytes: a.WroteBytes, SpilledBytes: a.SpilledBytes}
		if a.Task.Stage >= 0 && a.Task.Stage < len(r.Stages) {
			v.Stage = r.Stages[a.Task.Stage].Name
		}
		if !a.Started.IsZero() {
			v.Started = &a.Started
		}
		views, by[v.Attempt] = append(views, v), v
		tasks[a.Task] = append(tasks[a.Task], v)
		return v
	}
	for i := range r.Attempts {
		a := &r.Attempts[i]
		if !want(a) {
			continue
		}
		v := add(a, a.End.String())
		v.Ended = &a.Ended
		if a.Cause > 0 && a.Cause <= len(r.Causes) {
			c := &r.Causes[a.Cause-1]
			v.Kind, v.Message, v.Detail, v.Record = c.Kind, c.Message, c.Detail, c.Record
		}
	}
	for i := range running {
		if a := &running[i]; want(a) {
			v := add(a, "running")
			if v.Started != nil {
				v.Took = SecondsOf(max(now.Sub(a.Started), 0))
			}
		}
	}
	for i := range r.PostMortems {
		p := &r.PostMortems[i]
		a := Attempt{Task: p.Task, N: p.N}
		if v := by[a.String()]; v != nil {
			if v.Death = p.Death; p.Record != "" {
				v.Record = p.Record
			}
			if p.Detail != "" {
				v.Detail = p.Detail
			}
			v.Facts = factsOf(p.Death)
		}
	}
	others := func(a *Attempt, end string) {
		for _, v := range tasks[a.Task] {
			if id := a.String(); id != v.Attempt {
				v.Others = append(v.Others, OtherAttempt{id, a.Worker, end})
			}
		}
	}
	for i := range r.Attempts {
		others(&r.Attempts[i], r.Attempts[i].End.String())
	}
	for i := range running {
		others(&running[i], "running")
	}
	for _, l := range slices.Backward(r.Lines) {
		for _, name := range l.Attempts {
			if v := by[name]; v != nil && len(v.Output) < maxPostLines {
				v.Output = append(v.Output, l)
			}
		}
	}
	for _, v := range views {
		slices.Reverse(v.Output)
	}
	return views
}

// postMortems returns the views of the latest attempts that ended without output by a fault.
func postMortems(r *Run, running []Attempt, now time.Time) []*AttemptView {
	latest := map[*Attempt]bool{}
	for i := len(r.Attempts) - 1; i >= 0 && len(latest) < maxPosts; i-- {
		if r.Attempts[i].isFault() {
			latest[&r.Attempts[i]] = true
		}
	}
	if len(latest) == 0 {
		return nil
	}
	views := ViewAttempts(r, running, now, func(a *Attempt) bool { return latest[a] })
	slices.Reverse(views)
	return views
}

// factsOf returns what is known of a death in words.
func factsOf(d *job.Death) (facts []Fact) {
	if d == nil {
		return nil
	}
	add := func(name, format string, args ...any) {
		facts = append(facts, Fact{name, fmt.Sprintf(format, args...)})
	}
	if d.Exit != "" {
		add("process", "%s", d.Exit)
	} else {
		add("process", "it went on after the attempt")
	}
	if d.Exit != "" {
		verdict := d.Memory
		if verdict != "yes" && verdict != "no" {
			verdict = "unknown: this system does not count such ends"
		}
		if len(d.Evidence) > 0 {
			verdict += ": " + strings.Join(d.Evidence, "; ")
		}
		add("out of memory", "%s", verdict)
	}
	if d.Peak > 0 {
		text := bytesize.Format(d.Peak) + " at its peak"
		if d.Limit > 0 {
			text += ", of " + bytesize.Format(d.Limit) + " that the machine or its cgroup has"
		}
		if n := len(d.Curve); n > 1 {
			text += fmt.Sprintf("; in the last %v: %s, %s at the end", (time.Duration(n) * d.Every).Round(time.Second), Curve(d.Curve), bytesize.Format(d.Curve[n-1]))
		}
		add("memory", "%s", text)
	}
	if d.CPU > 0 {
		add("processor", "%v", d.CPU.Round(10*time.Millisecond))
	}
	if d.Records+d.Bytes > 0 {
		add("had read", "%s, %s", Plural(d.Records, "record"), bytesize.Format(d.Bytes))
	}
	if d.Idle > 0 {
		add("no progress", "for %v: no record read and no processor used", d.Idle.Round(time.Second))
	}
	return facts
}

// Curve draws values as one line of blocks.
func Curve(values []int64) string {
	var most int64 = 1
	for _, v := range values {
		most = max(most, v)
	}
	var b strings.Builder
	for _, v := range values {
		b.WriteRune([]rune("▁▂▃▄▅▆▇█")[min(7, max(0, 8*v/most))])
	}
	return b.String()
}
