package aggr

import (
	"encoding/binary"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// spanSum is the sum of n intervals, by months, days and microseconds.
type spanSum struct {
	months, days int64
	micros       intSum
}

// spanSums adds intervals.
type spanSums struct {
	f *Func
	s []spanSum
}

func (s *spanSums) Resize(groups int) { s.s = grow(s.s, groups) }

func (x *spanSum) add(v vec.Span) {
	x.months += int64(v.Months)
	x.days += int64(v.Days)
	x.micros.add(v.Micros)
}

func (s *spanSums) Add(groups []uint32, args []*vec.Vec) error {
	v := expand(args[0])
	for i, g := range groups {
		if v.Nulls == nil || !v.Nulls[i] {
			s.s[g].add(v.Spans[i])
		}
	}
	return nil
}

func (s *spanSums) AddAll(group uint32, args []*vec.Vec, n int) error {
	v := expand(args[0])
	for i, x := range v.Spans[:n] {
		if v.Nulls == nil || !v.Nulls[i] {
			s.s[group].add(x)
		}
	}
	return nil
}

func (s *spanSums) AppendState(dst []byte, group int) []byte {
	x := &s.s[group]
	dst = binary.AppendUvarint(dst, uint64(x.micros.n))
	dst = binary.AppendVarint(binary.AppendVarint(dst, x.months), x.days)
	return appendWide(dst, x.micros.hi, x.micros.lo)
}

func (s *spanSums) MergeState(group int, src []byte) ([]byte, error) {
	d := decoderOf(src)
	n, months, days := d.rows(), d.Int(), d.Int()
	micros := vec.Int128{Hi: int64(d.Word()), Lo: d.Word()}
	rest, err := d.end()
	if err != nil {
		return nil, err
	}
	x := &s.s[group]
	x.months += months
	x.days += days
	sum, _ := vec.Int128{Hi: x.micros.hi, Lo: x.micros.lo}.Add(micros)
	x.micros = intSum{sum.Lo, sum.Hi, x.micros.n + n}
	return rest, nil
}

func (s *spanSums) Result(from, to int) (*vec.Vec, error) {
	v := vec.New(vec.Of(vec.Interval), to-from)
	for i := range v.Spans {
		x := &s.s[from+i]
		micros, ok := vec.Int128{Hi: x.micros.hi, Lo: x.micros.lo}.Int64()
		switch {
		case x.micros.n == 0:
			v.SetNull(i)
			continue
		case !ok || x.months != int64(int32(x.months)) || x.days != int64(int32(x.days)):
			e := s.f.tooLarge()
			e.Hint = ""
			return nil, e
		}
		v.Spans[i] = vec.Span{Months: int32(x.months), Days: int32(x.days), Micros: micros}
	}
	return v, nil
}

func (s *spanSums) Bytes() int64 { return 40 * int64(cap(s.s)) }
