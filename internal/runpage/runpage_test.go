package runpage

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
)

const evil = `</script><img src=x onerror="alert(1)">'&{{.}}` + "\x1b[31m\xe9\u202e"

// run returns a run with n attempts, hostile texts, and failures.
func run(n int) *report.Run {
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	r := &report.Run{ID: "night-1", Name: "night", Owner: evil, Hash: "hash", Params: []byte(`{"a":"</script>"}`), Explain: evil, Submitted: at, Outcome: report.JobDone,
		Stages: []report.RunStage{
			{Name: "read > " + evil, Places: "main.go:1 > main.go:2", Kind: "map", Tasks: n, Source: evil, SourceBytes: 1 << 30, State: report.Stage{Name: "read > " + evil, Tasks: n, Done: n, Sum: report.Summary{Records: 7, Bytes: 9}}},
			{Name: "combine", Kind: "combine", Tasks: 1, Inputs: []job.Edge{{From: 0, Mode: job.Group}}, State: report.Stage{Name: "combine", Tasks: 1, Done: 1}},
			{Name: "sum", Kind: "reduce", Tasks: 2, Inputs: []job.Edge{{From: 0, Mode: job.Broadcast}, {From: 1}}, State: report.Stage{Name: "sum", Tasks: 2, Done: 2}}},
		Causes: []report.Cause{{Kind: "transient", Message: evil, Detail: "stack\n" + evil}},
		Lines:  []report.Line{{Worker: evil, Attempts: []string{"0/3#1"}, Text: "it writes " + evil}}}
	for i := range n {
		stage := 0
		if i >= n-2 {
			stage = 2
		}
		end := at.Add(time.Duration(i+10) * time.Second)
		a := report.Attempt{Task: job.Task{Stage: stage, Index: i}, N: 1, Worker: fmt.Sprint("w", i%3), Started: end.Add(-10 * time.Second), Ended: end, ReadRecords: 5, ReadBytes: 1 << 20}
		if i == 3 {
			a.End, a.Cause = report.EndFailed, 1
		}
		r.Attempts = append(r.Attempts, a)
	}
	r.Ended = at.Add(time.Hour)
	return r
}

// A report is one file: it refers to no other, and hostile texts are texts.
func TestHTML(t *testing.T) {
	t.Parallel()
	r := run(40)
	now := r.Ended.Add(time.Minute)
	var b bytes.Buffer
	if err := WriteHTML(&b, r, report.ViewRun(r, nil, nil, now), "v1", now); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	if strings.Contains(page, "<img") || strings.Count(page, "</script>") != 1 || strings.ContainsAny(page, "\x1b\u202e") {
		t.Error("a hostile text is not escaped")
	}
	if m := regexp.MustCompile(`(?:src|href)="[^#"][^"]*"`).FindString(strings.ReplaceAll(page, "data-src", "")); m != "" {
		t.Errorf("the file refers to another: %s", m)
	}
	for _, want := range []string{"main.go:2", `data-gz="H4sI`, "stack\n", "it writes ", "script-src &#39;sha256-"} {
		if !strings.Contains(page, want) {
			t.Errorf("the file lacks %q", want)
		}
	}
	if strings.Contains(page, "ZgotmplZ") {
		t.Error("the template refuses a value")
	}
}

// The picture is well-formed, and a job with very many stages has none.
func TestGraph(t *testing.T) {
	t.Parallel()
	v := report.ViewRun(run(10), nil, nil, time.Now())
	v, _ = plain.Page(v).(*report.RunView)
	svg := string(graph(v))
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if strings.Count(svg, `<g class="stage`) != 3 || strings.Count(svg, `<g class="edge`) != 3 {
		t.Errorf("%s", svg)
	}
	v.Runs = make([]report.StageRun, 100)
	if graph(v) != "" {
		t.Error("100 stages are drawn")
	}
}

// A trace is JSON with an event for each attempt with a known start, and an arrow for each reader.
func TestTrace(t *testing.T) {
	t.Parallel()
	r := run(40)
	r.Attempts[5].Started = time.Time{}
	var b bytes.Buffer
	if err := WriteTrace(&b, r); err != nil {
		t.Fatal(err)
	}
	var got struct{ TraceEvents []event }
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	busy := map[[2]int]int64{} // end of the last attempt by thread
	for _, e := range got.TraceEvents {
		count[e.Phase]++
		if e.Phase != "X" {
			continue
		}
		at := [2]int{e.Process, e.Thread}
		if e.Time < busy[at] {
			t.Errorf("two attempts at once in %v", at)
		}
		busy[at] = e.Time + *e.Duration
	}
	if count["X"] != 39 || count["s"] != count["f"] || count["s"] != 2 {
		t.Errorf("%v", count)
	}
}

// The timeline continues where the last answer ended, with the same numbers for workers.
func TestTimeline(t *testing.T) {
	t.Parallel()
	r := run(40)
	get := func(from int) (out timeline) {
		var b bytes.Buffer
		if err := WriteTimeline(&b, r, []report.Attempt{{Worker: "w9", Started: r.Submitted}}, from, r.Ended); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b.Bytes(), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	all, rest := get(0), get(38)
	if len(all.Worker) != 40 || len(rest.Worker) != 2 || rest.From != 38 || rest.Total != 40 || all.Worker[38] != rest.Worker[0] || len(rest.Running.Worker) != 1 {
		t.Errorf("%+v\n%+v", all, rest)
	}
	if all.Took[0] != int64(10*time.Second/tick) || all.Start[1] != int64(time.Second/tick) {
		t.Errorf("started %v, took %v", all.Start, all.Took)
	}
	if none := get(1000); len(none.Worker) != 0 || none.From != 40 {
		t.Errorf("%+v", none)
	}
}
