// Package runpage shows the run of a job: as a part of a page, as one HTML file without links to
// other files, and as a trace for Perfetto. All its numbers come from report.ViewRun.
package runpage

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/page"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
)

//go:embed run.html file.html
var files embed.FS

// Add adds the template "run" to a page. Its data is a *Content.
func Add(t *template.Template) (*template.Template, error) { return t.ParseFS(files, "run.html") }

// Content is the data of the template "run".
type Content struct {
	*report.RunView
	// Live means that a server answers: the page shows links and commands.
	Live bool
	// Source is the URL of the timeline; Packed is the timeline itself, in a file.
	Source, Packed string
	// Running are running attempts, and More counts further attempts that are not shown.
	Running []report.Attempt
	More    int
	// Others are other runs of the same program.
	Others []Other
	// Parameters are the parameters, indented, and Now is the time of the data.
	Parameters string
	Now        time.Time
}

// Other is another run of the same program.
type Other struct{ ID, Note string }

const (
	// maxWorkers is the limit of workers in the table.
	maxWorkers = 20
	// maxParameters is the limit of the parameters on a page, in bytes.
	maxParameters = 20 << 10
)

// New returns the content for a view.
func New(v *report.RunView, now time.Time) *Content {
	c := &Content{RunView: v, Now: now}
	if len(v.Params) > 0 && string(v.Params) != "null" {
		var b bytes.Buffer
		if err := json.Indent(&b, v.Params, "", "  "); err == nil {
			c.Parameters = b.String()
		}
		if len(c.Parameters) > maxParameters {
			c.Parameters = c.Parameters[:maxParameters] + " …"
		}
	}
	return c
}

// ParametersLine is the beginning of the parameters in one line.
func (c *Content) ParametersLine() string {
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(c.Parameters)); err != nil {
		return "show"
	}
	return b.String()
}

// State is the outcome, or waiting.
func (c *Content) State() string {
	if c.Outcome == report.JobRunning.String() && c.Counts.Running == 0 && c.Done == 0 {
		return "waiting"
	}
	return c.Outcome
}

// Ended reports whether the job has ended.
func (c *Content) Ended() bool {
	return c.Outcome != report.JobRunning.String() && c.Outcome != report.JobPlanning.String()
}

// Bar shows the tasks of all stages.
func (c *Content) Bar() page.Bar { return barOf(&c.Counts) }

func barOf(c *report.Counts) page.Bar {
	return page.NewBar(c.Done, c.Running, c.Failed, c.Cancelled, c.Waiting)
}

// Trouble is the number of attempts without output by a fault.
func (c *Content) Trouble() (n int) {
	for i := range c.Stages {
		n += c.Stages[i].FailedAttempts
	}
	return n
}

// Tries is the number of all attempts.
func (c *Content) Tries() (n int) {
	for i := range c.Stages {
		n += c.Stages[i].Attempts
	}
	return n
}

// HasAttempts reports whether there is something to draw.
func (c *Content) HasAttempts() bool {
	return (c.Source != "" || c.Packed != "") && (len(c.Ends) > 0 || len(c.Running) > 0)
}

// Graph is the picture of the stages.
func (c *Content) Graph() template.HTML { return graph(c.RunView) }

// Since is the time since t.
func (c *Content) Since(t time.Time) time.Duration { return c.Now.Sub(t) }

// QuantileNames are the names of the quantiles.
func (c *Content) QuantileNames() []string { return report.Quantiles[:] }

// Row is a stage in the table of stages.
type Row struct {
	Number int
	Kind   string
	Inputs []report.Input
	report.StageView
	Bar   page.Bar
	Ratio string // how much less comes out, of a stage that merges
}

// Rows are the stages.
func (c *Content) Rows() (rows []Row) {
	for k := range c.Stages {
		r := Row{Number: k, Kind: c.Runs[k].Kind, Inputs: c.Runs[k].Inputs, StageView: c.Stages[k], Bar: barOf(&c.Stages[k].Counts)}
		if r.Kind == "combine" && r.WroteBytes > 0 && r.ReadBytes > r.WroteBytes {
			r.Ratio = fmt.Sprintf("%.1f times less", float64(r.ReadBytes)/float64(r.WroteBytes))
		}
		rows = append(rows, r)
	}
	return rows
}

// SpreadStage is a stage in the table of quantiles.
type SpreadStage struct {
	Stage   string
	Columns []SpreadRow
}

// SpreadRow is a line of the table of quantiles.
type SpreadRow struct {
	Name     string
	Cells    []Cell
	Outliers []report.Outlier
}

// Cell is a value with the name of its column.
type Cell struct{ Name, Value string }

// Spread are the quantiles of all stages.
func (c *Content) Spread() (all []SpreadStage) {
	for k := range c.Runs {
		s := SpreadStage{Stage: fmt.Sprintf("%d %s", k, c.Stages[k].Stage)}
		for i := range c.Runs[k].Columns {
			col := &c.Runs[k].Columns[i]
			r := SpreadRow{Name: col.Name, Outliers: col.Outliers}
			for q, v := range col.Values {
				text := col.Format(v)
				if col.Unit == "records" {
					text = page.Num(v)
				}
				r.Cells = append(r.Cells, Cell{report.Quantiles[q], text})
			}
			s.Columns = append(s.Columns, r)
		}
		if s.Columns != nil {
			all = append(all, s)
		}
	}
	return all
}

// HotKeyRow is a hot key in the table of hot keys.
type HotKeyRow struct {
	report.KeyShare
	Stage string // that writes the records
	Bar   page.Bar
}

// Percent is the share of the records in percent.
func (r *HotKeyRow) Percent() float64 { return 100 * r.Share }

// HotKeys are the hot keys of all stages.
func (c *Content) HotKeys() (rows []*HotKeyRow) {
	for k := range c.Runs {
		for _, h := range c.Runs[k].HotKeys {
			b := page.Slots(int(1000*h.Share), 1000)
			b.Label = fmt.Sprintf("%.1f %% of the records", 100*h.Share)
			rows = append(rows, &HotKeyRow{h, fmt.Sprintf("%d %s", k, c.Stages[k].Stage), b})
		}
	}
	return rows
}

// WorkerRow is a worker with its share of the work.
type WorkerRow struct {
	report.WorkerRun
	Bar page.Bar
}

// WorkerRows are the workers.
func (c *Content) WorkerRows() (rows []WorkerRow) {
	var most report.Seconds
	for _, w := range c.Workers {
		most = max(most, w.Busy)
	}
	for _, w := range c.Workers[:min(len(c.Workers), maxWorkers)] {
		b := page.Slots(int(1000*w.Busy/max(most, 1e-9)), 1000)
		b.Label = fmt.Sprintf("%.0f %% of the busiest worker", 100*w.Busy/max(most, 1e-9))
		rows = append(rows, WorkerRow{w, b})
	}
	return rows
}

// MoreWorkers is the number of workers that the table does not show.
func (c *Content) MoreWorkers() int { return max(len(c.Workers)-maxWorkers, 0) }

// Counter is a counter of user code.
type Counter struct {
	Name string
	N    int64
}

// CounterRows are the counters, summed over the stages.
func (c *Content) CounterRows() (rows []Counter) {
	sums := map[string]int64{}
	for i := range c.Stages {
		for name, n := range c.Stages[i].Counters {
			sums[name] += n
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		rows = append(rows, Counter{name, sums[name]})
	}
	return rows
}

// Sources describe the input of the stages that read sources.
func (c *Content) Sources() (all []string) {
	for k := range c.Runs {
		if s := &c.Runs[k]; s.Source != "" {
			all = append(all, fmt.Sprintf("stage %d: %s in %s, from %s", k, bytesize.Format(s.SourceBytes), report.Plural(c.Stages[k].Tasks, "split"), s.Source))
		}
	}
	return all
}

// script is an inline script and its hash for the policy.
type script struct {
	Code template.JS
	Hash string
}

// WriteHTML writes a run as one HTML file that needs no other file.
func WriteHTML(w io.Writer, r *report.Run, v *report.RunView, version string, now time.Time) error {
	t, err := template.New("file.html").Funcs(page.Funcs).ParseFS(files, "file.html", "run.html")
	if err == nil {
		t, err = page.AddParts(t)
	}
	if err != nil {
		return err
	}
	style, err := page.Asset("style.css")
	if err != nil {
		return err
	}
	code, err := page.Asset("timeline.js")
	if err != nil {
		return err
	}
	c := New(v, now)
	if c.Packed, err = packedTimeline(r, now); err != nil {
		return err
	}
	sum := sha256.Sum256(code)
	return t.Execute(w, map[string]any{"Content": plain.Page(c), "At": now, "Version": version, "Style": template.CSS(style),
		"Script": script{template.JS(code), "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"}})
}
