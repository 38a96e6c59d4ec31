package vec

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unsafe"
)

// Span is an interval: months, days and microseconds are kept apart, because they have no fixed
// ratio.
type Span struct {
	Months, Days int32
	Micros       int64
}

// Vec is a column of values of one type. Only the slice of its kind is used; see Kind. A Vec that
// was emitted or returned must not be changed, because others may share its slices.
type Vec struct {
	Type Type
	// Len is the number of rows.
	Len int
	// Const reports that all rows have the value of row 0. The slices then have one element.
	Const bool
	// Nulls reports which rows are NULL. Nil means none. The value of a row that is NULL is
	// undefined, but valid.
	Nulls []bool

	Bools   []bool
	Ints    []int64
	Wide    []Int128 // of Decimal: if set, it has the values in place of Ints
	Floats  []float64
	Strings []string
	Spans   []Span

	// Codes and Dict are another form of Text: row i is Dict[Codes[i]]. Strings is nil then. Dict
	// may have equal strings.
	Codes []uint32
	Dict  []string

	// Offsets has one more element than rows: the elements of row i are Offsets[i] to Offsets[i+1]
	// of Elem.
	Offsets []int32
	Elem    *Vec
	Fields  []*Vec
}

// New returns a vector of n rows with zero values, which the caller fills. A List has empty lists.
func New(t Type, n int) *Vec {
	v := &Vec{Type: t, Len: n}
	switch t.Kind.storage() {
	case inBools:
		v.Bools = make([]bool, n)
	case inInts:
		v.Ints = make([]int64, n)
	case inFloats:
		v.Floats = make([]float64, n)
	case inStrings:
		v.Strings = make([]string, n)
	case inSpans:
		v.Spans = make([]Span, n)
	case inList:
		v.Offsets = make([]int32, n+1)
		v.Elem = New(*t.Elem, 0)
	case inFields:
		for _, f := range t.Fields {
			v.Fields = append(v.Fields, New(f.Type, n))
		}
	case inNothing:
		v.Nulls = make([]bool, n)
		for i := range v.Nulls {
			v.Nulls[i] = true
		}
	}
	return v
}

// NullOf returns a vector of n rows, all NULL.
func NullOf(t Type, n int) *Vec {
	v := New(t, 1)
	v.Nulls = []bool{true}
	v.Len, v.Const = n, true
	return v
}

// Repeat returns a vector of n rows with the value of row i of v.
func (v *Vec) Repeat(i, n int) *Vec {
	w := v.gather([]int32{int32(v.at(i))})
	w.Len, w.Const = n, true
	return w
}

// at returns the position of row i in the slices.
func (v *Vec) at(i int) int {
	if v.Const {
		return 0
	}
	return i
}

// Null reports whether row i is NULL.
func (v *Vec) Null(i int) bool { return v.Nulls != nil && v.Nulls[v.at(i)] }

// HasNulls reports whether any row may be NULL.
func (v *Vec) HasNulls() bool { return v.Nulls != nil }

// SetNull makes row i NULL. v must not be Const.
func (v *Vec) SetNull(i int) {
	if v.Nulls == nil {
		v.Nulls = make([]bool, v.Len)
	}
	v.Nulls[i] = true
}

// String returns the text of row i of a Text, Blob or JSON.
func (v *Vec) String(i int) string {
	if v.Strings == nil {
		return v.Dict[v.Codes[v.at(i)]]
	}
	return v.Strings[v.at(i)]
}

// Int128 returns the unscaled value of row i of a Decimal or Int.
func (v *Vec) Int128(i int) Int128 {
	if v.Wide != nil {
		return v.Wide[v.at(i)]
	}
	return Int128Of(v.Ints[v.at(i)])
}

// Widen makes v store its values in Wide.
func (v *Vec) Widen() {
	if v.Wide != nil {
		return
	}
	v.Wide = make([]Int128, len(v.Ints), max(len(v.Ints), cap(v.Ints)))
	for i, x := range v.Ints {
		v.Wide[i] = Int128Of(x)
	}
	v.Ints = nil
}

// Flat returns v with one value for each row, and Text as Strings. It returns v itself if it is so
// already.
func (v *Vec) Flat() *Vec {
	if !v.Const && (v.Codes == nil || v.Strings != nil) {
		return v
	}
	if v.Const {
		return v.gather(make([]int32, v.Len))
	}
	w := *v
	w.Strings = make([]string, v.Len)
	for i, c := range v.Codes {
		w.Strings[i] = v.Dict[c]
	}
	w.Codes, w.Dict = nil, nil
	return &w
}

// Gather returns the given rows of v, in their order. A row of -1 becomes NULL. Codes stay codes.
func (v *Vec) Gather(rows []int32) *Vec {
	if v.Const && !slices.Contains(rows, -1) {
		w := *v
		w.Len = len(rows)
		return &w
	}
	return v.gather(rows)
}

// gather is Gather with a result that is not Const.
func (v *Vec) gather(rows []int32) *Vec {
	w := &Vec{Type: v.Type, Len: len(rows)}
	if v.Const {
		own := make([]int32, len(rows))
		for i, r := range rows {
			own[i] = min(r, 0)
		}
		rows = own
	}
	missing := slices.Contains(rows, -1)
	if v.Nulls != nil || missing {
		w.Nulls = make([]bool, len(rows))
		for i, r := range rows {
			w.Nulls[i] = r < 0 || v.Nulls != nil && v.Nulls[r]
		}
	}
	switch v.Type.Kind.storage() {
	case inBools:
		w.Bools = pick(v.Bools, rows, missing)
	case inInts:
		if v.Wide != nil {
			w.Wide = pick(v.Wide, rows, missing)
		} else {
			w.Ints = pick(v.Ints, rows, missing)
		}
	case inFloats:
		w.Floats = pick(v.Floats, rows, missing)
	case inStrings:
		if v.Strings == nil && v.Codes != nil {
			w.Codes, w.Dict = pick(v.Codes, rows, missing), v.Dict
			if missing && len(w.Dict) == 0 {
				w.Dict = []string{""}
			}
		} else {
			w.Strings = pick(v.Strings, rows, missing)
		}
	case inSpans:
		w.Spans = pick(v.Spans, rows, missing)
	case inList:
		w.Offsets = make([]int32, len(rows)+1)
		var elems []int32
		for i, r := range rows {
			if r >= 0 {
				for e := v.Offsets[r]; e < v.Offsets[r+1]; e++ {
					elems = append(elems, e)
				}
			}
			w.Offsets[i+1] = int32(len(elems))
		}
		w.Elem = v.Elem.gather(elems)
	case inFields:
		for _, f := range v.Fields {
			w.Fields = append(w.Fields, f.gather(rows))
		}
	}
	return w
}

func pick[T any](from []T, rows []int32, missing bool) []T {
	to := make([]T, len(rows))
	if missing {
		for i, r := range rows {
			if r >= 0 {
				to[i] = from[r]
			}
		}
		return to
	}
	for i, r := range rows {
		to[i] = from[r]
	}
	return to
}

// Batch is some rows of several columns. All columns have N rows. A batch of a reader, with its
// texts, is valid until the reader emits the next one: what is needed longer is copied.
type Batch struct {
	N    int
	Cols []*Vec
	// Path, Line and Offset are where row 0 was read: a file, its line from 1, the position in
	// bytes. Zero values mean unknown. They are for error messages.
	Path         string
	Line, Offset int64
	// Where returns the place of a row, such as a.csv:17; nil if it is not known. It may be called
	// until the reader emits the next batch. Its row comes from Index, if it is not nil: the
	// number of each row in the batch of the reader.
	Where func(row int) string
	Index []int32
}

// Place returns the place of a row, or "".
func (b *Batch) Place(row int) string {
	switch {
	case b.Where == nil:
		return ""
	case b.Index != nil:
		row = int(b.Index[row])
	}
	return b.Where(row)
}

// Filter returns the rows for which keep is true and not NULL. It returns b itself if those are all
// rows.
func (b *Batch) Filter(keep *Vec) *Batch {
	rows := Selected(keep)
	if len(rows) == b.N {
		return b
	}
	return b.Gather(rows)
}

// Selected returns the numbers of the rows for which keep, a Bool, is true and not NULL.
func Selected(keep *Vec) []int32 {
	if keep.Nulls == nil && !keep.Const {
		return selected(keep.Bools[:keep.Len])
	}
	rows := make([]int32, 0, keep.Len)
	switch {
	case keep.Const:
		if keep.Null(0) || !keep.Bools[0] {
			return rows
		}
		for i := range keep.Len {
			rows = append(rows, int32(i))
		}
	default:
		for i, k := range keep.Bools {
			if k && !keep.Nulls[i] {
				rows = append(rows, int32(i))
			}
		}
	}
	return rows
}

// selected is Selected without NULLs. It looks at eight rows at a time.
func selected(keep []bool) []int32 {
	rows := make([]int32, 0, CountTrue(keep))
	i := 0
	for b := bytesOf(keep); i+8 <= len(b); i += 8 {
		for x := binary.LittleEndian.Uint64(b[i:]); x != 0; x &= x - 1 {
			rows = append(rows, int32(i+bits.TrailingZeros64(x)>>3))
		}
	}
	for ; i < len(keep); i++ {
		if keep[i] {
			rows = append(rows, int32(i))
		}
	}
	return rows
}

// CountTrue returns how many of the booleans are true.
func CountTrue(all []bool) (n int) {
	b := bytesOf(all)
	for ; len(b) >= 8; b = b[8:] {
		n += bits.OnesCount64(binary.LittleEndian.Uint64(b))
	}
	for _, x := range b {
		n += int(x)
	}
	return n
}

// bytesOf returns the bytes of booleans, which are 0 and 1.
func bytesOf(b []bool) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(b))), len(b))
}

// Gather returns the given rows of all columns.
func (b *Batch) Gather(rows []int32) *Batch {
	w := &Batch{N: len(rows), Cols: make([]*Vec, len(b.Cols)), Path: b.Path, Line: b.Line, Offset: b.Offset, Where: b.Where}
	if w.Where != nil {
		w.Index = rows
		if b.Index != nil {
			w.Index = make([]int32, len(rows))
			for i, r := range rows {
				w.Index[i] = b.Index[r]
			}
		}
	}
	for i, c := range b.Cols {
		if c != nil {
			w.Cols[i] = c.Gather(rows)
		}
	}
	return w
}
