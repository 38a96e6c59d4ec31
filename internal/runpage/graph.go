package runpage

import (
	"fmt"
	"html/template"
	"strings"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/page"
	"github.com/layshaft/layshaft/internal/report"
)

// Sizes of the picture of the stages, in pixels.
const (
	boxWidth   = 236
	lineHeight = 19
	boxHead    = 26
	boxFoot    = 34
	gapX, gapY = 112, 26
	margin     = 8
	// maxOperators is the limit of operators shown in a box.
	maxOperators = 6
	// maxStages is the limit of stages in the picture: a larger one helps nobody.
	maxStages = 60
)

// graph draws the stages as boxes from left to right, with arrows for what flows between them.
func graph(v *report.RunView) template.HTML {
	n := len(v.Runs)
	if n == 0 || n > maxStages {
		return ""
	}
	layer, rows := make([]int, n), map[int][]int{}
	layers := 0
	for k := range v.Runs {
		for _, in := range v.Runs[k].Inputs {
			if in.From >= 0 && in.From < k {
				layer[k] = max(layer[k], layer[in.From]+1)
			}
		}
		rows[layer[k]] = append(rows[layer[k]], k)
		layers = max(layers, layer[k]+1)
	}
	heights, tallest := make([]int, layers), 0
	boxes := make([]box, n)
	for l := range layers {
		for i, k := range rows[l] {
			if i > 0 {
				heights[l] += gapY
			}
			boxes[k] = newBox(v, k)
			heights[l] += boxes[k].h
		}
		tallest = max(tallest, heights[l])
	}
	for l := range layers {
		y := margin + (tallest-heights[l])/2
		for _, k := range rows[l] {
			boxes[k].x, boxes[k].y = margin+l*(boxWidth+gapX), y
			y += boxes[k].h + gapY
		}
	}
	width, height := 2*margin+layers*boxWidth+(layers-1)*gapX, 2*margin+tallest
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="graph" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="%s">`, width, height, width, height, esc(describe(v)))
	b.WriteString(`<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0,0L8,4L0,8z"/></marker></defs>`)
	for k := range v.Runs {
		for i, in := range v.Runs[k].Inputs {
			if in.From >= 0 && in.From < k {
				arrow(&b, v, &boxes[in.From], &boxes[k], in, i, len(v.Runs[k].Inputs))
			}
		}
	}
	for k := range boxes {
		boxes[k].draw(&b)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) // every text in it is escaped
}

func esc(s string) string { return template.HTMLEscapeString(s) }

// describe describes the picture for people who cannot see it.
func describe(v *report.RunView) string {
	var parts []string
	for k := range v.Runs {
		text := fmt.Sprintf("stage %d, %s, %s: %d of %s done", k, v.Runs[k].Kind, v.Stages[k].Stage, v.Stages[k].Done, report.Plural(v.Stages[k].Tasks, "task"))
		for _, in := range v.Runs[k].Inputs {
			text += fmt.Sprintf(", reads stage %d", in.From)
		}
		parts = append(parts, text)
	}
	return "Stages: " + strings.Join(parts, "; ")
}

// box is a stage in the picture.
type box struct {
	x, y, h int
	class   string
	title   string
	head    string // on the left of the first line
	count   string // on its right
	lines   [][2]string
	foot    string
	done    float64 // share of the tasks
	running float64
	failed  float64
}

func newBox(v *report.RunView, k int) box {
	s, st := &v.Runs[k], &v.Stages[k]
	b := box{head: fmt.Sprintf("%d  %s", k, s.Kind), count: fmt.Sprintf("%s / %s", page.Num(st.Done), page.Num(st.Tasks)), title: st.Stage}
	for i, o := range s.Operators {
		if i == maxOperators-1 && len(s.Operators) > maxOperators {
			b.lines = append(b.lines, [2]string{fmt.Sprintf("and %d more", len(s.Operators)-i), ""})
			break
		}
		b.lines = append(b.lines, [2]string{o.Name, o.At})
	}
	if s.Source != "" {
		b.lines = append(b.lines, [2]string{fmt.Sprintf("%s in %s", bytesize.Format(s.SourceBytes), report.Plural(st.Tasks, "split")), ""})
	}
	if st.Tasks > 0 {
		all := float64(st.Tasks)
		b.done, b.running, b.failed = float64(st.Done)/all, float64(st.Running)/all, float64(st.Failed+st.Cancelled)/all
	}
	switch {
	case st.Failed > 0:
		b.class = "failed"
	case st.Done == st.Tasks:
		b.class = "done"
	case st.Running > 0:
		b.class = "running"
	default:
		b.class = "waiting"
	}
	if s.Busy > 0 {
		b.foot = fmt.Sprintf("%s of work, %.0f %%", page.Dur(s.Busy.Duration()), 100*s.Share)
	}
	if s.Slowest {
		b.class += " slowest"
		b.foot += ", the most"
	}
	if s.Saved > 0.01 {
		b.foot = fmt.Sprintf("saved %.0f %% of its input; %s", 100*s.Saved, b.foot)
	}
	b.h = boxHead + lineHeight*len(b.lines) + boxFoot
	return b
}

func (b *box) draw(out *strings.Builder) {
	fmt.Fprintf(out, `<g class="stage %s"><title>%s</title><rect class="frame" x="%d" y="%d" width="%d" height="%d" rx="8"/>`, b.class, esc(b.title), b.x, b.y, boxWidth, b.h)
	text := func(class string, x, y int, s string) {
		fmt.Fprintf(out, `<text class="%s" x="%d" y="%d">%s</text>`, class, x, y, esc(s))
	}
	text("kind", b.x+12, b.y+19, b.head)
	text("right", b.x+boxWidth-12, b.y+19, b.count)
	y := b.y + boxHead
	for _, l := range b.lines {
		y += lineHeight
		place := fitEnd(l[1], 17)
		text("op", b.x+12, y-4, fit(l[0], 31-len([]rune(place))))
		text("right at", b.x+boxWidth-12, y-4, place)
	}
	at := float64(b.x + 12)
	const full = boxWidth - 24
	fmt.Fprintf(out, `<rect class="rest" x="%d" y="%d" width="%d" height="5" rx="2"/>`, b.x+12, y+5, full)
	for _, p := range []struct {
		class string
		share float64
	}{{"done", b.done}, {"running", b.running}, {"failed", b.failed}} {
		if w := p.share * full; w > 0 {
			fmt.Fprintf(out, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="5"/>`, p.class, at, y+5, w)
			at += w
		}
	}
	text("foot", b.x+12, b.y+b.h-9, fit(b.foot, 40))
	out.WriteString(`</g>`)
}

// arrow draws an edge with what flows over it, if its producer has written something.
func arrow(out *strings.Builder, v *report.RunView, from, to *box, in report.Input, i, n int) {
	x0, y0 := from.x+boxWidth, from.y+from.h/2
	x1, y1 := to.x-2, to.y+to.h*(i+1)/(n+1)
	bend := (x1 - x0) / 2
	st := &v.Stages[in.From]
	label := in.How
	size := ""
	if st.WroteRecords > 0 {
		label, size = page.Num(st.WroteRecords)+" rec.", bytesize.Format(st.WroteBytes)
	}
	fmt.Fprintf(out, `<g class="edge %s"><title>%s</title><path d="M%d,%dC%d,%d %d,%d %d,%d" marker-end="url(#arrow)"/>`,
		esc(in.How), esc(fmt.Sprintf("stage %d passes %s, %s, %s", in.From, page.Counted(st.WroteRecords, "record"), bytesize.Format(st.WroteBytes), in.How)),
		x0, y0, x0+bend, y0, x1-bend, y1, x1, y1)
	// the label is on the straight piece beside the reader, where no box is
	x, y := to.x-gapX/2, y1
	if to.x-from.x == boxWidth+gapX {
		y = (y0 + y1) / 2
	}
	fmt.Fprintf(out, `<text class="flow" x="%d" y="%d">%s</text><text class="flow" x="%d" y="%d">%s</text></g>`, x, y-6, esc(label), x, y+15, esc(fit(size, 19)))
}

// fitEnd shortens a text to its last n characters: the line of a place is at its end.
func fitEnd(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return "…" + string(r[len(r)-n+1:])
}

// fit shortens a text to n characters.
func fit(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:max(n-1, 0)]) + "…"
}
