package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/job"
)

// RunView is what people see of the run of a job. ViewRun makes it. The page of the job, /api/jobs,
// the report as a file and the command line show it.
type RunView struct {
	JobView
	Hash    string          `json:"hash,omitempty"`    // fingerprint of plan, parameters and input
	Plan    string          `json:"plan,omitempty"`    // fingerprint of the plan
	Params  json.RawMessage `json:"params,omitempty"`  // without secrets
	Explain string          `json:"explain,omitempty"` // the plan in words
	Took    Seconds         `json:"took_seconds"`      // from the submit to the end, or until now
	// Stages are the stages with their attempts, in the order of JobView.Stages.
	Runs []StageRun `json:"stage_runs"`
	// Workers are the workers that ran attempts, by name.
	Workers []WorkerRun `json:"workers"`
	// Failures are the attempts without output, grouped by cause, the most frequent first.
	Failures []FailureGroup `json:"failures"`
	// Ends counts attempts by their end.
	Ends map[string]int `json:"attempts_by_end"`
	// Findings are sentences about what was slow, the most important first.
	Findings []Finding `json:"findings"`
	// Remaining is an estimate of the time to the end of the job; nil without one.
	Remaining *Remaining `json:"remaining,omitempty"`
	// Damaged explains which part of the record is missing; empty if it is complete.
	Damaged string `json:"damaged,omitempty"`
	// PostMortems are the latest attempts that ended without output by a fault, the last one first.
	PostMortems []*AttemptView `json:"post_mortems,omitempty"`
	// Output are the latest lines that user code wrote, and OutputLines counts all that are kept.
	Output      []Line `json:"output,omitempty"`
	OutputLines int    `json:"output_lines"`
}

// StageRun is a stage with its attempts.
type StageRun struct {
	Operators []Operator `json:"operators"`
	Kind      string     `json:"kind"`
	Inputs    []Input    `json:"inputs,omitempty"` // edges from earlier stages
	Source    string     `json:"source,omitempty"` // label of the first split
	// SourceBytes is the estimated size of the splits.
	SourceBytes int64 `json:"source_bytes,omitempty"`
	// Started and Ended are the start of the first and the end of the last attempt; nil if there is
	// none. Ended is nil before the end of the stage.
	Started *time.Time `json:"started,omitempty"`
	Ended   *time.Time `json:"ended,omitempty"`
	// Busy is the time of all attempts together.
	Busy Seconds `json:"busy_seconds"`
	// Share is Busy as a share of all stages, from 0 to 1.
	Share float64 `json:"share"`
	// Slowest means that no other stage has a larger share.
	Slowest bool `json:"slowest"`
	// Columns are the quantiles over committed attempts.
	Columns []Column `json:"quantiles"`
	// Skew is the largest input of a task divided by the median; zero for few tasks.
	Skew float64 `json:"skew,omitempty"`
	// Saved is the share of its input that a combine stage does not pass on, from 0 to 1.
	Saved float64 `json:"saved,omitempty"`
	// HotKeys are keys that many of the records have which the stage writes, by operator that reads
	// them, the hottest first. They come from a sample.
	HotKeys []KeyShare `json:"hot_keys,omitempty"`
}

// Operator is an operator of a stage.
type Operator struct {
	Name string `json:"name"`
	At   string `json:"at,omitempty"` // where it is made, such as main.go:17
}

// Input is an edge from an earlier stage.
type Input struct {
	From int    `json:"from"` // number of the earlier stage
	How  string `json:"how"`  // shuffle, broadcast, range, group or sinks
}

// Column has the quantiles of one quantity over the committed attempts of a stage.
type Column struct {
	Name string `json:"name"`
	Unit string `json:"unit"` // ns, records or bytes
	// Values are minimum, lower quartile, median, upper quartile, 99 of 100, and maximum.
	Values [6]int64 `json:"values"`
	// Outliers are the tasks with the largest values, if these are far above the median.
	Outliers []Outlier `json:"outliers,omitempty"`
}

// Quantiles names Column.Values.
var Quantiles = [6]string{"min", "25 %", "median", "75 %", "99 %", "max"}

// Outlier is an attempt with a value far above the median.
type Outlier struct {
	Attempt string  `json:"attempt"`      // STAGE/INDEX#N
	Worker  string  `json:"worker"`       // name of its worker
	Value   int64   `json:"value"`        // in the unit of the column
	Times   float64 `json:"times_median"` // Value divided by the median
}

// WorkerRun is what a worker did for the job.
type WorkerRun struct {
	Name      string  `json:"worker"`       // name of the worker
	Attempts  int     `json:"attempts"`     // all, running ones too
	Failed    int     `json:"failed"`       // without output, by a fault
	Busy      Seconds `json:"busy_seconds"` // of all attempts together
	ReadBytes int64   `json:"read_bytes"`   // by committed attempts
}

// FailureGroup is a set of attempts that failed for one reason.
type FailureGroup struct {
	Kind     string     `json:"kind"`             // class of the failure
	Message  string     `json:"message"`          // one line
	Detail   string     `json:"detail,omitempty"` // stack or log of the first one
	Record   string     `json:"record,omitempty"` // position of its input record
	Attempts int        `json:"attempts"`         // number of attempts with this failure
	Tasks    int        `json:"tasks"`            // number of their tasks
	Stages   []int      `json:"stages"`           // numbers of their stages
	Workers  []string   `json:"workers"`          // some of their workers
	Examples []string   `json:"examples"`         // some of the attempts
	First    *time.Time `json:"first,omitempty"`  // end of the first attempt
	Last     *time.Time `json:"last,omitempty"`   // end of the last one
}

// Finding is a sentence about what was slow.
type Finding struct {
	Stage int    `json:"stage"` // number of the stage; -1 for the job
	Text  string `json:"text"`  // for people
}

// Remaining is an estimate of the time to the end.
type Remaining struct {
	Seconds Seconds `json:"seconds"` // until the end
	How     string  `json:"how"`     // how it was computed
}

const (
	maxOutliers = 3
	// farAbove is the ratio to the median from which a value is an outlier.
	farAbove = 2.0
	// fewTasks is the number of attempts below which quantiles say nothing about skew.
	fewTasks = 4
	// maxExamples is the limit of the attempts and workers that a group of failures lists.
	maxExamples = 5
	// maxOutput is the limit of lines of user code in a view.
	maxOutput = 200
)

// ViewRun returns the view of a run. live is the present state of the job, and running are its
// running attempts; both are empty for a run from a file.
func ViewRun(r *Run, live *Job, running []Attempt, now time.Time) *RunView {
	v := &RunView{Hash: r.Hash, Plan: r.Plan, Params: json.RawMessage(r.Params), Explain: r.Explain, Damaged: r.Damaged,
		Runs: []StageRun{}, Workers: []WorkerRun{}, Failures: []FailureGroup{}, Ends: map[string]int{}, Findings: []Finding{},
		Output: r.Lines[max(0, len(r.Lines)-maxOutput):], OutputLines: len(r.Lines)}
	if !json.Valid(v.Params) {
		v.Params = nil
	}
	state := live
	if state == nil {
		state = r.job()
	}
	v.JobView = ViewJob(state)
	switch from, to := state.Options.Submitted, state.Ended; {
	case from.IsZero() || to.IsZero() && state.Outcome.IsEnd():
	case to.IsZero():
		v.Took = SecondsOf(max(now.Sub(from), 0))
	default:
		v.Took = SecondsOf(max(to.Sub(from), 0))
	}
	byStage := make([][]*Attempt, len(state.Stages))
	for i := range r.Attempts {
		if a := &r.Attempts[i]; a.Task.Stage < len(byStage) && a.Task.Stage >= 0 {
			byStage[a.Task.Stage] = append(byStage[a.Task.Stage], a)
			v.Ends[a.End.String()]++
		}
	}
	for k := range state.Stages {
		var rs RunStage
		if k < len(r.Stages) {
			rs = r.Stages[k]
		} else {
			rs.Name = state.Stages[k].Name
		}
		v.Stages[k].atLeastFailed(byStage[k])
		v.Runs = append(v.Runs, viewStageRun(&rs, byStage[k], &v.Stages[k]))
	}
	for i := range running {
		if a := &running[i]; a.Task.Stage < len(v.Runs) && !a.Started.IsZero() {
			s := &v.Runs[a.Task.Stage]
			s.Busy += SecondsOf(max(now.Sub(a.Started), 0))
			if s.Started == nil || a.Started.Before(*s.Started) {
				s.Started = &a.Started
			}
		}
	}
	v.shares()
	v.workers(r, running, now)
	v.failures(r)
	v.hotKeys(r)
	v.PostMortems = postMortems(r, running, now)
	v.findings()
	if !state.Outcome.IsEnd() {
		v.remaining(now)
	}
	return v
}

// atLeastFailed counts the failed attempts of the record. A coordinator counts from its start, so
// it may know of fewer.
func (s *StageView) atLeastFailed(attempts []*Attempt) {
	failed := 0
	for _, a := range attempts {
		if a.isFault() {
			failed++
		}
	}
	if more := failed - s.FailedAttempts; more > 0 {
		s.FailedAttempts += more
		s.Attempts += more
	}
}

// CountFailed counts the failed attempts of the record in the stages of a job; see atLeastFailed.
func (r *Run) CountFailed(v *JobView) {
	by := make([][]*Attempt, len(v.Stages))
	for i := range r.Attempts {
		if a := &r.Attempts[i]; a.Task.Stage >= 0 && a.Task.Stage < len(by) {
			by[a.Task.Stage] = append(by[a.Task.Stage], a)
		}
	}
	for k := range v.Stages {
		v.Stages[k].atLeastFailed(by[k])
	}
}

// isFault reports that an attempt ended without output by a fault.
func (a *Attempt) isFault() bool {
	return a.End == EndFailed || a.End == EndInputLost || a.End == EndLost
}

// job returns the state at the end of the run, or at the end of the record.
func (r *Run) job() *Job {
	j := &Job{ID: r.ID, Name: r.Name, Outcome: r.Outcome, Failure: r.Failure, Ended: r.Ended, Options: Options{Owner: r.Owner, Submitted: r.Submitted}}
	var last []Stage
	for _, s := range r.Stages {
		st := s.State
		if st.Name == "" {
			st.Name = s.Name
		}
		last = append(last, st)
	}
	if r.Outcome == JobRunning { // the record ends before the job: count what is there
		for k := range last {
			last[k] = Stage{Name: last[k].Name, Tasks: r.Stages[k].Tasks}
		}
		done := map[job.Task]bool{}
		for i := range r.Attempts {
			a := &r.Attempts[i]
			if a.Task.Stage >= len(last) || a.Task.Stage < 0 {
				continue
			}
			st := &last[a.Task.Stage]
			switch {
			case a.End == EndDone && !done[a.Task]:
				done[a.Task] = true
				st.Done++
				st.Sum.Bytes += a.WroteBytes
				st.Sum.Records += a.WroteRecords
				if st.Sum.Counters == nil {
					st.Sum.Counters = map[string]int64{}
				}
				st.Sum.Counters[recordsCounter] += a.ReadRecords
				st.Sum.Counters[bytesCounter] += a.ReadBytes
			case a.isFault():
				st.FailedAttempts++
			}
		}
		for k := range last {
			last[k].Waiting = max(last[k].Tasks-last[k].Done, 0)
		}
	}
	j.Stages = last
	return j
}

var modeNames = map[job.Mode]string{job.Shuffle: "shuffle", job.Broadcast: "broadcast", job.Range: "range", job.Group: "group", job.Sinks: "sinks"}

func viewStageRun(rs *RunStage, attempts []*Attempt, st *StageView) StageRun {
	s := StageRun{Kind: rs.Kind, Source: rs.Source, SourceBytes: rs.SourceBytes, Operators: []Operator{}, Columns: []Column{}}
	names, places := strings.Split(rs.Name, " > "), strings.Split(rs.Places, " > ")
	for i, name := range names {
		o := Operator{Name: name}
		if len(places) == len(names) {
			o.At = places[i]
		}
		s.Operators = append(s.Operators, o)
	}
	for _, e := range rs.Inputs {
		in := Input{e.From, modeNames[e.Mode]}
		if !slices.Contains(s.Inputs, in) {
			s.Inputs = append(s.Inputs, in)
		}
	}
	var done []*Attempt
	for _, a := range attempts {
		s.Busy += SecondsOf(a.Took())
		if !a.Started.IsZero() && (s.Started == nil || a.Started.Before(*s.Started)) {
			s.Started = &a.Started
		}
		if s.Ended == nil || a.Ended.After(*s.Ended) {
			s.Ended = &a.Ended
		}
		if a.End == EndDone && !a.Started.IsZero() {
			done = append(done, a)
		}
	}
	if st.Waiting+st.Running > 0 {
		s.Ended = nil
	}
	if len(done) > 0 {
		for _, c := range []struct {
			name, unit string
			of         func(*Attempt) int64
		}{
			{"time", "ns", func(a *Attempt) int64 { return int64(a.Took()) }},
			{"records in", "records", func(a *Attempt) int64 { return a.ReadRecords }},
			{"bytes in", "bytes", func(a *Attempt) int64 { return a.ReadBytes }},
			{"records out", "records", func(a *Attempt) int64 { return a.WroteRecords }},
			{"bytes out", "bytes", func(a *Attempt) int64 { return a.WroteBytes }},
			{"spilled", "bytes", func(a *Attempt) int64 { return a.SpilledBytes }},
		} {
			if col := columnOf(c.name, c.unit, done, c.of); col.Values[5] > 0 {
				s.Columns = append(s.Columns, col)
				if c.name == "bytes in" && len(done) >= fewTasks {
					s.Skew = float64(col.Values[5]) / float64(max(col.Values[2], 1))
				}
			}
		}
	}
	if rs.Kind == "combine" && st.ReadBytes > 0 {
		s.Saved = max(0, 1-float64(st.WroteBytes)/float64(st.ReadBytes))
	}
	return s
}

// columnOf returns the quantiles of one quantity. Each is the value of an attempt.
func columnOf(name, unit string, done []*Attempt, of func(*Attempt) int64) Column {
	c := Column{Name: name, Unit: unit}
	values := make([]int64, len(done))
	for i, a := range done {
		values[i] = of(a)
	}
	slices.Sort(values)
	n := len(values)
	for i, at := range [6]int{0, n / 4, n / 2, n * 3 / 4, n * 99 / 100, n - 1} {
		c.Values[i] = values[at]
	}
	median := max(c.Values[2], 1)
	if n < fewTasks || float64(c.Values[5]) < farAbove*float64(median) {
		return c
	}
	if unit == "ns" && c.Values[5]-c.Values[2] < int64(100*time.Millisecond) {
		return c // nobody waits for these
	}
	least := values[max(0, n-maxOutliers)]
	for _, a := range done {
		if v := of(a); v >= least && float64(v) >= farAbove*float64(median) {
			c.Outliers = append(c.Outliers, Outlier{a.String(), a.Worker, v, float64(v) / float64(median)})
		}
	}
	slices.SortStableFunc(c.Outliers, func(a, b Outlier) int { return cmp.Compare(b.Value, a.Value) })
	c.Outliers = c.Outliers[:min(len(c.Outliers), maxOutliers)]
	return c
}

func (v *RunView) shares() {
	var all, most Seconds
	for i := range v.Runs {
		all += v.Runs[i].Busy
		most = max(most, v.Runs[i].Busy)
	}
	for i := range v.Runs {
		if s := &v.Runs[i]; all > 0 {
			s.Share = float64(s.Busy / all)
			s.Slowest = len(v.Runs) > 1 && s.Busy == most && most > 0
		}
	}
}

func (v *RunView) workers(r *Run, running []Attempt, now time.Time) {
	by := map[string]*WorkerRun{}
	of := func(name string) *WorkerRun {
		w := by[name]
		if w == nil {
			w = &WorkerRun{Name: name}
			by[name] = w
		}
		return w
	}
	for i := range r.Attempts {
		a := &r.Attempts[i]
		w := of(a.Worker)
		w.Attempts++
		w.Busy += SecondsOf(a.Took())
		w.ReadBytes += a.ReadBytes
		if a.isFault() {
			w.Failed++
		}
	}
	for i := range running {
		w := of(running[i].Worker)
		w.Attempts++
		w.Busy += SecondsOf(max(now.Sub(running[i].Started), 0))
	}
	for _, name := range slices.Sorted(maps.Keys(by)) {
		v.Workers = append(v.Workers, *by[name])
	}
}

func (v *RunView) failures(r *Run) {
	groups := make([]FailureGroup, len(r.Causes))
	tasks := make([]map[job.Task]bool, len(r.Causes))
	for i := range r.Attempts {
		a := &r.Attempts[i]
		if a.Cause < 1 || a.Cause > len(groups) || a.End == EndCancelled {
			continue
		}
		g := &groups[a.Cause-1]
		if g.Attempts++; g.Attempts == 1 {
			c := &r.Causes[a.Cause-1]
			g.Kind, g.Message, g.Detail, g.Record, g.First = c.Kind, c.Message, c.Detail, c.Record, &a.Ended
			tasks[a.Cause-1] = map[job.Task]bool{}
		}
		g.Last = &a.Ended
		tasks[a.Cause-1][a.Task] = true
		if !slices.Contains(g.Stages, a.Task.Stage) {
			g.Stages = append(g.Stages, a.Task.Stage)
		}
		if len(g.Workers) < maxExamples && !slices.Contains(g.Workers, a.Worker) {
			g.Workers = append(g.Workers, a.Worker)
		}
		if len(g.Examples) < maxExamples {
			g.Examples = append(g.Examples, a.String())
		}
	}
	for i := range groups {
		if groups[i].Attempts > 0 {
			groups[i].Tasks = len(tasks[i])
			slices.Sort(groups[i].Stages)
			v.Failures = append(v.Failures, groups[i])
		}
	}
	slices.SortStableFunc(v.Failures, func(a, b FailureGroup) int { return cmp.Compare(b.Attempts, a.Attempts) })
}

// findings finds what made the job slow.
func (v *RunView) findings() {
	add := func(stage int, format string, args ...any) {
		v.Findings = append(v.Findings, Finding{stage, fmt.Sprintf(format, args...)})
	}
	for k := range v.Runs {
		s := &v.Runs[k]
		column := func(name string) *Column {
			if i := slices.IndexFunc(s.Columns, func(c Column) bool { return c.Name == name }); i >= 0 {
				return &s.Columns[i]
			}
			return nil
		}
		if t := column("time"); t != nil && len(t.Outliers) > 0 {
			o, why := &t.Outliers[0], ""
			if in := column("bytes in"); in != nil {
				if i := slices.IndexFunc(in.Outliers, func(x Outlier) bool { return x.Attempt == o.Attempt }); i >= 0 {
					why = fmt.Sprintf(": it read %s, %.1f times the median", bytesize.Format(in.Outliers[i].Value), in.Outliers[i].Times)
				}
			}
			add(k, "attempt %s on %s took %s, %.1f times the median of its stage%s", o.Attempt, o.Worker, time.Duration(o.Value).Round(time.Millisecond), o.Times, why)
		} else if s.Skew >= 3 && s.Kind != "map" {
			add(k, "the input is uneven: the largest task of stage %d read %.1f times the median%s", k, s.Skew, v.hottest(k))
		}
		if spilled := column("spilled"); spilled != nil {
			add(k, "attempts of stage %d spilled up to %s to disk each; more memory per slot avoids that", k, bytesize.Format(spilled.Values[5]))
		}
		st := &v.Stages[k]
		if all := st.Local.Bytes + st.Zone.Bytes + st.Remote.Bytes; all > 0 && st.Remote.Bytes*2 > all && st.Remote.Bytes > 64<<20 {
			add(k, "stage %d read %s of %s from other machines", k, bytesize.Format(st.Remote.Bytes), bytesize.Format(all))
		}
	}
	if n := v.Ends[EndLost.String()]; n > 0 {
		add(-1, "%s ended with a worker and ran again", Plural(n, "attempt"))
	}
	if n := v.Ends[EndInputLost.String()]; n > 0 {
		add(-1, "%s lost an input, which was made again", Plural(n, "attempt"))
	}
}

// remaining estimates the time to the end from the mean time of done tasks. Stages to come take the
// mean of all stages.
func (v *RunView) remaining(now time.Time) {
	var left, doneBusy Seconds
	doneTasks, toCome, slots := 0, 0, 0
	for k := range v.Runs {
		doneTasks += v.Stages[k].Done
		slots += v.Stages[k].Counts.Running
	}
	for k := range v.Runs {
		if v.Stages[k].Done > 0 {
			doneBusy += v.Runs[k].Busy
		}
	}
	if doneTasks == 0 || slots == 0 || doneBusy == 0 {
		return
	}
	mean := doneBusy / Seconds(doneTasks)
	for k := range v.Runs {
		st, open := &v.Stages[k], v.Stages[k].Waiting+v.Stages[k].Counts.Running
		each := mean
		switch {
		case open == 0:
			continue
		case st.Done > 0:
			each = v.Runs[k].Busy / Seconds(st.Done)
		default:
			toCome++
		}
		left += each * Seconds(open) / Seconds(max(min(slots, st.Tasks), 1))
	}
	how := fmt.Sprintf("open tasks times the mean time of done tasks of their stage, over the %s that run now", Plural(slots, "attempt"))
	if toCome > 0 {
		how += fmt.Sprintf("; for %s to come, the mean of all stages", Plural(toCome, "stage"))
	}
	v.Remaining = &Remaining{left, how}
}

// Format formats a value of the column.
func (c *Column) Format(v int64) string {
	switch c.Unit {
	case "ns":
		d := time.Duration(v)
		switch {
		case d < time.Millisecond:
			return fmt.Sprintf("%d µs", d.Microseconds())
		case d < time.Second:
			return fmt.Sprintf("%d ms", d.Milliseconds())
		case d < time.Minute:
			return fmt.Sprintf("%.1f s", d.Seconds())
		}
		return d.Round(time.Second).String()
	case "bytes":
		return bytesize.Format(v)
	}
	return fmt.Sprint(v)
}
