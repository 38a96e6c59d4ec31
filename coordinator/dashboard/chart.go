package dashboard

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/page"
	"github.com/layshaft/layshaft/internal/report"
)

// chart is a picture of numbers over time. It is drawn as lines in a box of chartWidth by
// chartHeight; the texts stand around it.
type chart struct {
	Title string
	Lines []chartLine
	Top   string // number at the upper edge
	From  string // time at the left edge
	Label string // all of it in words, for people who cannot see it
	Note  string // a sentence below; may be empty
	Data  string // JSON for chart.js, which shows the numbers at the pointer
}

// chartLine is one line of a chart.
type chartLine struct {
	Name   string // empty for the only one
	Class  string // of its color
	Now    string // its last number
	Points string // of the line
	Area   string // of the area below it; empty if there are several lines
}

const (
	chartWidth  = 600
	chartHeight = 100
)

// line is a line before it is drawn. One of its values that is not a number is a gap.
type line struct {
	name   string
	values []float64
	now    string // empty means the last value
}

// form formats a number of a chart.
type form struct {
	name string // for chart.js
	text func(v float64) string
}

var (
	perSecond = form{"rate", func(v float64) string { return rateText(v) + "/s" }}
	count     = form{"count", func(v float64) string { return page.Num(int64(math.Round(v))) }}
	seconds   = form{"seconds", func(v float64) string { return page.Dur(time.Duration(v * float64(time.Second))) }}
)

// rateText formats a rate with about two digits.
func rateText(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 10:
		return fmt.Sprintf("%.1f", v)
	}
	return page.Num(int64(math.Round(v)))
}

// bytesPerSecond formats a rate of bytes.
func bytesPerSecond(v float64) string { return bytesize.Format(int64(v)) + "/s" }

// newChart draws lines whose values are step apart; the last ones are of the time to.
func newChart(title string, f form, to time.Time, step time.Duration, lines ...line) chart {
	c := chart{Title: title}
	top, n := 0.0, 0
	for _, l := range lines {
		n = max(n, len(l.values))
		for _, v := range l.values {
			if !math.IsNaN(v) {
				top = max(top, v)
			}
		}
	}
	top = niceTop(top)
	c.Top = f.text(top)
	span := time.Duration(max(n-1, 0)) * step
	c.From = page.Dur(span.Round(time.Second)) + " ago"
	data := struct {
		From  int64            `json:"from"` // ms since 1970
		Step  int64            `json:"step"` // ms
		Form  string           `json:"form"`
		Names []string         `json:"names"`
		Lines [][]*json.Number `json:"lines"`
	}{From: to.Add(-span).UnixMilli(), Step: step.Milliseconds(), Form: f.name}
	var words []string
	for i, l := range lines {
		x := chartLine{Name: l.name, Class: fmt.Sprintf("c%d", i), Now: l.now}
		last, most := 0.0, 0.0
		var b strings.Builder
		for k, v := range l.values {
			if math.IsNaN(v) {
				continue
			}
			fmt.Fprintf(&b, "%.1f,%.1f ", chartWidth*float64(k+n-len(l.values))/float64(max(n-1, 1)), chartHeight-(chartHeight-2)*v/top)
			last, most = v, max(most, v)
		}
		if len(l.values) > 0 && math.IsNaN(l.values[len(l.values)-1]) {
			last = math.NaN()
		}
		if x.Now == "" && math.IsNaN(last) {
			x.Now = "–"
		} else if x.Now == "" {
			x.Now = f.text(last)
		}
		if x.Points = strings.TrimSpace(b.String()); len(lines) == 1 && x.Points != "" {
			first, _, _ := strings.Cut(x.Points, ",")
			end := x.Points[strings.LastIndexByte(x.Points, ' ')+1:]
			end, _, _ = strings.Cut(end, ",")
			x.Area = fmt.Sprintf("%s,%d %s %s,%d", first, chartHeight, x.Points, end, chartHeight)
		}
		c.Lines = append(c.Lines, x)
		data.Names = append(data.Names, l.name)
		data.Lines = append(data.Lines, numbers(l.values, n))
		word := fmt.Sprintf("now %s, at most %s", x.Now, f.text(most))
		if l.name != "" {
			word = l.name + " " + word
		}
		words = append(words, word)
	}
	c.Label = fmt.Sprintf("%s, since %s: %s", title, c.From, strings.Join(words, "; "))
	if b, err := json.Marshal(data); err == nil {
		c.Data = string(b)
	}
	return c
}

// numbers returns n values with three digits; the first ones and gaps are null.
func numbers(values []float64, n int) []*json.Number {
	out := make([]*json.Number, n)
	for i, v := range values {
		if !math.IsNaN(v) {
			x := json.Number(fmt.Sprintf("%.3g", v))
			if math.Abs(v) >= 1000 {
				x = json.Number(fmt.Sprintf("%.0f", v))
			}
			out[n-len(values)+i] = &x
		}
	}
	return out
}

// niceTop returns the next of 1, 2, 5, 10, 20 and so on, at least 1e-3.
func niceTop(v float64) float64 {
	if v <= 0 {
		return 1
	}
	step := math.Pow(10, math.Floor(math.Log10(v)))
	for _, k := range []float64{1, 2, 5, 10} {
		if v <= k*step*1.0001 {
			return k * step
		}
	}
	return 10 * step
}

// values returns a number of each sample.
func values(all []sample, of func(s *sample) float64) []float64 {
	out := make([]float64, len(all))
	for i := range all {
		out[i] = of(&all[i])
	}
	return out
}

func attemptsOf(s *sample) float64 { return float64(s.attempts) }
func endedOf(s *sample) float64    { return float64(s.ended) }
func recordsOf(s *sample) float64  { return float64(s.records) }
func bytesOf(s *sample) float64    { return float64(s.bytes) }

// spacing returns the time of the last sample, and the time between two.
func spacing(all []sample) (to time.Time, step time.Duration) {
	if len(all) < 2 {
		return time.Now(), sampleEvery
	}
	to = all[len(all)-1].at
	return to, to.Sub(all[0].at) / time.Duration(len(all)-1)
}

// charts are the pictures of the overview. jobs and single are the numbers of waiting tasks, as the
// page shows them elsewhere.
func (h *sampler) charts(jobs, single int) []chart {
	all := h.series()
	if len(all) < 3 {
		return nil
	}
	to, step := spacing(all)
	read := newChart("Records read", perSecond, to, step, line{values: rates(all, recordsOf), now: rateText(h.last(recordsOf)) + "/s"})
	read.Lines[0].Now += ", " + bytesPerSecond(h.last(bytesOf))
	return []chart{
		newChart("Tasks done", perSecond, to, step, line{name: "of jobs", values: rates(all, attemptsOf), now: rateText(h.last(attemptsOf)) + "/s"},
			line{name: "single", values: rates(all, endedOf), now: rateText(h.last(endedOf)) + "/s"}),
		read,
		newChart("Tasks waiting", count, to, step, line{name: "of jobs", values: values(all, func(s *sample) float64 { return float64(s.jobsWaiting) }), now: page.Num(jobs)},
			line{name: "single", values: values(all, func(s *sample) float64 { return float64(s.waiting) }), now: page.Num(single)}),
	}
}

// taskCharts are the pictures of all single tasks; see charts.
func (h *sampler) taskCharts(waiting int) []chart {
	all := h.series()
	if len(all) < 3 {
		return nil
	}
	to, step := spacing(all)
	submitted := func(s *sample) float64 { return float64(s.submitted) }
	return []chart{
		newChart("Tasks per second", perSecond, to, step, line{name: "submitted", values: rates(all, submitted), now: rateText(h.last(submitted)) + "/s"},
			line{name: "ended", values: rates(all, endedOf), now: rateText(h.last(endedOf)) + "/s"}),
		newChart("Tasks waiting", count, to, step, line{values: values(all, func(s *sample) float64 { return float64(s.waiting) }), now: page.Num(waiting)}),
	}
}

// functionCharts are the pictures of a function; see charts. note says why there are none.
func (h *sampler) functionCharts(name string, now report.TaskCounts) (out []chart, note string) {
	points, to, tracked := h.function(name)
	switch {
	case !tracked:
		return nil, fmt.Sprintf("No charts: only %d functions with recent tasks have some.", maxTracked)
	case len(points) < 2:
		return nil, ""
	}
	get := func(of func(p *functionSample) float32) []float64 {
		out := make([]float64, len(points))
		for i := range points {
			out[i] = float64(of(&points[i]))
		}
		return out
	}
	duration := func(of func(p *functionSample) float32) []float64 {
		out := get(of)
		for i := range out {
			if out[i] == 0 {
				out[i] = math.NaN()
			}
		}
		return out
	}
	return []chart{
		newChart("Tasks waiting", count, to, hourEvery, line{name: "waiting", values: get(func(p *functionSample) float32 { return float32(p.waiting) }), now: page.Num(now.Waiting + now.Delayed)},
			line{name: "running", values: get(func(p *functionSample) float32 { return float32(p.running) }), now: page.Num(now.Running)}),
		newChart("Tasks ended", perSecond, to, hourEvery, line{name: "done", values: get(func(p *functionSample) float32 { return p.done })},
			line{name: "failed", values: get(func(p *functionSample) float32 { return p.failed })}),
		newChart("Time of an attempt", seconds, to, hourEvery, line{name: "median ≤", values: duration(func(p *functionSample) float32 { return p.p50 })},
			line{name: "99 % ≤", values: duration(func(p *functionSample) float32 { return p.p99 })}),
	}, ""
}
