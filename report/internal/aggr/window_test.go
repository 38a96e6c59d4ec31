package aggr

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// naivePeers numbers the groups of peers.
func naivePeers(n int, keys []*vec.Vec) []int {
	key := func(r int) (b []byte) {
		for _, v := range keys {
			b = v.AppendKey(b, r, vec.Order{})
		}
		return b
	}
	peer := make([]int, n)
	for r := 1; r < n; r++ {
		peer[r] = peer[r-1]
		if !bytes.Equal(key(r), key(r-1)) {
			peer[r]++
		}
	}
	return peer
}

// naiveFrame returns the rows of the frame of row i, by comparing every row with it.
func naiveFrame(n, i int, f *Frame, peer []int, keys []*vec.Vec, order []vec.Order) (rows []int) {
	// inside reports whether row r is not before (sign 1) or not after (sign -1) the bound
	inside := func(r int, b Bound, sign int) bool {
		var distance int64
		if b.Offset != nil {
			distance = b.Offset.Ints[0]
		}
		if b.Kind == sql.Preceding {
			distance = -distance
		}
		switch {
		case b.Kind == sql.UnboundedPreceding || b.Kind == sql.UnboundedFollowing:
			return true
		case f.Unit == sql.Rows:
			return sign*(r-i) >= sign*int(distance)
		case f.Unit == sql.Groups || b.Kind == sql.CurrentRow:
			return sign*(peer[r]-peer[i]) >= sign*int(distance)
		case keys[0].Null(i):
			return sign*(peer[r]-peer[i]) >= 0
		case keys[0].Null(r):
			return sign*(peer[r]-peer[i]) >= 0
		}
		if order[0].Desc {
			distance, sign = -distance, -sign
		}
		if keys[0].Type.Kind == vec.Float {
			a, z := keys[0].Floats[r], keys[0].Floats[i]+float64(distance)
			if sign < 0 {
				a, z = z, a
			}
			return orderWord(a) >= orderWord(z)
		}
		return int64(sign)*(keys[0].Ints[r]-keys[0].Ints[i]) >= int64(sign)*distance
	}
	for r := range n {
		if !inside(r, f.Start, 1) || !inside(r, f.End, -1) {
			continue
		}
		switch f.Exclude {
		case sql.ExcludeCurrent:
			if r == i {
				continue
			}
		case sql.ExcludeGroup:
			if peer[r] == peer[i] {
				continue
			}
		case sql.ExcludeTies:
			if peer[r] == peer[i] && r != i {
				continue
			}
		}
		rows = append(rows, r)
	}
	return rows
}

func TestFrames(t *testing.T) {
	calls := []testCall{{name: "sum", args: []vec.Type{vec.Of(vec.Int)}}, {name: "sum", args: []vec.Type{vec.Of(vec.Float)}}, {name: "count"},
		{name: "count", args: []vec.Type{vec.Of(vec.Text)}}, {name: "avg", args: []vec.Type{vec.DecimalOf(12, 2)}}, {name: "sum", args: []vec.Type{vec.HugeInt}},
		{name: "max", args: []vec.Type{vec.Of(vec.Text)}}, {name: "array_agg", args: []vec.Type{vec.Of(vec.Text)}}, {name: "count", args: []vec.Type{vec.Of(vec.Text)}, distinct: true},
		{name: "first_value", args: []vec.Type{vec.Of(vec.Text)}}, {name: "last_value", args: []vec.Type{vec.Of(vec.Int)}},
		{name: "nth_value", args: []vec.Type{vec.Of(vec.Float), vec.Of(vec.Int)}, consts: []*vec.Vec{intOf(2)}}}
	for seed := range uint64(250) {
		r := rand.New(rand.NewPCG(seed, 0))
		c := calls[r.IntN(len(calls))]
		n := r.IntN(60)
		if seed == 0 {
			n = 1100
		}
		w := Window{Distinct: c.distinct}
		var keys []*vec.Vec
		f := &Frame{Unit: []sql.FrameUnit{sql.Rows, sql.Range, sql.Groups}[r.IntN(3)]}
		f.Exclude = []sql.FrameExclude{sql.ExcludeNothing, sql.ExcludeNothing, sql.ExcludeCurrent, sql.ExcludeGroup, sql.ExcludeTies}[r.IntN(5)]
		for k := range 1 + r.IntN(2) {
			if f.Unit == sql.Rows && r.IntN(3) == 0 || k > 0 && f.Unit == sql.Range {
				continue
			}
			typ := []vec.Type{vec.Of(vec.Int), vec.Of(vec.Float), vec.Of(vec.Date)}[r.IntN(3)]
			v := vec.New(typ, n)
			for i := range n {
				if r.IntN(8) == 0 {
					v.SetNull(i)
				}
				if typ.Kind == vec.Float {
					v.Floats[i] = float64(r.IntN(40))
					if r.IntN(9) == 0 {
						v.Floats[i] = math.NaN()
					}
				} else {
					v.Ints[i] = int64(r.IntN(40))
				}
			}
			keys = append(keys, v)
			w.Keys = append(w.Keys, typ)
			w.Order = append(w.Order, vec.Order{Desc: r.IntN(2) == 0, NullsFirst: r.IntN(2) == 0})
		}
		rows := make([]int32, n)
		for i := range rows {
			rows[i] = int32(i)
		}
		slices.SortStableFunc(rows, func(a, b int32) int {
			var x, y []byte
			for k, v := range keys {
				x, y = v.AppendKey(x, int(a), w.Order[k]), v.AppendKey(y, int(b), w.Order[k])
			}
			return bytes.Compare(x, y)
		})
		for k, v := range keys {
			keys[k] = v.Gather(rows)
		}
		for {
			bound := func() Bound {
				b := Bound{Kind: sql.BoundKind(r.IntN(5))}
				if b.Kind == sql.Preceding || b.Kind == sql.Following {
					b.Offset = intOf(int64(r.IntN(30)))
				}
				return b
			}
			f.Start, f.End = bound(), bound()
			if f.Start.Kind != sql.UnboundedFollowing && f.End.Kind != sql.UnboundedPreceding && f.Start.Kind <= f.End.Kind {
				break
			}
		}
		w.Frame = f
		if f.Unit == sql.Groups && len(keys) == 0 {
			continue
		}
		var args []*vec.Vec
		consts := make([]*vec.Vec, len(c.args))
		for i, typ := range c.args {
			if at := i - len(c.args) + len(c.consts); at >= 0 && len(c.consts) > 0 {
				consts[i] = c.consts[at]
				args = append(args, c.consts[at].Repeat(0, n))
				continue
			}
			args = append(args, randomVec(r, typ, n))
		}
		aggregate := IsAggregate(c.name)
		var filter *vec.Vec
		if aggregate && r.IntN(3) == 0 {
			filter = randomVec(r, vec.Of(vec.Bool), n)
		}
		w.IgnoreNulls = !aggregate && r.IntN(2) == 0
		fn, err := BindWindow(c.name, c.args, consts, w, 0)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got, err := fn.Run(n, args, keys, filter)
		if err != nil && strings.Contains(err.Error(), "does not fit") {
			continue // a sum of large decimals
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if got.Len != n {
			t.Fatalf("seed %d: %d results of %d rows", seed, got.Len, n)
		}
		peer := naivePeers(n, keys)
		for i := range n {
			in := naiveFrame(n, i, f, peer, keys, w.Order)
			want := "NULL"
			if aggregate {
				var sel []int32
				for _, row := range in {
					if filter == nil || !filter.Null(row) && filter.Flat().Bools[row] {
						sel = append(sel, int32(row))
					}
				}
				s := fn.agg.New()
				s.Resize(1)
				cols := args
				if fn.agg.Ordinal {
					v := vec.New(vec.Of(vec.Int), n)
					for k := range v.Ints {
						v.Ints[k] = int64(k)
					}
					cols = append(cols[:len(cols):len(cols)], v)
				}
				some := make([]*vec.Vec, len(cols))
				for k, v := range cols {
					some[k] = v.Gather(sel)
				}
				if err := s.AddAll(0, some, len(sel)); err != nil {
					t.Fatal(err)
				}
				v, err := s.Result(0, 1)
				if err != nil {
					t.Fatal(err)
				}
				want = fmt.Sprintf("%q", vec.AppendRow(nil, []*vec.Vec{v}, 0))
			} else {
				if w.IgnoreNulls {
					in = slices.DeleteFunc(in, func(row int) bool { return args[0].Null(row) })
				}
				at := map[string]int{"first_value": 0, "last_value": len(in) - 1, "nth_value": 1}[c.name]
				want = fmt.Sprintf("%q", []byte{0})
				if at >= 0 && at < len(in) {
					want = fmt.Sprintf("%q", vec.AppendRow(nil, args[:1], in[at]))
				}
			}
			if x := fmt.Sprintf("%q", vec.AppendRow(nil, []*vec.Vec{got}, i)); x != want {
				t.Fatalf("seed %d: %v over %+v order %v: row %d is %s, want %s (frame %v)", seed, c, *f, w.Order, i, x, want, in)
			}
		}
	}
}

// TestWindowFunctions holds results that DuckDB gives.
func TestWindowFunctions(t *testing.T) {
	key := &vec.Vec{Type: vec.Of(vec.Int), Len: 7, Ints: []int64{1, 1, 2, 3, 3, 3, 0}, Nulls: []bool{6: true}}
	x := &vec.Vec{Type: vec.Of(vec.Text), Len: 7, Strings: []string{"a", "b", "", "d", "", "f", "g"}, Nulls: []bool{2: true, 4: true, 6: false}}
	ints := vec.Of(vec.Int)
	for _, c := range []struct {
		call   string
		args   []*vec.Vec
		ignore bool
		want   string
	}{
		{"row_number", nil, false, "1 2 3 4 5 6 7"},
		{"rank", nil, false, "1 1 3 4 4 4 7"},
		{"dense_rank", nil, false, "1 1 2 3 3 3 4"},
		{"percent_rank", nil, false, "0 0 0.33333333333333 0.5 0.5 0.5 1"},
		{"cume_dist", nil, false, "0.28571428571429 0.28571428571429 0.42857142857143 0.85714285714286 0.85714285714286 0.85714285714286 1"},
		{"ntile", []*vec.Vec{intOf(3)}, false, "1 1 1 2 2 3 3"},
		{"ntile", []*vec.Vec{intOf(10)}, false, "1 2 3 4 5 6 7"},
		{"lag", []*vec.Vec{x}, false, "NULL a b NULL d NULL f"},
		{"lead", []*vec.Vec{x, intOf(2)}, false, "NULL d NULL f g NULL NULL"},
		{"lead", []*vec.Vec{x, intOf(2), textOf("-")}, false, "NULL d NULL f g - -"},
		{"lag", []*vec.Vec{x, intOf(-1)}, false, "b NULL d NULL f g NULL"},
		{"lag", []*vec.Vec{x, intOf(0)}, false, "a b NULL d NULL f g"},
		{"lag", []*vec.Vec{x}, true, "NULL a b b d d f"},
		{"lead", []*vec.Vec{x}, true, "b d d f f g NULL"},
		{"lag", []*vec.Vec{x, vec.NullOf(ints, 1)}, false, "NULL NULL NULL NULL NULL NULL NULL"},
		{"first_value", []*vec.Vec{x}, false, "a a a a a a a"},
		{"last_value", []*vec.Vec{x}, false, "b b NULL f f f g"},
		{"last_value", []*vec.Vec{x}, true, "b b b f f f g"},
		{"nth_value", []*vec.Vec{x, intOf(3)}, false, "NULL NULL NULL NULL NULL NULL NULL"},
		{"nth_value", []*vec.Vec{x, intOf(4)}, false, "NULL NULL NULL d d d d"},
		{"count", nil, false, "2 2 3 6 6 6 7"},
		{"sum", []*vec.Vec{key}, false, "2 2 4 13 13 13 13"},
		{"string_agg", []*vec.Vec{x}, false, "a,b a,b a,b a,b,d,f a,b,d,f a,b,d,f a,b,d,f,g"},
	} {
		var types []vec.Type
		args := slices.Clone(c.args)
		for i, v := range args {
			types = append(types, v.Type)
			if v.Const {
				args[i] = v.Repeat(0, 7)
			}
		}
		w := Window{Order: []vec.Order{{}}, Keys: []vec.Type{ints}, IgnoreNulls: c.ignore}
		f, err := BindWindow(c.call, types, nil, w, 0)
		if err != nil {
			t.Errorf("%s: %v", c.call, err)
			continue
		}
		v, err := f.Run(7, args, []*vec.Vec{key}, nil)
		if err != nil {
			t.Errorf("%s: %v", c.call, err)
			continue
		}
		var got []string
		for i, v := 0, v.Flat(); i < v.Len; i++ {
			got = append(got, show(v, i))
		}
		if g := strings.Join(got, " "); g != c.want || !v.Type.Equal(f.Result) {
			t.Errorf("%s ignore=%v: %s of %v, want %s of %v", c.call, c.ignore, g, v.Type, c.want, f.Result)
		}
	}
}

// An interval of months ends on the last day of a shorter month.
func TestRangeOfIntervals(t *testing.T) {
	day := func(y, m, d int) int64 { return civil(y, m, d) }
	key := &vec.Vec{Type: vec.Of(vec.Date), Len: 5, Ints: []int64{day(2023, 12, 31), day(2024, 1, 30), day(2024, 2, 29), day(2024, 3, 1), day(2024, 3, 31)}}
	for _, c := range []struct {
		span vec.Span
		desc bool
		want string
	}{
		{vec.Span{Months: 1}, false, "1 2 2 2 3"},
		{vec.Span{Days: 30}, false, "1 2 2 2 2"},
		{vec.Span{Micros: dayMicros + 1}, false, "1 1 1 2 1"},
		{vec.Span{}, false, "1 1 1 1 1"},
	} {
		w := Window{Order: []vec.Order{{}}, Keys: []vec.Type{key.Type}, Frame: &Frame{Unit: sql.Range, End: Bound{Kind: sql.CurrentRow},
			Start: Bound{Kind: sql.Preceding, Offset: &vec.Vec{Type: vec.Of(vec.Interval), Len: 1, Const: true, Spans: []vec.Span{c.span}}}}}
		f, err := BindWindow("count", nil, nil, w, 0)
		if err != nil {
			t.Fatal(err)
		}
		v, err := f.Run(5, nil, []*vec.Vec{key}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Trim(fmt.Sprint(v.Ints), "[]"); got != c.want {
			t.Errorf("range of %+v: %s, want %s", c.span, got, c.want)
		}
	}
}

func civil(y, m, d int) int64 {
	// days since 1970-01-01 in the Gregorian calendar
	if m <= 2 {
		y, m = y-1, m+12
	}
	return int64(365*y + y/4 - y/100 + y/400 + (153*(m-3)+2)/5 + d - 1 - 719468)
}

func TestWindowErrors(t *testing.T) {
	text, ints := vec.Of(vec.Text), vec.Of(vec.Int)
	ordered := func(f Frame) Window {
		return Window{Order: []vec.Order{{}}, Keys: []vec.Type{ints}, Frame: &f}
	}
	for _, c := range []struct {
		name string
		args []vec.Type
		w    Window
		want string
	}{
		{"row_numbr", nil, Window{}, "there is no window function or aggregate row_numbr; did you mean row_number?"},
		{"rank", []vec.Type{text}, Window{}, "rank has 1 argument, want 0; write rank() OVER (…)"},
		{"row_number", nil, Window{IgnoreNulls: true}, "row_number: IGNORE NULLS is for lag"},
		{"sum", []vec.Type{ints}, Window{IgnoreNulls: true}, "sum: IGNORE NULLS is for lag"},
		{"lag", []vec.Type{ints}, Window{Distinct: true}, "lag: DISTINCT is for aggregates"},
		{"count", nil, Window{Frame: &Frame{Unit: sql.Groups, End: Bound{Kind: sql.CurrentRow}}}, "GROUPS needs an order; add an ORDER BY"},
		{"count", nil, ordered(Frame{Unit: sql.Rows, Start: Bound{Kind: sql.UnboundedFollowing}}), "a frame cannot start at UNBOUNDED FOLLOWING"},
		{"count", nil, ordered(Frame{Unit: sql.Rows, Start: Bound{Kind: sql.CurrentRow}, End: Bound{Kind: sql.Preceding, Offset: intOf(1)}}), "the frame starts after its end"},
		{"count", nil, ordered(Frame{Unit: sql.Rows, Start: Bound{Kind: sql.Preceding, Offset: intOf(-1)}, End: Bound{Kind: sql.CurrentRow}}), "the offset -1 of a frame is negative"},
		{"count", nil, ordered(Frame{Unit: sql.Rows, Start: Bound{Kind: sql.Preceding, Offset: fraction(1)}, End: Bound{Kind: sql.CurrentRow}}), "the offset of a frame in ROWS is double, want an integer"},
		{"count", nil, ordered(Frame{Unit: sql.Range, Start: Bound{Kind: sql.Preceding, Offset: textOf("x")}, End: Bound{Kind: sql.CurrentRow}}), "the offset of RANGE is text, want a number"},
		{"count", nil, Window{Frame: &Frame{Unit: sql.Range, Start: Bound{Kind: sql.Preceding, Offset: intOf(1)}, End: Bound{Kind: sql.CurrentRow}}}, "RANGE with an offset needs exactly one order key, and there are 0; use ROWS"},
	} {
		_, err := BindWindow(c.name, c.args, nil, c.w, 5)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

func BenchmarkWindow(b *testing.B) {
	const n = 100_000
	r := rand.New(rand.NewPCG(1, 0))
	x := vec.New(vec.Of(vec.Float), n)
	k := vec.New(vec.Of(vec.Int), n)
	for i := range n {
		x.Floats[i], k.Ints[i] = r.Float64(), int64(i)
	}
	for _, c := range []struct {
		name  string
		arg   *vec.Vec
		frame *Frame
	}{
		{"sum", k, nil}, {"sum", x, nil},
		{"sum", k, &Frame{Unit: sql.Rows, Start: Bound{Kind: sql.Preceding, Offset: intOf(100)}, End: Bound{Kind: sql.CurrentRow}}},
		{"sum", x, &Frame{Unit: sql.Rows, Start: Bound{Kind: sql.Preceding, Offset: intOf(6)}, End: Bound{Kind: sql.CurrentRow}}},
		{"max", x, &Frame{Unit: sql.Rows, Start: Bound{Kind: sql.Preceding, Offset: intOf(10_000)}, End: Bound{Kind: sql.CurrentRow}}},
	} {
		f, err := BindWindow(c.name, []vec.Type{c.arg.Type}, nil, Window{Order: []vec.Order{{}}, Keys: []vec.Type{k.Type}, Frame: c.frame}, 0)
		if err != nil {
			b.Fatal(err)
		}
		name := fmt.Sprint(c.name, c.arg.Type)
		if c.frame != nil {
			name += fmt.Sprint(",", c.frame.Start.Offset.Ints[0], " preceding")
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := f.Run(n, []*vec.Vec{c.arg}, []*vec.Vec{k}, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/row")
		})
	}
}
