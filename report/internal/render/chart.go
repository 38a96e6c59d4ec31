package render

import (
	"bufio"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// chart collects what a chart shows. The shape of the result selects its kind:
//
//	a date or time and numbers        a line over time for each number of similar size
//	a date or time, a text, a number  a line for each text
//	a text or boolean and numbers     bars of the first number
//	one number                        a histogram
//
// Other results, and those with too few or too many rows, have no chart.
type chart struct {
	kind    chartKind
	columns []vec.Field
	label   int   // column of the texts or times
	split   int   // column of the text that selects a line, or -1
	values  []int // columns of numbers
	points  []point
	over    bool // more points than a chart can show
}

type chartKind int

const (
	noChart chartKind = iota
	bars
	lines
	histogram
)

type point struct {
	label string
	at    float64 // seconds of a time
	y     []float64
}

const (
	maxBars   = 40
	maxPoints = 20_000
	maxLines  = 6
)

func isTime(t vec.Type) bool {
	return t.Kind == vec.Date || t.Kind == vec.Timestamp || t.Kind == vec.TimestampTZ
}

func newChart(columns []vec.Field) chart {
	c := chart{columns: columns, label: -1, split: -1}
	times, texts := -1, -1
	for i, col := range columns {
		switch {
		case isTime(col.Type) && times < 0:
			times = i
		case (col.Type.Kind == vec.Text || col.Type.Kind == vec.Bool) && texts < 0:
			texts = i
		case col.Type.IsNumber():
			c.values = append(c.values, i)
		}
	}
	switch {
	case len(c.values) == 0:
	case times >= 0:
		c.kind, c.label = lines, times
		if texts >= 0 {
			c.split, c.values = texts, c.values[:1]
		}
	case texts >= 0:
		c.kind, c.label, c.values = bars, texts, c.values[:1]
	case len(columns) == 1:
		c.kind = histogram
	}
	return c
}

// numberAt returns row i of a column of numbers, or NaN.
func numberAt(v *vec.Vec, i int) float64 {
	if v.Null(i) {
		return math.NaN()
	}
	at := i
	if v.Const {
		at = 0
	}
	switch v.Type.Kind {
	case vec.Float:
		return v.Floats[at]
	case vec.Decimal:
		return v.Int128(i).Float() / math.Pow10(v.Type.Scale)
	case vec.Date:
		return float64(v.Ints[at]) * 86400
	case vec.Timestamp, vec.TimestampTZ:
		return float64(v.Ints[at]) / 1e6
	}
	return float64(v.Ints[at])
}

// add collects rows.
func (c *chart) add(rows *vec.Batch) {
	if c.kind == noChart {
		return
	}
	for i := range rows.N {
		if len(c.points) == maxPoints {
			c.over = true
			return
		}
		p := point{y: make([]float64, len(c.values))}
		for k, col := range c.values {
			if p.y[k] = numberAt(rows.Cols[col], i); math.IsInf(p.y[k], 0) {
				p.y[k] = math.NaN()
			}
		}
		label := c.label
		if c.kind == lines {
			if rows.Cols[c.label].Null(i) {
				continue
			}
			p.at = numberAt(rows.Cols[c.label], i)
			label = c.split
		}
		if label >= 0 {
			s, null := text(rows.Cols[label], i, nil)
			if p.label = string(s); null {
				p.label = "NULL"
			}
		}
		c.points = append(c.points, p)
	}
}

// write writes the chart, if there is one.
func (c *chart) write(out *bufio.Writer) {
	switch c.kind {
	case bars:
		c.writeBars(out)
	case lines:
		c.writeLines(out)
	case histogram:
		c.writeHistogram(out)
	}
}

// scale is an axis from lo to hi, at round numbers with a distance of step.
type scale struct{ lo, hi, step float64 }

// newScale returns an axis of about n steps that covers lo to hi.
func newScale(lo, hi float64, n int) scale {
	if lo == hi {
		lo, hi = min(lo, 0), max(hi, 0)
		if lo == hi {
			hi = 1
		}
	}
	raw := (hi - lo) / float64(n)
	step := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, k := range []float64{1, 2, 5, 10} {
		if k*step >= raw {
			step *= k
			break
		}
	}
	return scale{math.Floor(lo/step) * step, math.Ceil(hi/step) * step, step}
}

// isDrawable reports whether an axis can show the numbers from lo to hi: neither so large nor so
// near to each other that steps would vanish in rounding.
func isDrawable(lo, hi float64) bool {
	d := hi - lo
	return d == 0 && math.Abs(lo) < 1e300 || d > 1e-300 && d < 1e300 && d > 1e-9*max(math.Abs(lo), math.Abs(hi))
}

// at returns the place of x between 0 and 1.
func (s scale) at(x float64) float64 { return (x - s.lo) / (s.hi - s.lo) }

// ticks returns the round numbers on the axis.
func (s scale) ticks() (out []float64) {
	first := math.Ceil(s.lo/s.step-1e-6) * s.step
	for i := range 20 {
		if x := first + float64(i)*s.step; x <= s.hi+s.step*1e-6 {
			out = append(out, x)
		}
	}
	return out
}

// short returns a number with few characters: 1204 stays, 1200000 is 1.2M.
func short(x float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if a := math.Abs(x); a >= max(u.size, 1e4) && a < 1e15 {
			return strconv.FormatFloat(x/u.size, 'g', 4, 64) + u.name
		}
	}
	return strconv.FormatFloat(x, 'g', 4, 64)
}

// coord returns a coordinate with at most one decimal.
func coord(x float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(x, 'f', 1, 64), ".0")
}

// finite returns the points whose first number is known.
func (c *chart) finite() (out []point) {
	for _, p := range c.points {
		if p.y[0] == p.y[0] {
			out = append(out, p)
		}
	}
	return out
}

func (c *chart) writeBars(out *bufio.Writer) {
	points := c.finite()
	if len(points) < 2 {
		return
	}
	caption := c.columns[c.values[0]].Name + " by " + c.columns[c.label].Name
	if n := len(c.points); n > maxBars {
		points = points[:min(len(points), maxBars)]
		caption += fmt.Sprintf(", first %d rows", maxBars)
	}
	lo, hi, labels := 0.0, 0.0, 0
	for i := range points {
		lo, hi = min(lo, points[i].y[0]), max(hi, points[i].y[0])
		points[i].label, _ = plain.Cut(cleaned(points[i].label), 28)
		labels = max(labels, plain.Width(points[i].label))
	}
	if !isDrawable(lo, hi) {
		return
	}
	const row, width, numbers = 24, 800, 64
	left := float64(min(labels, 28))*7 + 12
	s := newScale(lo, hi, 5)
	if lo < hi {
		s.lo, s.hi = lo, hi // bars take all the room
	}
	room := width - left - numbers
	x := func(v float64) float64 { return left + room*s.at(v) }
	height := float64(len(points)*row + 24)
	begin(out, caption, nil, width, height)
	for _, t := range s.ticks() {
		fmt.Fprintf(out, `<path class="grid" d="M%s 0V%s"/><text class="axis" x="%s" y="%s" text-anchor="middle">%s</text>`+"\n",
			coord(x(t)), coord(height-20), coord(x(t)), coord(height-5), short(t))
	}
	for i, p := range points {
		y := float64(i * row)
		a, z := x(min(p.y[0], 0)), x(max(p.y[0], 0))
		fmt.Fprintf(out, `<text x="%s" y="%s" text-anchor="end">%s</text><rect class="bar" x="%s" y="%s" width="%s" height="16" rx="2"><title>%s: %s</title></rect><text class="axis" x="%s" y="%s">%s</text>`+"\n",
			coord(left-8), coord(y+16), escaped(p.label), coord(a), coord(y+4), coord(max(z-a, 1)), escaped(p.label),
			strconv.FormatFloat(p.y[0], 'f', -1, 64), coord(z+6), coord(y+16), short(p.y[0]))
	}
	out.WriteString("</svg></figure>\n")
}

// begin starts a figure. names are the names of its lines.
func begin(out *bufio.Writer, caption string, names []string, width, height float64) {
	fmt.Fprintf(out, "<figure><figcaption>%s", escaped(cleaned(caption)))
	for i, name := range names {
		name, _ = plain.Cut(cleaned(name), 40)
		fmt.Fprintf(out, ` <i class="c%d"></i>%s`, i+1, escaped(name))
	}
	fmt.Fprintf(out, "</figcaption>\n<svg viewBox=\"0 0 %s %s\" role=\"img\" aria-label=\"%s\">\n", coord(width), coord(height), escaped(cleaned(caption)))
}

// curve is one line of a chart.
type curve struct {
	name   string
	points []point // with one number each
}

// curves divides the points into at most maxLines lines.
func (c *chart) curves() (out []curve) {
	if c.split < 0 {
		var first float64 // the size of the first column
		for k, col := range c.values {
			one := curve{name: c.columns[col].Name}
			size := 0.0
			for _, p := range c.points {
				if p.y[k] == p.y[k] {
					one.points = append(one.points, point{at: p.at, y: p.y[k : k+1]})
					size = max(size, math.Abs(p.y[k]))
				}
			}
			if k == 0 {
				first = size
			}
			// a column of another size would be flat, or make the others flat
			if k > 0 && (size > 20*first || size < first/20) || len(out) == maxLines {
				continue
			}
			out = append(out, one)
		}
		return out
	}
	at := map[string]int{}
	for _, p := range c.points {
		if p.y[0] != p.y[0] {
			continue
		}
		i, ok := at[p.label]
		if !ok {
			i = len(out)
			at[p.label] = i
			out = append(out, curve{name: p.label})
		}
		out[i].points = append(out[i].points, p)
	}
	// the lines with the largest sums
	sum := func(l curve) (s float64) {
		for _, p := range l.points {
			s += math.Abs(p.y[0])
		}
		return s
	}
	slices.SortStableFunc(out, func(a, b curve) int { return cmp.Compare(sum(b), sum(a)) })
	return out[:min(len(out), maxLines)]
}

func (c *chart) writeLines(out *bufio.Writer) {
	all := c.curves()
	lo, hi := math.Inf(1), math.Inf(-1)
	from, to := math.Inf(1), math.Inf(-1)
	var names []string
	longest := 0
	for _, l := range all {
		slices.SortStableFunc(l.points, func(a, b point) int { return cmp.Compare(a.at, b.at) })
		for _, p := range l.points {
			lo, hi = min(lo, p.y[0]), max(hi, p.y[0])
			from, to = min(from, p.at), max(to, p.at)
		}
		names = append(names, l.name)
		longest = max(longest, len(l.points))
	}
	const maxTime = 1e12 // seconds: 30,000 years
	if longest < 2 || from >= to || c.over || !isDrawable(lo, hi) || from < -maxTime || to > maxTime {
		return
	}
	if lo > 0 && lo < hi/2 {
		lo = 0
	}
	caption := c.columns[c.values[0]].Name + " over " + c.columns[c.label].Name
	if c.split < 0 {
		if len(names) > 1 {
			caption = "over " + c.columns[c.label].Name
		} else {
			names = nil
		}
	}
	const width, height, left, bottom = 800, 300, 56, 24
	s := newScale(lo, hi, 5)
	x := func(at float64) float64 { return left + (width-left-16)*(at-from)/(to-from) }
	y := func(v float64) float64 { return 8 + (height-bottom-8)*(1-s.at(v)) }
	begin(out, caption, names, width, height)
	for _, t := range s.ticks() {
		fmt.Fprintf(out, `<path class="grid" d="M%d %sH%d"/><text class="axis" x="%d" y="%s" text-anchor="end">%s</text>`+"\n",
			left, coord(y(t)), width, left-8, coord(y(t)+4), short(t))
	}
	for _, t := range timeTicks(from, to) {
		fmt.Fprintf(out, `<text class="axis" x="%s" y="%d" text-anchor="middle">%s</text>`+"\n", coord(x(t.at)), height-6, t.name)
	}
	for i, l := range all {
		fmt.Fprintf(out, `<path class="curve c%d" d="`, i+1)
		for k, p := range l.points {
			fmt.Fprintf(out, "%c%s %s", "ML"[min(k, 1)], coord(x(p.at)), coord(y(p.y[0])))
		}
		fmt.Fprintf(out, `"><title>%s</title></path>`+"\n", escaped(cleaned(l.name)))
	}
	out.WriteString("</svg></figure>\n")
}

type timeTick struct {
	at   float64
	name string
}

// timeTicks returns at most nine round times from from to to, in seconds.
func timeTicks(from, to float64) (out []timeTick) {
	const day = 86400
	months := 0
	step, layout := 0.0, "15:04"
	for _, s := range []float64{1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, day, 2 * day, 7 * day} {
		if (to-from)/s <= 8 {
			step = s
			break
		}
	}
	switch {
	case step == 0:
		for _, months = range []int{1, 3, 6, 12, 24, 60, 120, 600} {
			if (to-from)/(30*day*float64(months)) <= 8 {
				break
			}
		}
		if layout = "Jan 2006"; months >= 12 {
			layout = "2006"
		}
		t := time.Unix(int64(from), 0).UTC()
		year, month, _ := t.Date()
		first := (int(month) - 1) / min(months, 12) * min(months, 12)
		year -= year % max(1, months/12)
		for i := range 40 {
			tick := time.Date(year, time.Month(first+1+i*months), 1, 0, 0, 0, 0, time.UTC)
			if at := float64(tick.Unix()); at >= from && at <= to {
				out = append(out, timeTick{at, tick.Format(layout)})
			}
		}
		return out
	case step < 60:
		layout = "15:04:05"
	case step >= day:
		layout = "Jan 2"
	case to-from > day:
		layout = "Jan 2 15:04"
	}
	for at := math.Ceil(from/step) * step; at <= to; at += step {
		out = append(out, timeTick{at, time.Unix(int64(at), 0).UTC().Format(layout)})
	}
	return out
}

func (c *chart) writeHistogram(out *bufio.Writer) {
	points := c.finite()
	if len(points) < 10 || c.over {
		return
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, p := range points {
		lo, hi = min(lo, p.y[0]), max(hi, p.y[0])
	}
	if lo == hi || !isDrawable(lo, hi) {
		return
	}
	bins := newScale(lo, hi, min(24, max(5, int(math.Sqrt(float64(len(points)))))))
	n := make([]int, int(math.Round((bins.hi-bins.lo)/bins.step)))
	most := 0
	for _, p := range points {
		i := min(max(int((p.y[0]-bins.lo)/bins.step), 0), len(n)-1)
		n[i]++
		most = max(most, n[i])
	}
	const width, height, left, bottom = 800, 260, 56, 24
	s := newScale(0, float64(most), 4)
	bar := float64(width-left) / float64(len(n))
	y := func(v float64) float64 { return 8 + (height-bottom-8)*(1-s.at(v)) }
	begin(out, "rows by "+c.columns[c.values[0]].Name, nil, width, height)
	for _, t := range s.ticks() {
		fmt.Fprintf(out, `<path class="grid" d="M%d %sH%d"/><text class="axis" x="%d" y="%s" text-anchor="end">%s</text>`+"\n",
			left, coord(y(t)), width, left-8, coord(y(t)+4), short(t))
	}
	every := (len(n) + 9) / 10
	for i, count := range n {
		x := left + float64(i)*bar
		from := bins.lo + float64(i)*bins.step
		if i%every == 0 {
			fmt.Fprintf(out, `<text class="axis" x="%s" y="%d" text-anchor="middle">%s</text>`, coord(x), height-6, short(from))
		}
		fmt.Fprintf(out, `<rect class="bar" x="%s" y="%s" width="%s" height="%s"><title>%s to %s: %d</title></rect>`+"\n",
			coord(x+1), coord(y(float64(count))), coord(max(bar-2, 1)), coord(y(0)-y(float64(count))), short(from), short(from+bins.step), count)
	}
	out.WriteString("</svg></figure>\n")
}
