package expr

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"unsafe"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// Eval returns the value of e for all rows of b. The result may share its slices with columns of b
// or with e. Errors are of type *Error.
func (e *Expr) Eval(b *vec.Batch) (*vec.Vec, error) {
	switch e.Op {
	case OpColumn:
		return b.Cols[e.Col], nil
	case OpConst:
		v := *e.Value
		v.Len = b.N
		return &v, nil
	case OpCase:
		return e.evalCase(b)
	}
	if e.calls == lazy {
		switch e.Name {
		case "and":
			return e.evalLogic(b, false)
		case "or":
			return e.evalLogic(b, true)
		default:
			return e.evalCoalesce(b)
		}
	}
	var few [4]*vec.Vec
	args := few[:0]
	from := e.Args
	if e.Op == OpIn {
		from = e.Args[:1] // the list is in the kernel
	}
	for _, a := range from {
		v, err := a.Eval(b)
		if err != nil {
			return nil, err
		}
		args = append(args, v)
	}
	v, err := e.apply(args, b.N)
	if err != nil {
		return nil, e.locate(err)
	}
	return v, nil
}

// locate adds the position of e to an error of a kernel.
func (e *Expr) locate(err error) error {
	var x *Error
	if errors.As(err, &x) && x.Offset == noOffset {
		x.Offset = e.Offset
	}
	return err
}

// apply calls the kernel: once for constant arguments, and once for each text of a dictionary.
func (e *Expr) apply(args []*vec.Vec, n int) (*vec.Vec, error) {
	constants, dicts := 0, -1
	for i, a := range args {
		if a.Const {
			if e.calls == strict && a.Null(0) {
				return vec.NullOf(e.Type, n), nil
			}
			constants++
		} else if a.Codes != nil && a.Strings == nil {
			dicts = i
		}
	}
	if constants == len(args) {
		if n == 0 {
			return vec.New(e.Type, 0), nil
		}
		v, err := e.kernel(args, 1)
		if err != nil {
			return nil, err
		}
		v = constant(v)
		v.Len = n
		return v, nil
	}
	if dicts >= 0 && constants == len(args)-1 && e.dicts != nil && e.calls == strict {
		if v := e.applyDict(args, dicts); v != nil {
			return v, nil
		}
	}
	return e.kernel(args, n)
}

// A dictCache keeps the results of a call for the dictionaries that were seen last. Readers on
// several goroutines have dictionaries of their own, so there are several.
type dictCache struct {
	slots [8]atomic.Pointer[dictResult]
	next  atomic.Uint32
}

// dictResult is the result of a call for all texts of a dictionary.
type dictResult struct {
	dict  []string
	value *vec.Vec
	fails bool
}

// maxDict is the largest dictionary for which a call is computed for texts that may not occur.
const maxDict = 1 << 16

// applyDict computes a call whose argument number at is the only one that varies, and has a
// dictionary. It returns nil if that does not pay, or if a text fails that may not occur.
func (e *Expr) applyDict(args []*vec.Vec, at int) *vec.Vec {
	v := args[at]
	switch e.Type.Kind {
	case vec.Blob, vec.JSON, vec.Interval, vec.List, vec.Struct, vec.Map, vec.Null:
		return nil
	}
	if len(v.Dict) == 0 || len(v.Dict) > maxDict {
		return nil
	}
	r := e.dictResult(args, at)
	if r.fails {
		return nil
	}
	res := r.value
	w := &vec.Vec{Type: e.Type, Len: v.Len, Nulls: v.Nulls}
	if res.Const {
		if v.Nulls != nil {
			return nil
		}
		w := *res
		w.Len = v.Len
		return &w
	}
	switch e.Type.Kind {
	case vec.Bool:
		w.Bools = byCode(res.Bools, v.Codes)
	case vec.Int, vec.Decimal, vec.Date, vec.Time, vec.Timestamp, vec.TimestampTZ:
		if res.Wide != nil {
			w.Wide = byCode(res.Wide, v.Codes)
		} else {
			w.Ints = byCode(res.Ints, v.Codes)
		}
	case vec.Float:
		w.Floats = byCode(res.Floats, v.Codes)
	case vec.Text:
		w.Codes, w.Dict = v.Codes, res.Strings
	}
	if res.Nulls != nil {
		w.Nulls = byCode(res.Nulls, v.Codes)
		for i, null := range v.Nulls {
			w.Nulls[i] = w.Nulls[i] || null
		}
	}
	return w
}

func byCode[T any](values []T, codes []uint32) []T {
	out := make([]T, len(codes))
	for i, c := range codes {
		out[i] = values[c]
	}
	return out
}

// dictResult returns the result for the dictionary of args[at]. A dictionary that grew at its end
// costs only its new texts.
func (e *Expr) dictResult(args []*vec.Vec, at int) *dictResult {
	dict := args[at].Dict
	var old *dictResult
	slot := -1
	for i := range e.dicts.slots {
		r := e.dicts.slots[i].Load()
		if r == nil || &r.dict[0] != &dict[0] {
			continue
		}
		if len(r.dict) == len(dict) {
			return r
		}
		if len(r.dict) < len(dict) && !r.fails && !r.value.Const {
			old, slot = r, i
		}
	}
	fresh := dict
	if old != nil {
		fresh = dict[len(old.dict):]
	}
	call := append([]*vec.Vec(nil), args...)
	call[at] = &vec.Vec{Type: args[at].Type, Len: len(fresh), Strings: fresh}
	r := &dictResult{dict: dict}
	v, err := e.kernel(call, len(fresh))
	switch {
	case err != nil:
		r.fails = true
	case old != nil:
		r.value = concat(old.value, v)
	case v.Const:
		r.value = v
	default:
		r.value = v.Flat()
	}
	if slot < 0 {
		slot = int(e.dicts.next.Add(1) % uint32(len(e.dicts.slots)))
	}
	e.dicts.slots[slot].Store(r)
	return r
}

// concat returns the rows of a and then the rows of b, flat.
func concat(a, b *vec.Vec) *vec.Vec {
	out := vec.NewBuilder(a.Type, a.Len+b.Len)
	for _, v := range []*vec.Vec{a, b} {
		for i := range v.Len {
			out.Append(v, i)
		}
	}
	return out.Done()
}

// isSubset reports whether evaluating e for m of n rows alone pays: copying these rows costs less
// than the rows that are left out.
func (e *Expr) isSubset(m, n int) bool { return m < n && e.cost*(n-m) > 24*m+8*n }

// tryAll evaluates e for all rows, and returns nil if one of them fails. Rows that need not be
// looked at fail rarely.
func (e *Expr) tryAll(b *vec.Batch) *vec.Vec {
	v, err := e.Eval(b)
	if err != nil {
		return nil
	}
	return v
}

// evalFor evaluates e for some rows of b. The result has all rows, but only the given ones count.
// Rows that are not given cannot fail.
func (e *Expr) evalFor(b *vec.Batch, rows []int32) (*vec.Vec, error) {
	if len(rows) == b.N {
		return e.Eval(b)
	}
	if len(rows) == 0 {
		return vec.NullOf(e.Type, b.N), nil
	}
	if !e.isSubset(len(rows), b.N) {
		if v := e.tryAll(b); v != nil {
			return v, nil
		}
	}
	part := &vec.Batch{N: len(rows), Cols: make([]*vec.Vec, len(b.Cols)), Path: b.Path, Line: b.Line, Offset: b.Offset}
	e.Walk(func(x *Expr) bool {
		if x.Op == OpColumn && part.Cols[x.Col] == nil {
			part.Cols[x.Col] = b.Cols[x.Col].Gather(rows)
		}
		return true
	})
	v, err := e.Eval(part)
	if err != nil {
		var x *Error
		if errors.As(err, &x) && x.Row >= 0 && x.Row < len(rows) {
			x.Row = int(rows[x.Row])
		}
		return nil, err
	}
	if v.Const {
		w := *v
		w.Len = b.N
		return &w, nil
	}
	back := make([]int32, b.N)
	for i := range back {
		back[i] = -1
	}
	for i, r := range rows {
		back[r] = int32(i)
	}
	return v.Gather(back), nil
}

// combine computes OR of two columns, or AND if or is false, into the first one.
func combine(out, with []bool, or bool) {
	a, b := bytesOf(out), bytesOf(with)
	for ; len(a) >= 8; a, b = a[8:], b[8:] {
		x, y := binary.LittleEndian.Uint64(a), binary.LittleEndian.Uint64(b)
		if or {
			x |= y
		} else {
			x &= y
		}
		binary.LittleEndian.PutUint64(a, x)
	}
	for i := range a {
		if or {
			a[i] |= b[i]
		} else {
			a[i] &= b[i]
		}
	}
}

// bytesOf returns the bytes of booleans, which are 0 and 1.
func bytesOf(b []bool) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(b))), len(b))
}

// evalLogic evaluates AND, or OR with end set to true: an argument is not evaluated for rows in
// which an earlier one is end.
func (e *Expr) evalLogic(b *vec.Batch, end bool) (*vec.Vec, error) {
	first, err := e.Args[0].Eval(b)
	if err != nil {
		return nil, err
	}
	if first.Const && len(e.Args) == 2 && first.Nulls == nil {
		if first.Bools[0] == end {
			return first, nil
		}
		return e.Args[1].Eval(b)
	}
	n := b.N
	out := make([]bool, n)
	var nulls []bool
	take := func(v *vec.Vec) {
		if v.Nulls != nil && nulls == nil {
			nulls = make([]bool, n)
		}
		bools, mask := v.Bools, maskOf(v)
		switch {
		case nulls == nil && v.Const:
			if bools[0] == end {
				for i := range out {
					out[i] = end
				}
			}
		case nulls == nil:
			combine(out, bools[:n], end)
		default:
			for i := range out {
				if out[i] == end && !nulls[i] {
					continue
				}
				null := v.Nulls != nil && v.Nulls[i&mask]
				switch {
				case !null && bools[i&mask] == end:
					out[i], nulls[i] = end, false
				case null:
					nulls[i] = true
				}
			}
		}
	}
	if first.Nulls == nil && !first.Const {
		copy(out, first.Bools)
	} else {
		for i := range out {
			out[i] = !end
		}
		take(first)
	}
	for _, a := range e.Args[1:] {
		open := vec.CountTrue(out)
		if end {
			open = n - open
		}
		if nulls != nil {
			open = 0
			for i, x := range out {
				open += b2i(x != end || nulls[i])
			}
		}
		if open == 0 {
			break
		}
		if !a.isSubset(open, n) {
			if v := a.tryAll(b); v != nil {
				take(v)
				continue
			}
		}
		rows := make([]int32, 0, open)
		for i, x := range out {
			if x != end || nulls != nil && nulls[i] {
				rows = append(rows, int32(i))
			}
		}
		v, err := a.evalFor(b, rows)
		if err != nil {
			return nil, err
		}
		take(v)
	}
	return &vec.Vec{Type: vec.Of(vec.Bool), Len: n, Bools: out, Nulls: nulls}, nil
}

// evalCase evaluates a CASE: conditions in turn for the rows that are left, and values for the rows
// whose condition is true.
func (e *Expr) evalCase(b *vec.Batch) (*vec.Vec, error) {
	n := b.N
	pairs := len(e.Args) / 2
	choice := make([]int32, n) // branch of each row
	left := make([]int32, n)
	for i := range left {
		left[i] = int32(i)
		choice[i] = int32(pairs)
	}
	values := make([]*vec.Vec, pairs+1)
	for p := range pairs {
		if len(left) == 0 {
			break
		}
		cond, err := e.Args[2*p].evalFor(b, left)
		if err != nil {
			return nil, err
		}
		mask := maskOf(cond)
		rest := make([]int32, 0, len(left))
		var hit []int32
		for _, r := range left {
			i := int(r) & mask
			if cond.Type.Kind != vec.Null && cond.Bools[i] && (cond.Nulls == nil || !cond.Nulls[i]) {
				hit = append(hit, r)
				choice[r] = int32(p)
			} else {
				rest = append(rest, r)
			}
		}
		left = rest
		if len(hit) > 0 {
			if values[p], err = e.Args[2*p+1].evalFor(b, hit); err != nil {
				return nil, err
			}
			if len(hit) == n {
				return values[p], nil
			}
		}
	}
	if len(left) > 0 {
		var err error
		if values[pairs], err = e.Args[2*pairs].evalFor(b, left); err != nil {
			return nil, err
		}
		if len(left) == n {
			return values[pairs], nil
		}
	}
	return blend(e.Type, choice, values), nil
}

// evalCoalesce returns the first argument that is not NULL, for each row.
func (e *Expr) evalCoalesce(b *vec.Batch) (*vec.Vec, error) {
	n := b.N
	choice := make([]int32, n)
	left := make([]int32, n)
	for i := range left {
		left[i] = int32(i)
	}
	values := make([]*vec.Vec, len(e.Args))
	for p, a := range e.Args {
		v, err := a.evalFor(b, left)
		if err != nil {
			return nil, err
		}
		values[p] = v
		rest := left[:0:0]
		for _, r := range left {
			choice[r] = int32(p)
			if v.Null(int(r)) {
				rest = append(rest, r)
			}
		}
		if p == 0 && (len(rest) == 0 || len(e.Args) == 1) {
			return v, nil
		}
		if left = rest; len(left) == 0 {
			break
		}
	}
	return blend(e.Type, choice, values), nil
}

// blend returns a vector whose row i is row i of values[choice[i]]. Values that no row chooses may
// be nil.
func blend(t vec.Type, choice []int32, values []*vec.Vec) *vec.Vec {
	n := len(choice)
	out := &vec.Vec{Type: t, Len: n}
	wide := false
	constants := true
	for _, v := range values {
		if v == nil {
			continue
		}
		if v.Nulls != nil && out.Nulls == nil {
			out.Nulls = make([]bool, n)
		}
		wide = wide || v.Wide != nil
		constants = constants && v.Const
	}
	if out.Nulls != nil {
		for i, c := range choice {
			out.Nulls[i] = values[c].Null(i)
		}
	}
	switch t.Kind {
	case vec.Null:
		return vec.NullOf(t, n)
	case vec.Bool:
		out.Bools = blendOf(choice, values, bools)
	case vec.Int, vec.Decimal, vec.Date, vec.Time, vec.Timestamp, vec.TimestampTZ:
		if wide {
			out.Wide = blendOf(choice, values, wides)
		} else {
			out.Ints = blendOf(choice, values, ints)
		}
	case vec.Float:
		out.Floats = blendOf(choice, values, floats)
	case vec.Text, vec.Blob, vec.JSON:
		if constants && t.Kind == vec.Text {
			out.Codes = make([]uint32, n)
			for i, c := range choice {
				out.Codes[i] = uint32(c)
			}
			out.Dict = make([]string, len(values))
			for i, v := range values {
				if v != nil {
					out.Dict[i] = v.String(0)
				}
			}
			break
		}
		out.Strings = blendOf(choice, values, strs)
	case vec.Interval:
		out.Spans = blendOf(choice, values, spans)
	default:
		b := vec.NewBuilder(t, n)
		for i, c := range choice {
			b.Append(values[c], i)
		}
		return b.Done()
	}
	return out
}

func blendOf[T any](choice []int32, values []*vec.Vec, get func(*vec.Vec) []T) []T {
	from := make([][]T, len(values))
	masks := make([]int, len(values))
	for i, v := range values {
		if v != nil {
			from[i], masks[i] = get(v), maskOf(v)
		}
	}
	out := make([]T, len(choice))
	for i, c := range choice {
		out[i] = from[c][i&masks[c]]
	}
	return out
}
