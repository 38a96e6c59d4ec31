package aggr

import (
	"math"
	"math/big"
	"sort"
	"time"

	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// frame is a Frame whose offsets are numbers.
type frame struct {
	unit       sql.FrameUnit
	start, end bound
	exclude    sql.FrameExclude
	order      vec.Order // of the only key, if there are offsets in RANGE
	key        vec.Type
}

type bound struct {
	kind sql.BoundKind
	rows int // of ROWS and GROUPS, not negative
	by   rangeOffset
}

// rangeOffset is a distance between order keys.
type rangeOffset struct {
	word  int64   // between integers, decimals, times of day: in units of the key
	float float64 // between floats
	span  vec.Span
}

// bindFrame checks the frame of a call.
func bindFrame(c *call, w Window) (frame, error) {
	f := w.Frame
	if f == nil {
		if len(w.Order) == 0 {
			return frame{unit: sql.Rows, start: bound{kind: sql.UnboundedPreceding}, end: bound{kind: sql.UnboundedFollowing}}, nil
		}
		return frame{unit: sql.Range, start: bound{kind: sql.UnboundedPreceding}, end: bound{kind: sql.CurrentRow}}, nil
	}
	b := frame{unit: f.Unit, exclude: f.Exclude}
	switch {
	case f.Start.Kind == sql.UnboundedFollowing:
		return b, c.errorf("", "a frame cannot start at UNBOUNDED FOLLOWING")
	case f.End.Kind == sql.UnboundedPreceding:
		return b, c.errorf("", "a frame cannot end at UNBOUNDED PRECEDING")
	case f.Start.Kind > f.End.Kind:
		return b, c.errorf("exchange the bounds", "the frame starts after its end")
	case f.Unit == sql.Groups && len(w.Order) == 0:
		return b, c.errorf("add an ORDER BY to the window", "GROUPS needs an order")
	}
	var err error
	if b.start, err = bindBound(c, w, &b, f.Start); err == nil {
		b.end, err = bindBound(c, w, &b, f.End)
	}
	return b, err
}

func bindBound(c *call, w Window, f *frame, from Bound) (b bound, err error) {
	b.kind = from.Kind
	if b.kind != sql.Preceding && b.kind != sql.Following {
		return b, nil
	}
	v := from.Offset
	if v == nil || v.Null(0) {
		return b, c.errorf("", "the offset of a frame must be a constant and not NULL")
	}
	if f.unit != sql.Range {
		if v.Type.Kind != vec.Int {
			return b, c.errorf("", "the offset of a frame in %s is %s, want an integer", f.unit, v.Type)
		}
		n := int64(v.Int128(0).Lo)
		if n < 0 {
			return b, c.errorf("", "the offset %d of a frame is negative", n)
		}
		b.rows = int(min(n, math.MaxInt32))
		return b, nil
	}
	if len(w.Keys) != 1 {
		return b, c.errorf("use ROWS, or order by one key", "RANGE with an offset needs exactly one order key, and there are %d", len(w.Keys))
	}
	f.order, f.key = w.Order[0], w.Keys[0]
	var negative bool
	switch key := f.key; key.Kind {
	case vec.Int, vec.Decimal, vec.Float:
		x, ok := number(v, 0)
		if !ok {
			return b, c.errorf("", "the offset of RANGE is %s, want a number as the order key", v.Type)
		}
		negative = !(x >= 0)
		b.by.float = x
		if key.Kind != vec.Float {
			if key.Precision > 18 {
				return b, c.errorf("cast the key to double", "RANGE with an offset over %s is not supported", key)
			}
			scaled := new(big.Rat).SetFloat64(x)
			if v.Type.Kind != vec.Float {
				scaled = new(big.Rat).SetFrac(v.Int128(0).Big(), vec.Pow10(v.Type.Scale).Big())
			} else if scaled == nil {
				scaled = new(big.Rat).SetInt64(math.MaxInt64)
			}
			scaled.Mul(scaled, new(big.Rat).SetInt(vec.Pow10(key.Scale).Big()))
			// a fraction of a unit reaches no further key
			units := new(big.Int).Quo(scaled.Num(), scaled.Denom())
			b.by.word = math.MaxInt64
			if units.IsInt64() {
				b.by.word = units.Int64()
			}
		}
	case vec.Date, vec.Timestamp, vec.TimestampTZ, vec.Time:
		switch v.Type.Kind {
		case vec.Interval:
			b.by.span = v.Spans[0]
		case vec.Int:
			if key.Kind != vec.Date {
				return b, c.errorf("write INTERVAL '1 hour'", "the offset of RANGE is %s, want an interval", v.Type)
			}
			n := int64(v.Int128(0).Lo)
			b.by.span.Days = int32(min(max(n, -1), math.MaxInt32))
		default:
			return b, c.errorf("write INTERVAL '1 day'", "the offset of RANGE is %s, want an interval", v.Type)
		}
		s := b.by.span
		negative = s.Months < 0 || s.Days < 0 || s.Micros < 0
	default:
		return b, c.errorf("use ROWS", "RANGE with an offset cannot be used with an order key of type %s", key)
	}
	if negative {
		return b, c.errorf("", "the offset of a frame is negative")
	}
	return b, nil
}

// span is the rows from, from+1, … up to but not including to.
type span struct{ from, to int }

// frames are the frames of all rows of a partition.
type frames struct {
	p       *partition
	exclude sql.FrameExclude
	from    []int32
	to      []int32
	some    [3]span
}

// of returns the rows of the frame of row i, as at most three ranges. It is valid until the next
// call.
func (f *frames) of(i int) []span {
	from, to := int(f.from[i]), int(f.to[i])
	out := f.some[:0]
	if from >= to {
		return out
	}
	add := func(a, z int) {
		if a, z = max(a, from), min(z, to); a < z {
			out = append(out, span{a, z})
		}
	}
	switch f.exclude {
	case sql.ExcludeCurrent:
		add(from, i)
		add(i+1, to)
	case sql.ExcludeGroup, sql.ExcludeTies:
		a, z := f.p.peers(i)
		add(from, a)
		if f.exclude == sql.ExcludeTies {
			add(i, i+1)
		}
		add(z, to)
	default:
		return append(out, span{from, to})
	}
	return out
}

// frames computes the frames of a function.
func (p *partition) frames(w *WinFunc) (*frames, error) {
	f := &frames{p: p, exclude: w.frame.exclude, from: make([]int32, p.n), to: make([]int32, p.n)}
	w.frame.bounds(p, w.frame.start, false, f.from)
	w.frame.bounds(p, w.frame.end, true, f.to)
	return f, nil
}

// bounds stores the first rows of frames, or the ends behind their last rows.
func (f *frame) bounds(p *partition, b bound, end bool, out []int32) {
	n := p.n
	sign := 1
	if b.kind == sql.Preceding {
		sign = -1
	}
	offset := b.kind == sql.Preceding || b.kind == sql.Following
	switch {
	case b.kind == sql.UnboundedPreceding: // 0
	case b.kind == sql.UnboundedFollowing:
		for i := range out {
			out[i] = int32(n)
		}
	case f.unit == sql.Rows:
		for i := range out {
			row := i + sign*b.rows
			if end {
				row++
			}
			out[i] = int32(min(max(row, 0), n))
		}
	case f.unit == sql.Range && offset:
		f.ranges(p, b.by, sign, end, out)
	default: // CURRENT ROW of RANGE and GROUPS, which is 0 groups away
		groups := len(p.starts) - 1
		for i := range out {
			g := int(p.peer[i]) + sign*b.rows
			if end {
				g++
			}
			out[i] = p.starts[min(max(g, 0), groups)]
		}
	}
}

// ranges stores bounds that are an offset away from the order key of each row. Rows with a NULL key
// have their peers as frame.
func (f *frame) ranges(p *partition, by rangeOffset, sign int, end bool, out []int32) {
	key := expand(p.keys[0])
	// the rows that are not NULL
	from, to := 0, p.n
	for from < p.n && key.Null(from) {
		from++
	}
	for to > from && key.Null(to-1) {
		to--
	}
	desc := f.order.Desc
	if desc {
		sign = -sign
	}
	w := words(key, nil)
	if f.key.Kind == vec.Date {
		micros := make([]int64, len(w))
		for i, day := range w {
			micros[i] = saturated(day, dayMicros)
		}
		w = micros
	}
	for i := range out {
		if i < from || i >= to {
			a, z := p.peers(i)
			if out[i] = int32(a); end {
				out[i] = int32(z)
			}
			continue
		}
		if i > 0 && p.peer[i] == p.peer[i-1] {
			out[i] = out[i-1]
			continue
		}
		target := f.move(w[i], by, sign)
		out[i] = int32(from + sort.Search(to-from, func(k int) bool {
			x := w[from+k]
			if desc {
				return x < target || !end && x == target
			}
			return x > target || !end && x == target
		}))
	}
}

// move returns a key that is an offset away. Keys are words, see words; dates are times.
func (f *frame) move(x int64, by rangeOffset, sign int) int64 {
	switch f.key.Kind {
	case vec.Float:
		return orderWord(floatOfWord(x) + float64(sign)*by.float)
	case vec.Date, vec.Timestamp, vec.TimestampTZ:
		return moveTime(x, by.span, sign)
	case vec.Time:
		return x + int64(sign)*saturated(int64(by.span.Days), dayMicros) + int64(sign)*by.span.Micros
	}
	y := x + int64(sign)*by.word
	if sign > 0 && y < x {
		return math.MaxInt64
	}
	if sign < 0 && y > x {
		return math.MinInt64
	}
	return y
}

const dayMicros = 24 * 60 * 60 * 1_000_000

// saturated returns x * y for a positive y, or the limit of integers.
func saturated(x, y int64) int64 {
	if p, ok := vec.Mul64(x, y).Int64(); ok {
		return p
	}
	if x < 0 {
		return math.MinInt64
	}
	return math.MaxInt64
}

// moveTime adds an interval to a time, as PostgreSQL does: months first, where the day of the month
// is at most the last of its month, then days, then microseconds.
func moveTime(micros int64, s vec.Span, sign int) int64 {
	if s.Months != 0 {
		t := time.UnixMicro(micros).UTC()
		year, month, day := t.Date()
		first := time.Date(year, month, 1, 0, 0, 0, 0, time.UTC).AddDate(0, sign*int(s.Months), 0)
		last := first.AddDate(0, 1, -1).Day()
		clock := micros - time.Date(year, month, day, 0, 0, 0, 0, time.UTC).UnixMicro()
		micros = first.AddDate(0, 0, min(day, last)-1).UnixMicro() + clock
	}
	by := saturated(int64(s.Days), dayMicros)
	for _, x := range []int64{by, s.Micros} {
		y := micros + int64(sign)*x
		switch {
		case sign > 0 && y < micros:
			y = math.MaxInt64
		case sign < 0 && y > micros:
			y = math.MinInt64
		}
		micros = y
	}
	return micros
}
