// Package flame splits a CPU profile of a run by stage, and draws profiles as flame graphs: one
// HTML file without a script and without links to other files.
//
// User code runs under the profiler label call.Label, whose value is the attempt, as in 0/17#2. The
// samples of a part get the labels job, stage and task from it, so that "go tool pprof" can filter
// by them.
package flame

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/pprof/profile"

	"github.com/layshaft/layshaft/internal/call"
	"github.com/layshaft/layshaft/internal/plain"
)

// Merge parses CPU profiles and merges them into one. It adds the labels job, stage and task to the
// samples of attempts.
func Merge(jobID string, encoded ...[]byte) (*profile.Profile, error) {
	var all []*profile.Profile
	for _, b := range encoded {
		p, err := profile.Parse(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	p, err := profile.Merge(all)
	if err != nil {
		return nil, err
	}
	for _, s := range p.Sample {
		a := s.Label[call.Label]
		if len(a) == 0 {
			continue
		}
		task, _, _ := strings.Cut(a[0], "#")
		stage, _, ok := strings.Cut(task, "/")
		if ok {
			s.Label["job"], s.Label["stage"], s.Label["task"] = []string{jobID}, []string{stage}, []string{task}
		}
	}
	return p, nil
}

// ByStage splits a profile of Merge. The part -1 has the samples outside attempts, such as samples
// of the garbage collector.
func ByStage(p *profile.Profile) map[int]*profile.Profile {
	parts := map[int]*profile.Profile{}
	for _, s := range p.Sample {
		k := -1
		if v := s.Label["stage"]; len(v) == 1 {
			if n, err := strconv.Atoi(v[0]); err == nil {
				k = n
			}
		}
		if parts[k] == nil {
			parts[k] = &profile.Profile{SampleType: p.SampleType, DefaultSampleType: p.DefaultSampleType, Mapping: p.Mapping, Location: p.Location,
				Function: p.Function, PeriodType: p.PeriodType, Period: p.Period, TimeNanos: p.TimeNanos, DurationNanos: p.DurationNanos}
		}
		parts[k].Sample = append(parts[k].Sample, s)
	}
	for k := range parts {
		parts[k] = parts[k].Compact() // without the functions of other parts
	}
	return parts
}

// Graphs returns a graph for each stage of a profile of Merge, and at last one for the samples
// outside attempts. name returns the name of a stage.
func Graphs(p *profile.Profile, name func(stage int) string) []Graph {
	parts := ByStage(p)
	var graphs []Graph
	for _, k := range slices.Sorted(maps.Keys(parts)) {
		if k >= 0 {
			graphs = append(graphs, Graph{Title: strings.TrimSpace(fmt.Sprintf("stage %d %s", k, name(k))), Profile: parts[k]})
		}
	}
	if parts[-1] != nil {
		graphs = append(graphs, Graph{Title: "outside attempts", Profile: parts[-1]})
	}
	return graphs
}

// node is a function with its callers below it.
type node struct {
	name  string
	value int64 // of the node and all that it calls
	calls map[string]*node
}

func (n *node) call(name string) *node {
	c := n.calls[name]
	if c == nil {
		if n.calls == nil {
			n.calls = map[string]*node{}
		}
		c = &node{name: name}
		n.calls[name] = c
	}
	return c
}

// treeOf adds up the last value of the samples, which is the time in a CPU profile.
func treeOf(p *profile.Profile) *node {
	root := &node{name: "all"}
	value := len(p.SampleType) - 1
	for _, s := range p.Sample {
		n := root
		n.value += s.Value[value]
		for _, l := range slices.Backward(s.Location) {
			for _, line := range slices.Backward(l.Line) {
				name := "?"
				if line.Function != nil {
					name = line.Function.Name
				}
				n = n.call(name)
				n.value += s.Value[value]
			}
		}
	}
	return root
}

// Graph is one flame graph of a page.
type Graph struct {
	Title   string
	Profile *profile.Profile
}

const (
	lineHeight = 18 // of a function, in pixels
	// narrowest is the least share of the graph that is drawn, and deepest the limit of functions
	// above each other.
	narrowest = 0.001
	deepest   = 200
)

// box is a function of the picture. X and W are in percent of the width, Y is in pixels.
type box struct {
	X, W       float64
	Y, H, Hue  int
	Name, Note string
}

type picture struct {
	Title, Total string
	Height, Left int
	Boxes        []box
}

func draw(g Graph) picture {
	root := treeOf(g.Profile)
	pic := picture{Title: plain.Text(g.Title), Total: amount(g.Profile, root.value)}
	var add func(n *node, x float64, depth int)
	add = func(n *node, x float64, depth int) {
		w := float64(n.value) / float64(max(root.value, 1))
		if w < narrowest || depth >= deepest {
			pic.Left++
			return
		}
		pic.Height = max(pic.Height, (depth+1)*lineHeight)
		name := plain.Text(n.name)
		pic.Boxes = append(pic.Boxes, box{X: 100 * x, W: 100 * w, Y: depth * lineHeight, H: lineHeight - 1, Hue: hue(n.name),
			Name: short(name), Note: fmt.Sprintf("%s: %s, %.1f %%", name, amount(g.Profile, n.value), 100*w)})
		for _, name := range slices.SortedFunc(maps.Keys(n.calls), func(a, b string) int {
			return cmp.Or(cmp.Compare(n.calls[b].value, n.calls[a].value), cmp.Compare(a, b))
		}) {
			c := n.calls[name]
			add(c, x, depth+1)
			x += float64(c.value) / float64(max(root.value, 1))
		}
	}
	add(root, 0, 0)
	return pic
}

// amount formats a value of a profile.
func amount(p *profile.Profile, v int64) string {
	if p.SampleType[len(p.SampleType)-1].Unit == "nanoseconds" {
		return fmt.Sprintf("%.2f s", float64(v)/1e9)
	}
	return fmt.Sprintf("%d %s", v, p.SampleType[len(p.SampleType)-1].Unit)
}

// hue is the colour of a package, below hues.
func hue(name string) int {
	dir, base := "", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, base = name[:i+1], name[i+1:]
	}
	pkg, _, _ := strings.Cut(base, ".")
	h := uint32(2166136261)
	for _, c := range []byte(dir + pkg) {
		h = (h ^ uint32(c)) * 16777619
	}
	return int(h % hues)
}

// short is a function without the folders of its package and without its type arguments.
func short(name string) string {
	head, types, generic := strings.Cut(name, "[") // types have folders, too
	head = head[strings.LastIndexByte(head, '/')+1:]
	if generic {
		return head + "[…]" + types[strings.LastIndexByte(types, ']')+1:]
	}
	return head
}

// hues is the number of colours.
const hues = 36

// style is the content of the element style, and Policy the content security policy of a page: it
// allows this style, and nothing else.
var style, Policy = func() (string, string) {
	css := `
body { font: 14px/1.5 system-ui, sans-serif; margin: 1rem; }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; } h2 { font-size: 1.05rem; margin: 1.5rem 0 .3rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; } .scroll > svg { min-width: 600px; width: 100%; display: block; }
rect { fill: hsl(var(--h) 60% 82%); } text { font: 11px ui-monospace, monospace; fill: #111; }
svg svg:hover rect { fill: hsl(var(--h) 80% 70%); }
@media (prefers-color-scheme: dark) { rect { fill: hsl(var(--h) 35% 30%); } text { fill: #eee; } svg svg:hover rect { fill: hsl(var(--h) 45% 42%); } }
`
	for h := range hues {
		css += fmt.Sprintf(".h%d { --h: %d; }\n", h, h*360/hues)
	}
	sum := sha256.Sum256([]byte(css))
	return css, fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'", base64.StdEncoding.EncodeToString(sum[:]))
}()

var page = template.Must(template.New("flame").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{{.Policy}}">
<title>{{.Title}}</title>
<style>{{.Style}}</style>
</head>
<body>
<h1>{{.Title}}</h1>
<p>The width of a function is its share, with all that it calls. Callers are above. Point at a function for its numbers.</p>
{{range .Pictures}}<h2>{{.Title}}: {{.Total}}</h2>
{{if .Boxes}}<div class="scroll" tabindex="0" role="group" aria-label="Flame graph of {{.Title}}"><svg height="{{.Height}}" role="img" aria-label="{{.Title}}">
{{range .Boxes}}<svg x="{{printf "%.3f" .X}}%" y="{{.Y}}" width="{{printf "%.3f" .W}}%" height="{{.H}}" class="h{{.Hue}}"><title>{{.Note}}</title><rect width="100%" height="100%"/>{{if gt .W 2.0}}<text x="3" y="13">{{.Name}}</text>{{end}}</svg>
{{end}}</svg></div>{{end}}{{if .Left}}<p>Not drawn: {{.Left}} functions with less than 0.1 % each, and what they call.</p>{{end}}
{{end}}</body>
</html>
`))

// WriteHTML draws flame graphs as one page.
func WriteHTML(w io.Writer, title string, graphs ...Graph) error {
	var pics []picture
	for _, g := range graphs {
		if len(g.Profile.SampleType) > 0 {
			pics = append(pics, draw(g))
		}
	}
	return page.Execute(w, map[string]any{"Title": plain.Text(title), "Pictures": pics, "Style": template.CSS(style), "Policy": Policy})
}
