package scan

import (
	"github.com/layshaft/layshaft/internal/arena"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// A filler turns texts into a vector of a type.
type filler struct {
	typ     vec.Type
	bools   []bool
	ints    []int64
	wide    []vec.Int128
	floats  []float64
	strings []string
	spans   []vec.Span
	nulls   []bool
	isNull  bool // some row of nulls is set
	// keep makes copies of texts. It is nil if the texts stay until the batch is emitted.
	keep   *arena.Arena
	layout *layout // of dates and times; nil means ISO 8601
	most   int64   // if not zero, a decimal must be below it
}

// newFiller returns a filler for vectors of up to vec.Size rows.
func newFiller(typ vec.Type, keep *arena.Arena) *filler {
	f := &filler{typ: typ, keep: keep, nulls: make([]bool, vec.Size)}
	switch typ.Kind {
	case vec.Bool:
		f.bools = make([]bool, vec.Size)
	case vec.Float:
		f.floats = make([]float64, vec.Size)
	case vec.Decimal:
		if typ.Precision > 18 {
			f.wide = make([]vec.Int128, vec.Size)
			break
		}
		if f.ints = make([]int64, vec.Size); typ.Precision < 18 {
			f.most = tens[typ.Precision]
		}
	case vec.Int, vec.Date, vec.Time, vec.Timestamp, vec.TimestampTZ:
		f.ints = make([]int64, vec.Size)
	case vec.Interval:
		f.spans = make([]vec.Span, vec.Size)
	default:
		f.strings = make([]string, vec.Size)
	}
	return f
}

// setNull makes a row NULL.
func (f *filler) setNull(row int) {
	f.nulls[row], f.isNull = true, true
	if f.strings != nil {
		f.strings[row] = ""
	}
}

// set stores a text in a row, and reports whether it fits the type.
func (f *filler) set(row int, s string) (ok bool) {
	if f.isNull {
		f.nulls[row] = false
	}
	switch f.typ.Kind {
	case vec.Text, vec.JSON, vec.Blob:
		if f.keep != nil {
			s = f.keep.Keep(s)
		}
		f.strings[row] = s
		return f.typ.Kind == vec.Blob || isUTF8(s)
	case vec.Int:
		f.ints[row], ok = parseInt(s)
	case vec.Decimal:
		if f.wide != nil {
			var exact bool
			f.wide[row], exact, ok = vec.ParseDecimal(s, f.typ.Precision, f.typ.Scale)
			return ok && exact
		}
		f.ints[row], ok = parseDecimal(s, f.typ.Scale)
		if f.most != 0 {
			ok = ok && f.ints[row] < f.most && f.ints[row] > -f.most
		}
	case vec.Float:
		f.floats[row], ok = parseFloat(s)
	case vec.Bool:
		f.bools[row], ok = parseBool(s)
	case vec.Date:
		if f.layout != nil {
			f.ints[row], ok = f.layout.date(s)
		} else {
			f.ints[row], ok = parseDate(s)
		}
	case vec.Time:
		f.ints[row], ok = parseTime(s)
	case vec.Timestamp:
		var zoned bool
		f.ints[row], zoned, ok = f.timestamp(s)
		ok = ok && !zoned
	case vec.TimestampTZ:
		f.ints[row], _, ok = f.timestamp(s)
	case vec.Interval:
		f.spans[row], ok = parseInterval(s)
	}
	return ok
}

func (f *filler) timestamp(s string) (micros int64, zoned, ok bool) {
	if f.layout != nil {
		return f.layout.timestamp(s)
	}
	return parseTimestamp(s)
}

// vec returns the first n rows.
func (f *filler) vec(n int) *vec.Vec {
	v := &vec.Vec{Type: f.typ, Len: n}
	if f.isNull {
		v.Nulls = f.nulls[:n]
	}
	switch {
	case f.bools != nil:
		v.Bools = f.bools[:n]
	case f.ints != nil:
		v.Ints = f.ints[:n]
	case f.floats != nil:
		v.Floats = f.floats[:n]
	case f.strings != nil:
		v.Strings = f.strings[:n]
	case f.spans != nil:
		v.Spans = f.spans[:n]
	case f.wide != nil:
		narrow(v, f.wide[:n])
	}
	return v
}

// narrow stores decimals in Ints if all of them fit, and in Wide otherwise.
func narrow(v *vec.Vec, wide []vec.Int128) {
	ints := make([]int64, len(wide))
	for i, x := range wide {
		var ok bool
		if ints[i], ok = x.Int64(); !ok && !v.Null(i) {
			v.Wide = wide
			return
		}
	}
	v.Ints = ints
}

// room makes room for n rows.
func (f *filler) room(n int) {
	if n <= len(f.nulls) {
		return
	}
	g := filler{typ: f.typ, keep: f.keep, layout: f.layout, most: f.most, nulls: make([]bool, 2*n)}
	switch {
	case f.ints != nil:
		g.ints = make([]int64, 2*n)
	case f.spans != nil:
		g.spans = make([]vec.Span, 2*n)
	case f.wide != nil:
		g.wide = make([]vec.Int128, 2*n)
	}
	*f = g
}

// reset begins the next vector.
func (f *filler) reset() {
	if f.isNull {
		clear(f.nulls)
		f.isNull = false
	}
}
