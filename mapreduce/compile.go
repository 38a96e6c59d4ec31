package mapreduce

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/jobdir"
)

// A plan is cut into stages at its shuffles. Each source and each wide operator is the head of one
// stage; the narrow operators behind a head run in the head's stage, fused into one function, up to
// the next wide operator or output.

// stage is one stage of a compiled plan.
type stage struct {
	number int
	head   *node
	label  string
	places string
	ends   []*end // its outputs, by port; one more port is the quarantine
	edges  []job.Edge
	sides  map[int]int // input numbers of the sides of its broadcast joins and probes, by node
	inputs int         // number of inputs
	opts   options
	sinks  int

	combine bool // merges the inputs of the stage with the same head, for one worker or one zone
	zoned   bool // merges for a zone; reads from the combine stage of the workers
	// countsRequeued marks a source that a requeue with partial results reads as a whole.
	countsRequeued bool
	merged         bool // a source whose records only go to aggregates with partial results
	publish        bool // publishes the output of every stage's sinks; it has no head
}

// end is an output of a stage.
type end struct {
	n     *node // the operator that reads the records, with its input number
	input int
	side  bool
	out   *out
	sink  int // number of the sink among the stage's sinks
}

type reader struct {
	n     *node
	input int
}

// compiled is a plan cut into stages. It belongs to one slot.
type compiled struct {
	plan     *Plan
	stages   []*stage
	readers  map[*node][]reader
	outs     map[*node][]*out
	identity jobdir.Identity // set by prepare
	partials *partialResults // nil if the plan keeps none
	// unmergeable is why a requeue cannot merge, for a plan with a shuffle.
	unmergeable error
	tally       bool // attempts report to the publish stage how many records they read and set aside
}

func compile(p *Plan) (*compiled, error) {
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	c := &compiled{plan: p, readers: map[*node][]reader{}, outs: map[*node][]*out{}}
	wanted := make([]bool, len(p.nodes))
	var want func(n *node)
	want = func(n *node) {
		if wanted[n.id] {
			return
		}
		wanted[n.id] = true
		for _, i := range n.in {
			want(i)
		}
	}
	for _, o := range p.outs {
		want(o.n)
		c.outs[o.n] = append(c.outs[o.n], o)
	}
	for _, n := range p.nodes {
		if !wanted[n.id] {
			continue
		}
		for i, in := range n.in {
			c.readers[in] = append(c.readers[in], reader{n, i})
		}
		if n.read != nil || n.wide != nil {
			c.stages = append(c.stages, &stage{head: n, sides: map[int]int{}})
		}
	}
	for _, s := range c.stages {
		s.opts = p.opts
		c.name(s, c.walk(s, s.head, nil))
	}
	c.addProbes()
	if err := c.order(); err != nil {
		return nil, err
	}
	c.addPartials()
	c.connect()
	return c, nil
}

// name names a stage after its operators. Neighbours with one name count once.
func (c *compiled) name(s *stage, operators []*node) {
	operators = slices.CompactFunc(operators, func(a, b *node) bool { return a.label() == b.label() })
	labels, places := make([]string, len(operators)), make([]string, len(operators))
	for i, n := range operators {
		labels[i], places[i] = n.label(), n.at
	}
	s.label, s.places = strings.Join(labels, " > "), strings.Join(places, " > ")
}

// walk finds the ends of stage s after node n, and returns its operators.
func (c *compiled) walk(s *stage, n *node, operators []*node) []*node {
	operators = append(operators, n)
	s.opts.retry = max(s.opts.retry, n.opts.retry)
	if t := n.opts.timeout; t > 0 && (s.opts.timeout == 0 || t < s.opts.timeout) {
		s.opts.timeout = t
	}
	for _, x := range n.opts.needs {
		if i := slices.IndexFunc(s.opts.needs, func(y job.Need) bool { return y.Budget == x.Budget }); i >= 0 {
			y := &s.opts.needs[i]
			if y.N += x.N; y.Size == 0 || x.Size > 0 && x.Size < y.Size {
				y.Size = x.Size
			}
		} else {
			s.opts.needs = append(s.opts.needs, x)
		}
	}
	c.plan.opts.maxBad = max(c.plan.opts.maxBad, n.opts.maxBad)
	c.plan.opts.maxShare = max(c.plan.opts.maxShare, n.opts.maxShare)
	if n.side != nil {
		s.sides[n.id] = 0
	}
	for _, r := range c.readers[n] {
		switch {
		case r.n.wide != nil:
			s.ends = append(s.ends, &end{n: r.n, input: r.input})
		case r.n.side != nil && r.input == 1:
			s.ends = append(s.ends, &end{n: r.n, side: true})
		default:
			operators = c.walk(s, r.n, operators)
		}
	}
	for _, o := range c.outs[n] {
		x := &end{out: o}
		if o.sink != nil {
			x.sink = s.sinks
			s.sinks++
		}
		s.ends = append(s.ends, x)
	}
	return operators
}

// order numbers the stages, so that each stage comes after the stages that it reads.
func (c *compiled) order() error {
	var ordered []*stage
	for left := c.stages; len(left) > 0; {
		var wait []*stage
		for _, s := range left {
			if slices.ContainsFunc(left, func(o *stage) bool { return s.reads(o) }) {
				wait = append(wait, s)
				continue
			}
			s.number = len(ordered)
			ordered = append(ordered, s)
		}
		if len(wait) == len(left) {
			n := left[0].head
			return &PlanError{c.plan.name, n.op, n.at, fmt.Errorf("its records are joined with a small side from the same Read; call Read a second time for the small side")}
		}
		left = wait
	}
	c.stages = ordered
	return nil
}

// reads reports whether s reads an output of o.
func (s *stage) reads(o *stage) bool {
	return slices.ContainsFunc(o.ends, func(x *end) bool {
		if x.n == nil {
			return false
		}
		_, side := s.readsSide(x)
		return side || x.n == s.head && !x.side
	})
}

// readsSide reports whether s reads all of the output x, as which input.
func (s *stage) readsSide(x *end) (input int, ok bool) {
	if !x.side && (x.input != 0 || x.n.wide.probe == nil || x.n == s.head) {
		return 0, false
	}
	input, ok = s.sides[x.n.id]
	return input, ok
}

// addTiers adds the stages for a cluster. Before a reduce of an Unordered aggregate with one
// producing stage it adds as many combine stages as tiers returns: none, one that merges for each
// worker, or another one that merges for each zone. tiers receives the number of the first combine
// stage, the reduce and the producing stage. With publish, a last stage publishes the output of the
// sinks, so that the job ends without its client.
func (c *compiled) addTiers(tiers func(number int, s, from *stage) int, publish bool) {
	// addTiers may have run before
	was := slices.DeleteFunc(c.stages, func(s *stage) bool { return s.combine || s.publish })
	c.arrange(was)
	var all []*stage
	sinks := false
	for _, s := range was {
		if w := s.head.wide; w != nil && w.combine != nil && len(s.edges) == 1 {
			for tier := range tiers(len(all), s, was[s.edges[0].From]) {
				t := &stage{head: s.head, label: "combine " + s.head.label(), places: s.head.at, ends: []*end{{n: s.head}}, sides: map[int]int{}, opts: s.opts.withoutFunctions(), combine: true, zoned: tier > 0}
				if t.zoned {
					t.label += ", by zone"
				}
				all = append(all, t)
			}
		}
		all = append(all, s)
		sinks = sinks || publish && s.sinks > 0
	}
	if sinks {
		all = append(all, &stage{label: "publish", sides: map[int]int{}, opts: c.plan.opts, publish: true})
	}
	c.tally = sinks && c.plan.allowsBad()
	c.arrange(all)
}

// adoptStages gives the plan the stages of spec. It returns an error if spec was made from another
// plan.
func (c *compiled) adoptStages(spec *job.Spec) error {
	c.addTiers(func(number int, _, _ *stage) int {
		n := 0
		for number+n < len(spec.Stages) && spec.Stages[number+n].Combine {
			n++
		}
		return n
	}, slices.ContainsFunc(spec.Stages, func(s job.Stage) bool {
		return slices.ContainsFunc(s.Inputs, func(e job.Edge) bool { return e.Mode == job.Sinks })
	}))
	return c.matches(spec)
}

// arrange replaces the stages of the plan, and connects them.
func (c *compiled) arrange(stages []*stage) {
	for i, s := range stages {
		s.number, s.edges, s.inputs = i, nil, 0
	}
	c.stages = stages
	c.connect()
}

// publishes reports whether a stage of the job publishes the output of sinks, instead of the
// client.
func (c *compiled) publishes() bool { return c.stages[len(c.stages)-1].publish }

// combined returns the combine stage that reads the same stages as s, which may be a combine stage
// itself; nil if there is none.
func (c *compiled) combined(s *stage) *stage {
	if s.number > 0 && c.stages[s.number-1].combine && c.stages[s.number-1].head == s.head {
		return c.stages[s.number-1]
	}
	return nil
}

// connect makes the edges between stages.
func (c *compiled) connect() {
	for _, s := range c.stages {
		if s.publish {
			for _, o := range c.stages {
				if o.sinks > 0 || c.tally && !o.publish {
					s.edges = append(s.edges, job.Edge{From: o.number, Mode: job.Sinks})
				}
			}
			s.inputs = 1
			continue
		}
		if t := c.combined(s); t != nil {
			mode := job.Shuffle
			if s.combine {
				mode = job.Group
			}
			s.edges = append(s.edges, job.Edge{From: t.number, Mode: mode})
		}
		if s.head.wide != nil {
			s.inputs = len(s.head.in)
		}
		for _, n := range c.plan.nodes { // the small sides of the stage's broadcast joins and probes
			if _, ok := s.sides[n.id]; ok {
				s.sides[n.id] = s.inputs
				s.inputs++
			}
		}
		for _, o := range c.stages {
			for port, x := range o.ends {
				if x.n == nil || o.combine {
					continue
				}
				if input, ok := s.readsSide(x); ok {
					s.edges = append(s.edges, job.Edge{From: o.number, Port: port, Input: input, Mode: job.Broadcast})
				}
				switch {
				case x.side:
				case x.n == s.head && c.combined(s) == nil:
					mode := job.Shuffle
					switch {
					case s.combine:
						mode = job.Group
					case s.head.wide.ranged:
						mode = job.Range
					}
					s.edges = append(s.edges, job.Edge{From: o.number, Port: port, Input: x.input, Mode: mode})
				}
			}
		}
	}
}

// fingerprint hashes everything in which plans can differ.
func (c *compiled) fingerprint() string {
	h := sha256.New()
	for _, n := range c.plan.nodes {
		fmt.Fprintf(h, "%s\n", n.describe())
	}
	for _, o := range c.plan.outs {
		fmt.Fprintf(h, "out %s %d %v\n", o.name, o.n.id, o.sink != nil)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func (n *node) describe() string {
	var in []int
	for _, i := range n.in {
		in = append(in, i.id)
	}
	return fmt.Sprintf("%d %s %s %v %v %q %q %d %v", n.id, n.op, n.at, n.typ, in, n.note, n.opts.name, n.opts.parallel, n.opts.desc)
}

// difference returns an error with the first operator in which two builds of a plan differ; nil if
// they are equal.
func (c *compiled) difference(o *compiled) error {
	for i, n := range c.plan.nodes {
		if i >= len(o.plan.nodes) || n.describe() != o.plan.nodes[i].describe() {
			was := "nothing"
			if i < len(o.plan.nodes) {
				was = o.plan.nodes[i].describe()
			}
			return &PlanError{c.plan.name, n.op, n.at, fmt.Errorf("the function given to Define built another plan the second time (%s, then %s); it must depend on its parameters alone", n.describe(), was)}
		}
	}
	if c.fingerprint() != o.fingerprint() {
		return fmt.Errorf("plan %s: Define's function built another plan the second time; it must depend on its parameters alone", c.plan.name)
	}
	return nil
}

// partitions returns the number of tasks of the stage with head n.
func (c *compiled) partitions(n *node, spec *job.Spec) int {
	for _, s := range c.stages {
		if s.head == n && !s.combine {
			return spec.Stages[s.number].Tasks
		}
	}
	return 1
}

// build returns a func(*T), as any, that processes the records of n in stage s.
func (c *compiled) build(e *env, s *stage, n *node, ports map[*end]any) any {
	var nexts []any
	for _, r := range c.readers[n] {
		switch {
		case r.n.wide != nil || r.n.side != nil && r.input == 1:
		case r.n.union:
			nexts = append(nexts, c.build(e, s, r.n, ports))
		default:
			nexts = append(nexts, r.n.fuse(e, c.build(e, s, r.n, ports)))
		}
	}
	// The ends of this node. A reader may occur twice, as in a join of a dataset with itself.
	for _, r := range c.readers[n] {
		for _, x := range s.ends {
			if x.n == r.n && (x.side && r.input == 1 || !x.side && r.n.wide != nil && x.input == r.input) && !e.taken[x] {
				e.taken[x] = true
				if _, ok := s.sides[r.n.id]; ok && r.n.wide != nil {
					next, ok := e.pairs[r.n]
					if !ok { // else the right side has several parts in this stage
						next = c.build(e, s, r.n, ports)
						e.pairs[r.n] = next
					}
					nexts = append(nexts, r.n.wide.probe.fuse(e, next, ports[x]))
				} else {
					nexts = append(nexts, ports[x])
				}
				break
			}
		}
	}
	for _, o := range c.outs[n] {
		for _, x := range s.ends {
			if x.out == o && !e.taken[x] {
				e.taken[x] = true
				nexts = append(nexts, ports[x])
				break
			}
		}
	}
	if len(nexts) == 1 {
		return nexts[0]
	}
	return n.tee(nexts)
}
