package aggr

import (
	"fmt"
	"math"
	"slices"

	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// Window is what follows OVER in a call, but for PARTITION BY.
type Window struct {
	// Order and Keys are the order of rows in a partition and the types of its keys. Both are empty
	// without ORDER BY: all rows are peers then.
	Order []vec.Order
	Keys  []vec.Type
	// Frame is nil for the default: with an order, from the first row to the last peer of the
	// current row, else the partition.
	Frame *Frame
	// IgnoreNulls makes lag, lead, first_value, last_value and nth_value skip rows that are NULL.
	IgnoreNulls bool
	// Distinct makes an aggregate use each value once.
	Distinct bool
}

// Frame is the range of rows that a window function sees for the current row.
type Frame struct {
	// Unit is the unit of the offsets of Start and End.
	Unit sql.FrameUnit
	// Start and End are the first and the last row.
	Start, End Bound
	// Exclude is what the frame leaves out.
	Exclude sql.FrameExclude
}

// Bound is one end of a Frame.
type Bound struct {
	Kind sql.BoundKind
	// Offset is the constant before PRECEDING and FOLLOWING, as one row; else nil.
	Offset *vec.Vec
}

// WinFunc is a window function with the types of one call.
type WinFunc struct {
	// Name is the name of the function in lower case.
	Name string
	// Args are the types to which the caller casts the arguments. Args of an aggregate that are
	// constants are not read.
	Args []vec.Type
	// Result is the type of the result.
	Result vec.Type

	window Window
	frame  frame
	agg    *Func // nil for functions that are no aggregates
	offset int
	run    func(w *WinFunc, p *partition) (*vec.Vec, error)
}

// winSpec describes a function that is valid only with OVER.
type winSpec struct {
	min, max int
	usage    string
	bind     func(c *call, w *WinFunc) error
}

var winSpecs map[string]*winSpec

func init() {
	ranks := func(result vec.Kind, run func(w *WinFunc, p *partition) (*vec.Vec, error)) *winSpec {
		return &winSpec{0, 0, "", func(c *call, w *WinFunc) error {
			w.Result, w.run = vec.Of(result), run
			return nil
		}}
	}
	shift := func(sign int64) *winSpec {
		return &winSpec{1, 3, "x, offset, default", func(c *call, w *WinFunc) error {
			w.Result = w.Args[0]
			if len(w.Args) > 1 {
				w.Args[1] = vec.Of(vec.Int)
			}
			if len(w.Args) > 2 {
				w.Args[2] = w.Args[0]
			}
			w.run = func(w *WinFunc, p *partition) (*vec.Vec, error) { return p.shift(w, sign) }
			return nil
		}}
	}
	value := func(args int, run func(w *WinFunc, p *partition) (*vec.Vec, error)) *winSpec {
		return &winSpec{args, args, []string{1: "x", 2: "x, n"}[args], func(c *call, w *WinFunc) error {
			w.Result = w.Args[0]
			if args == 2 {
				w.Args[1] = vec.Of(vec.Int)
			}
			w.run = run
			return nil
		}}
	}
	winSpecs = map[string]*winSpec{
		"row_number":   ranks(vec.Int, (*WinFunc).rowNumber),
		"rank":         ranks(vec.Int, (*WinFunc).rank),
		"dense_rank":   ranks(vec.Int, (*WinFunc).denseRank),
		"percent_rank": ranks(vec.Float, (*WinFunc).percentRank),
		"cume_dist":    ranks(vec.Float, (*WinFunc).cumeDist),
		"ntile": {1, 1, "buckets", func(c *call, w *WinFunc) error {
			w.Args[0], w.Result, w.run = vec.Of(vec.Int), vec.Of(vec.Int), (*WinFunc).ntile
			return nil
		}},
		"lag":         shift(-1),
		"lead":        shift(1),
		"first_value": value(1, func(w *WinFunc, p *partition) (*vec.Vec, error) { return p.nth(w, nil, false) }),
		"last_value":  value(1, func(w *WinFunc, p *partition) (*vec.Vec, error) { return p.nth(w, nil, true) }),
		"nth_value":   value(2, func(w *WinFunc, p *partition) (*vec.Vec, error) { return p.nth(w, p.args[1], false) }),
	}
}

// IsWindow reports whether name, in lower case, is a function that is valid only with OVER. All
// aggregates are window functions too.
func IsWindow(name string) bool { return winSpecs[name] != nil }

// WindowNames returns the names of the functions that are valid only with OVER, in alphabetical
// order.
func WindowNames() []string {
	var names []string
	for name := range winSpecs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// BindWindow finds the window function or aggregate name, in lower case, for arguments of the given
// types. consts is as for Bind. Errors are *Error.
func BindWindow(name string, args []vec.Type, consts []*vec.Vec, w Window, offset int) (*WinFunc, error) {
	c := &call{name, slices.Clone(args), consts, w.Distinct, nil, offset}
	f := &WinFunc{Name: name, Args: c.args, window: w, offset: offset}
	if s := winSpecs[name]; s != nil {
		if len(args) < s.min || len(args) > s.max {
			return nil, c.errorf("write "+name+"("+s.usage+") OVER (…)", "%s has %s, want %s", name, report.Plural(len(args), "argument"), arity(s.min, s.max))
		}
		if w.Distinct {
			return nil, c.errorf("", "%s: DISTINCT is for aggregates", name)
		}
		if w.IgnoreNulls && s.max == 0 || w.IgnoreNulls && name == "ntile" {
			return nil, c.errorf("", "%s: IGNORE NULLS is for lag, lead, first_value, last_value and nth_value", name)
		}
		if err := s.bind(c, f); err != nil {
			return nil, err
		}
	} else {
		if !IsAggregate(name) {
			return nil, c.errorf(nearest(name, slices.Concat(Names(), WindowNames())), "there is no window function or aggregate %s", name)
		}
		if w.IgnoreNulls {
			return nil, c.errorf("", "%s: IGNORE NULLS is for lag, lead, first_value, last_value and nth_value", name)
		}
		agg, err := Bind(name, args, consts, w.Distinct, nil, offset)
		if err != nil {
			return nil, err
		}
		f.agg, f.Args, f.Result = agg, agg.Args, agg.Result
		f.run = (*WinFunc).aggregate
	}
	var err error
	f.frame, err = bindFrame(c, w)
	return f, err
}

// partition is one partition while a function runs on it.
type partition struct {
	n      int
	args   []*vec.Vec
	keys   []*vec.Vec
	filter *vec.Vec
	// peer is the number of the peer group of each row; starts has the first row of each group, and
	// n at the end.
	peer   []int32
	starts []int32
}

// Run computes the function for all n rows of one partition, which are in the order of the window.
// args and keys have the arguments and the order keys of all rows. filter is the condition of
// FILTER, or nil. The memory in use is a few times the size of the columns.
func (w *WinFunc) Run(n int, args, keys []*vec.Vec, filter *vec.Vec) (*vec.Vec, error) {
	p := &partition{n: n, args: args, keys: keys, filter: filter}
	p.findPeers()
	return w.run(w, p)
}

// findPeers groups rows with equal order keys.
func (p *partition) findPeers() {
	p.peer = make([]int32, p.n)
	if len(p.keys) == 0 {
		p.starts = []int32{0, int32(p.n)}
		return
	}
	changed := make([]bool, p.n)
	for _, k := range p.keys {
		markChanges(k, changed)
	}
	for i, c := range changed {
		if c || i == 0 {
			p.starts = append(p.starts, int32(i))
		}
		p.peer[i] = int32(len(p.starts) - 1)
	}
	p.starts = append(p.starts, int32(p.n))
}

// markChanges sets changed[i] for the rows of v that differ from the row before.
func markChanges(v *vec.Vec, changed []bool) {
	if v.Const {
		return
	}
	var w []int64
	if isWord(v.Type) {
		w = words(v, nil)
	}
	var key, last []byte
	for i := 1; i < len(changed); i++ {
		switch null := v.Null(i); {
		case null != v.Null(i-1):
			changed[i] = true
		case null:
		case w != nil:
			changed[i] = changed[i] || w[i] != w[i-1]
		case isText(v.Type):
			changed[i] = changed[i] || v.String(i) != v.String(i-1)
		default:
			key, last = v.AppendKey(key[:0], i, vec.Order{}), v.AppendKey(last[:0], i-1, vec.Order{})
			changed[i] = changed[i] || string(key) != string(last)
		}
	}
}

// peers returns the range of the peers of row i.
func (p *partition) peers(i int) (from, to int) {
	g := p.peer[i]
	return int(p.starts[g]), int(p.starts[g+1])
}

func (w *WinFunc) rowNumber(p *partition) (*vec.Vec, error) {
	v := vec.New(w.Result, p.n)
	for i := range v.Ints {
		v.Ints[i] = int64(i + 1)
	}
	return v, nil
}

func (w *WinFunc) rank(p *partition) (*vec.Vec, error) {
	v := vec.New(w.Result, p.n)
	for i := range v.Ints {
		v.Ints[i] = int64(p.starts[p.peer[i]]) + 1
	}
	return v, nil
}

func (w *WinFunc) denseRank(p *partition) (*vec.Vec, error) {
	v := vec.New(w.Result, p.n)
	for i := range v.Ints {
		v.Ints[i] = int64(p.peer[i]) + 1
	}
	return v, nil
}

func (w *WinFunc) percentRank(p *partition) (*vec.Vec, error) {
	v := vec.New(w.Result, p.n)
	if p.n > 1 {
		for i := range v.Floats {
			v.Floats[i] = float64(p.starts[p.peer[i]]) / float64(p.n-1)
		}
	}
	return v, nil
}

func (w *WinFunc) cumeDist(p *partition) (*vec.Vec, error) {
	v := vec.New(w.Result, p.n)
	for i := range v.Floats {
		v.Floats[i] = float64(p.starts[p.peer[i]+1]) / float64(p.n)
	}
	return v, nil
}

// ntile divides rows into buckets whose sizes differ by at most one; larger buckets come first.
func (w *WinFunc) ntile(p *partition) (*vec.Vec, error) {
	buckets := expand(p.args[0])
	v := vec.New(w.Result, p.n)
	for i := range v.Ints {
		if buckets.Null(i) {
			v.SetNull(i)
			continue
		}
		b := buckets.Ints[i]
		if b <= 0 {
			return nil, &Error{w.offset, fmt.Sprintf("ntile(%d): the number of buckets must be positive", b), ""}
		}
		size, larger := int64(p.n)/b, int64(p.n)%b
		if row := int64(i); row < larger*(size+1) {
			v.Ints[i] = row/(size+1) + 1
		} else {
			v.Ints[i] = (row-larger)/size + 1
		}
	}
	return v, nil
}

// shift returns the value of the row that is offset rows after (sign 1) or before (sign -1) each
// row.
func (p *partition) shift(w *WinFunc, sign int64) (*vec.Vec, error) {
	rows := make([]int32, p.n)
	var offsets *vec.Vec
	if len(p.args) > 1 {
		offsets = expand(p.args[1])
	}
	x := p.args[0]
	var full []int32 // rows that are not NULL, with IGNORE NULLS
	var place []int32
	if w.window.IgnoreNulls {
		full, place = notNull(x, p.n)
	}
	var outside, unknown []int32
	for i := range rows {
		by := int64(1)
		if offsets != nil {
			if offsets.Null(i) {
				rows[i] = -1
				unknown = append(unknown, int32(i))
				continue
			}
			by = offsets.Ints[i]
		}
		rows[i] = -1
		to := outsideRow
		switch {
		case by == 0:
			to = int64(i)
		case by < -math.MaxInt32 || by > math.MaxInt32:
		case full == nil && !w.window.IgnoreNulls:
			to = int64(i) + sign*by
		default:
			to = p.shiftFull(full, place, i, sign*by)
		}
		if to >= 0 && to < int64(p.n) {
			rows[i] = int32(to)
		} else {
			outside = append(outside, int32(i))
		}
	}
	if len(p.args) < 3 || len(outside) == 0 {
		return x.Gather(rows), nil
	}
	b := vec.NewBuilder(w.Result, p.n)
	for i, r := range rows {
		switch {
		case r >= 0:
			b.Append(x, int(r))
		case len(unknown) > 0 && unknown[0] == int32(i):
			unknown = unknown[1:]
			b.AppendNull()
		default:
			b.Append(p.args[2], i)
		}
	}
	return b.Done(), nil
}

// outsideRow is no row of a partition.
const outsideRow = int64(-1)

// shiftFull returns the row that is by full rows after row i, or outsideRow.
func (p *partition) shiftFull(full, place []int32, i int, by int64) int64 {
	// place[i] is how many full rows come before row i
	at := int64(place[i])
	if by > 0 {
		if int(at) < len(full) && full[at] == int32(i) {
			at++
		}
		at += by - 1
	} else {
		at += by
	}
	if at < 0 || at >= int64(len(full)) {
		return outsideRow
	}
	return int64(full[at])
}

// notNull returns the rows of x that are not NULL, and for each row how many of them come before
// it. place has one more element than rows.
func notNull(x *vec.Vec, n int) (full, place []int32) {
	place = make([]int32, n+1)
	for i := range n {
		place[i] = int32(len(full))
		if !x.Null(i) {
			full = append(full, int32(i))
		}
	}
	place[n] = int32(len(full))
	return full, place
}

// nth returns the value of the nth row of each frame, from 1; without n, of the first or the last.
func (p *partition) nth(w *WinFunc, n *vec.Vec, last bool) (*vec.Vec, error) {
	x := p.args[0]
	if n != nil {
		n = expand(n)
	}
	frames, err := p.frames(w)
	if err != nil {
		return nil, err
	}
	var full, place []int32
	if w.window.IgnoreNulls {
		full, place = notNull(x, p.n)
	}
	rows := make([]int32, p.n)
	for i := range rows {
		rows[i] = -1
		k := int64(0)
		if n != nil {
			if n.Null(i) {
				continue
			}
			if k = n.Ints[i] - 1; k < 0 {
				return nil, &Error{w.offset, fmt.Sprintf("nth_value: the row number %d must be positive", n.Ints[i]), ""}
			}
		}
		ranges := frames.of(i)
		total := int64(0)
		for j, r := range ranges {
			if full != nil || w.window.IgnoreNulls {
				r = span{int(place[r.from]), int(place[r.to])}
				ranges[j] = r
			}
			total += int64(r.to - r.from)
		}
		if last {
			k = total - 1
		}
		if k < 0 || k >= total {
			continue
		}
		for _, r := range ranges {
			if size := int64(r.to - r.from); k >= size {
				k -= size
				continue
			}
			rows[i] = int32(r.from + int(k))
			break
		}
		if w.window.IgnoreNulls {
			rows[i] = full[rows[i]]
		}
	}
	return x.Gather(rows), nil
}
