package workflow

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/layshaft/layshaft/internal/state"
)

// Sizes of the picture, in pixels.
const (
	boxWidth, boxHeight = 190, 48
	gapX, gapY          = 70, 22
	margin              = 10
	longest             = 22 // runes of a name
)

const style = `svg{font:13px system-ui,sans-serif}rect{fill:#f6f8fa;stroke:#8896a5}rect.done{fill:#dff3e4;stroke:#3a8a52}path{fill:none;stroke:#8896a5}` +
	`#arrow path{fill:#8896a5}text{fill:#1c2733}text.note{fill:#5b6b7a;font-size:11px}@media (prefers-color-scheme: dark){rect{fill:#222b35;stroke:#71808f}` +
	`rect.done{fill:#1d3b28;stroke:#58b174}text{fill:#e6edf3}text.note{fill:#9fb0c0}}`

// Draw returns a picture of the steps as SVG, from left to right. With a Dir, the steps of a run
// with these parameters that are done already are marked.
func (d *Definition[P]) Draw(dir string, params P) ([]byte, error) {
	w, err := d.plan(params)
	if err != nil {
		return nil, err
	}
	done := map[string]bool{}
	if dir != "" {
		if done, err = doneSteps(dir, d.name, params, w.steps); err != nil {
			return nil, err
		}
	}
	layers := map[*step]int{}
	var rows []int // boxes of each layer
	at := map[*step][2]int{}
	for _, s := range w.steps {
		layer := 0
		for _, a := range s.after {
			layer = max(layer, layers[a]+1)
		}
		layers[s] = layer
		for len(rows) <= layer {
			rows = append(rows, 0)
		}
		at[s] = [2]int{margin + layer*(boxWidth+gapX), margin + rows[layer]*(boxHeight+gapY)}
		rows[layer]++
	}
	tallest := 0
	for _, n := range rows {
		tallest = max(tallest, n)
	}
	width, height := 2*margin+len(rows)*(boxWidth+gapX)-gapX, 2*margin+tallest*(boxHeight+gapY)-gapY
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img"><title>Steps of %s</title><desc>%s</desc>`, width, height, width, height, d.name, w.describe())
	fmt.Fprintf(&b, `<style>%s</style><defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0,0L8,4L0,8z"/></marker></defs>`, style)
	for _, s := range w.steps {
		for _, a := range s.after {
			x0, y0, x1, y1 := at[a][0]+boxWidth, at[a][1]+boxHeight/2, at[s][0]-2, at[s][1]+boxHeight/2
			fmt.Fprintf(&b, `<path d="M%d,%dC%d,%d %d,%d %d,%d" marker-end="url(#arrow)"/>`, x0, y0, x0+gapX/2, y0, x1-gapX/2, y1, x1, y1)
		}
	}
	for _, s := range w.steps {
		class, note := "", ""
		if done[s.name] {
			class, note = ` class="done"`, "done"
		}
		if s.attempts > 1 {
			note = join(note, fmt.Sprintf("%d attempts", s.attempts))
		}
		if s.timeout > 0 {
			note = join(note, short(s.timeout)+" each")
		}
		x, y := at[s][0], at[s][1]
		fmt.Fprintf(&b, `<g><title>%s</title><rect%s x="%d" y="%d" width="%d" height="%d" rx="6"/><text x="%d" y="%d">%s</text><text class="note" x="%d" y="%d">%s</text></g>`,
			s.name, class, x, y, boxWidth, boxHeight, x+10, y+20, fit(s.name), x+10, y+38, note)
	}
	b.WriteString("</svg>\n")
	return b.Bytes(), nil
}

// describe describes the picture for people who cannot see it.
func (w *Workflow) describe() string {
	var parts []string
	for _, s := range w.steps {
		text := s.name
		for i, a := range s.after {
			text += []string{" after ", " and "}[min(i, 1)] + a.name
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}

// short formats a duration without zero minutes and seconds.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// fit shortens a name, whose form needs no escapes, to the width of a box.
func fit(s string) string {
	if utf8.RuneCountInString(s) <= longest {
		return s
	}
	return s[:longest-1] + "…"
}

// doneSteps returns the steps of an unfinished run that are done.
func doneSteps(dir, workflow string, params any, steps []*step) (map[string]bool, error) {
	s, err := storeOf(dir, workflow, params)
	if err != nil {
		return nil, err
	}
	if _, err := state.ReadFile(s.path("run")); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return s.load(steps)
}
