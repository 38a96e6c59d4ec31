package runpage

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/report"
)

// event is an event of a trace; see "Trace Event Format" of Chrome. Times are in microseconds.
type event struct {
	Phase    string `json:"ph"`
	Name     string `json:"name"`
	Category string `json:"cat,omitempty"`
	Process  int    `json:"pid"`
	Thread   int    `json:"tid"`
	Time     int64  `json:"ts"`
	Duration *int64 `json:"dur,omitempty"`
	ID       int    `json:"id,omitempty"`
	Binding  string `json:"bp,omitempty"`
	Args     any    `json:"args,omitempty"`
}

// attemptArgs are the details of an attempt.
type attemptArgs struct {
	Attempt      string `json:"attempt"`
	Worker       string `json:"worker"`
	End          string `json:"end"`
	ReadRecords  int64  `json:"records in"`
	ReadBytes    int64  `json:"bytes in"`
	WroteRecords int64  `json:"records out"`
	WroteBytes   int64  `json:"bytes out"`
	Speculative  bool   `json:"speculative,omitempty"`
	Failure      string `json:"failure,omitempty"`
}

// maxFlows is the limit of arrows between two stages in a trace.
const maxFlows = 1000

// WriteTrace writes all attempts of a run as a trace for Perfetto (ui.perfetto.dev) or
// chrome://tracing. Each stage is a process, each slot of a worker a thread in it. An arrow leads
// from the last output of a stage to each attempt that reads it.
func WriteTrace(w io.Writer, r *report.Run) error {
	out := bufio.NewWriter(w)
	first := true
	var failed error
	write := func(e event) {
		b, err := json.Marshal(e) // replaces bytes outside UTF-8
		if err != nil && failed == nil {
			failed = err
		}
		sep := ",\n"
		if first {
			sep = "\n"
		}
		first = false
		_, _ = out.WriteString(sep) // Flush returns the error
		_, _ = out.Write(b)
	}
	_, _ = fmt.Fprint(out, `{"displayTimeUnit":"ms","traceEvents":[`)
	base := r.Submitted
	byStage := make([][]*report.Attempt, len(r.Stages))
	for i := range r.Attempts {
		a := &r.Attempts[i]
		if a.Task.Stage < 0 || a.Task.Stage >= len(byStage) || a.Started.IsZero() {
			continue
		}
		if base.IsZero() || a.Started.Before(base) {
			base = a.Started
		}
		byStage[a.Task.Stage] = append(byStage[a.Task.Stage], a)
	}
	at := func(t time.Time) int64 { return t.Sub(base).Microseconds() }
	lastEnd := make([]*report.Attempt, len(r.Stages))
	threads := map[*report.Attempt]int{}
	flow := 0
	for k, attempts := range byStage {
		s := &r.Stages[k]
		write(event{Phase: "M", Name: "process_name", Process: k, Args: map[string]any{"name": fmt.Sprintf("stage %d %s: %s", k, s.Kind, s.Name)}})
		write(event{Phase: "M", Name: "process_sort_index", Process: k, Args: map[string]any{"sort_index": k}})
		slices.SortStableFunc(attempts, func(a, b *report.Attempt) int { return a.Started.Compare(b.Started) })
		slots := map[string][]int{} // threads by worker
		var ends []time.Time        // by thread
		for _, a := range attempts {
			i := len(ends)
			if n := slices.IndexFunc(slots[a.Worker], func(x int) bool { return !ends[x].After(a.Started) }); n >= 0 {
				i = slots[a.Worker][n]
			} else {
				slots[a.Worker] = append(slots[a.Worker], i)
				ends = append(ends, time.Time{})
				write(event{Phase: "M", Name: "thread_name", Process: k, Thread: i, Args: map[string]any{"name": a.Worker}})
			}
			ends[i] = a.Ended
			threads[a] = i
			took := a.Took().Microseconds()
			args := &attemptArgs{Attempt: a.String(), Worker: a.Worker, End: a.End.String(), ReadRecords: a.ReadRecords, ReadBytes: a.ReadBytes,
				WroteRecords: a.WroteRecords, WroteBytes: a.WroteBytes, Speculative: a.Speculative}
			if a.Cause > 0 && a.Cause <= len(r.Causes) {
				args.Failure = r.Causes[a.Cause-1].Message
			}
			write(event{Phase: "X", Name: a.String(), Category: a.End.String(), Process: k, Thread: i, Time: at(a.Started), Duration: &took, Args: args})
			if a.End == report.EndDone && (lastEnd[k] == nil || a.Ended.After(lastEnd[k].Ended)) {
				lastEnd[k] = a
			}
		}
		for _, in := range s.Inputs {
			if in.From < 0 || in.From >= k || lastEnd[in.From] == nil {
				continue
			}
			from := lastEnd[in.From]
			for _, a := range attempts[:min(len(attempts), maxFlows)] {
				flow++
				write(event{Phase: "s", Name: "shuffle", Category: "shuffle", Process: in.From, Thread: threads[from], Time: at(from.Ended), ID: flow})
				write(event{Phase: "f", Binding: "e", Name: "shuffle", Category: "shuffle", Process: k, Thread: threads[a], Time: at(a.Started), ID: flow})
			}
		}
	}
	_, _ = fmt.Fprint(out, "\n]}\n")
	if err := out.Flush(); err != nil {
		return err
	}
	return failed
}
