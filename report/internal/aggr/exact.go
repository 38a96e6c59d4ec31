package aggr

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// Exact sums of floats. A float is an integer of 53 bits times a power of two, so a sum is a long
// integer whose bit 0 is worth 2^-1074. Hardly any sum needs all 2,098 bits: most numbers of a
// column have similar exponents. A floatSum therefore has a window of 192 bits, placed around the
// first number. The rare sum that leaves its window becomes a long, which grows as needed.
//
// Adding takes 3 to 5 ns, and the order of numbers never shows.

const (
	windowWords = 3
	// mantissa has all bits of a float but sign and exponent.
	mantissa = 1<<52 - 1
	// below is how many bits a window has at least below the first number of a sum; as many are
	// above, and 20 more for the sum to grow.
	below = 32
)

// Special values seen by a sum, as bits.
const (
	sawNaN = 1 << iota
	sawInf
	sawNegInf
)

// floatSum is the exact sum of n floats.
type floatSum struct {
	w       [windowWords]uint64 // the window, in two's complement, lowest word first
	n       int64
	base    int16 // w[0] is word number base of the long integer
	placed  bool  // the window has its place
	special uint8
	long    int32 // number of the long that replaces the window, plus one
}

// split returns a finite float as mantissa and position of its lowest bit. x is not 0.
func split(u uint64) (m uint64, pos int) {
	exp := int(u >> 52 & 0x7ff)
	m = u & mantissa
	if exp == 0 {
		return m, 0
	}
	return m | 1<<52, exp - 1
}

// floatSums adds floats exactly. The result is the sum, or the mean.
type floatSums struct {
	s     []floatSum
	longs []long
	mean  bool
	held  int64 // bytes of the words of longs
}

func (s *floatSums) Resize(groups int) { s.s = grow(s.s, groups) }

func (s *floatSums) Add(groups []uint32, args []*vec.Vec) error {
	v := expand(args[0])
	floats := v.Floats[:len(groups)]
	if v.Nulls == nil {
		for i, g := range groups {
			if x := &s.s[g]; !x.add(floats[i]) {
				s.addSlow(x, floats[i])
			}
		}
		return nil
	}
	nulls := v.Nulls[:len(groups)]
	for i, g := range groups {
		if nulls[i] {
			continue
		}
		if x := &s.s[g]; !x.add(floats[i]) {
			s.addSlow(x, floats[i])
		}
	}
	return nil
}

func (s *floatSums) AddAll(group uint32, args []*vec.Vec, n int) error {
	v := expand(args[0])
	x := &s.s[group]
	for i, f := range v.Floats[:n] {
		if v.Nulls != nil && v.Nulls[i] {
			continue
		}
		if !x.add(f) {
			s.addSlow(x, f)
		}
	}
	return nil
}

// add adds f if it lies in the window, else it reports false and changes nothing.
func (x *floatSum) add(f float64) bool {
	u := math.Float64bits(f)
	exp := int(u >> 52 & 0x7ff)
	at := exp - 1 - int(x.base)<<6
	if uint(at) >= 128 || exp-1 >= 0x7fe || !x.placed || x.long != 0 {
		return false
	}
	m := u&mantissa | 1<<52
	shift := uint(at & 63)
	lo, hi := m<<shift, m>>(64-shift)
	if shift == 0 {
		hi = 0
	}
	sign := uint64(int64(u) >> 63)
	lo, hi = lo^sign, hi^sign
	top := x.w[2]
	var t2, carry uint64
	if at < 64 {
		t0, c := bits.Add64(x.w[0], lo, sign&1)
		t1, c := bits.Add64(x.w[1], hi, c)
		t2, _ = bits.Add64(top, sign, c)
		if int64((t2^top)&(t2^sign)) < 0 {
			return false
		}
		x.w[0], x.w[1] = t0, t1
	} else {
		var t1 uint64
		t1, carry = bits.Add64(x.w[1], lo, sign&1)
		t2, _ = bits.Add64(top, hi, carry)
		if int64((t2^top)&(t2^hi)) < 0 {
			return false
		}
		x.w[1] = t1
	}
	x.w[2] = t2
	x.n++
	return true
}

// addSlow adds a number that the window does not take.
func (s *floatSums) addSlow(x *floatSum, f float64) {
	u := math.Float64bits(f)
	if u>>52&0x7ff == 0x7ff {
		x.n++
		x.special |= specialOf(f)
		return
	}
	m, pos := split(u)
	if m == 0 {
		x.n++
		return
	}
	if !x.placed && x.long == 0 {
		x.placed, x.base = true, int16(max(0, pos-below)>>6)
		if x.add(f) {
			return
		}
	}
	x.n++
	l := s.lengthen(x)
	s.held -= l.bytes()
	l.add([]uint64{m}, pos, f < 0)
	s.held += l.bytes()
}

func specialOf(f float64) uint8 {
	switch {
	case f > 0:
		return sawInf
	case f < 0:
		return sawNegInf
	}
	return sawNaN
}

// lengthen returns the long of x, and makes it of the window if there is none.
func (s *floatSums) lengthen(x *floatSum) *long {
	if x.long == 0 {
		l := long{base: int(x.base)}
		if x.placed {
			l.w = append(l.w, x.w[:]...)
		}
		s.longs = append(s.longs, l)
		s.held += l.bytes()
		x.long = int32(len(s.longs))
	}
	return &s.longs[x.long-1]
}

// words returns the sum as a long integer.
func (s *floatSums) words(x *floatSum) (w []uint64, base int) {
	if x.long != 0 {
		l := &s.longs[x.long-1]
		return trim(l.w, l.base)
	}
	return trim(x.w[:], int(x.base))
}

// A state is the number of floats and unless that is 0: the special values, the number of words of
// the sum, its base, and the words.
func (s *floatSums) AppendState(dst []byte, group int) []byte {
	x := &s.s[group]
	dst = binary.AppendUvarint(dst, uint64(x.n))
	if x.n == 0 {
		return dst
	}
	w, base := s.words(x)
	return appendWords(append(dst, x.special), w, base)
}

func (s *floatSums) MergeState(group int, src []byte) ([]byte, error) {
	d := decoderOf(src)
	n := d.rows()
	if n == 0 {
		return d.end()
	}
	special := d.Byte()
	var buf [8]uint64
	w, base := d.words(buf[:0])
	rest, err := d.end()
	if err != nil {
		return nil, err
	}
	x := &s.s[group]
	x.n += n
	x.special |= special
	if len(w) == 0 {
		return rest, nil
	}
	if !x.placed && x.long == 0 && len(w) <= windowWords {
		x.placed = true
		// leave room on both sides if there is any
		x.base = int16(max(0, base-(windowWords-len(w))/2))
		place(x.w[:], w, base-int(x.base))
		return rest, nil
	}
	if at := base - int(x.base); x.long == 0 && at >= 0 && at+len(w) <= windowWords {
		t := x.w
		if addWords(t[at:], w) {
			x.w = t
			return rest, nil
		}
	}
	l := s.lengthen(x)
	s.held -= l.bytes()
	l.addLong(w, base)
	s.held += l.bytes()
	return rest, nil
}

func (s *floatSums) Result(from, to int) (*vec.Vec, error) {
	v := vec.New(vec.Of(vec.Float), to-from)
	for i := range v.Floats {
		if x := &s.s[from+i]; x.n == 0 {
			v.SetNull(i)
		} else {
			v.Floats[i] = s.value(x)
		}
	}
	return v, nil
}

// value returns the result of a group that is not empty.
func (s *floatSums) value(x *floatSum) float64 {
	w, base := s.words(x)
	f := round(w, base, x.special)
	switch {
	case !s.mean:
		return f
	case math.IsInf(f, 0) && x.special == 0:
		// the sum is too large, but the mean is not
		f, _ = new(big.Rat).SetFrac(bigWords(w, base), new(big.Int).Lsh(big.NewInt(x.n), floatBias)).Float64()
		return f
	}
	return f / float64(x.n)
}

func (s *floatSums) Bytes() int64 {
	return 40*int64(cap(s.s)) + 32*int64(cap(s.longs)) + s.held
}

// floatBias is the position of the bit that is worth 1 in a sum of floats.
const floatBias = 1074

// long is an integer of any length in two's complement, lowest word first. w[0] is its word number
// base. The words below are 0, and those above have the sign.
type long struct {
	base int
	w    []uint64
}

func (l *long) bytes() int64 { return 8 * int64(cap(l.w)) }

// add adds the number m, at most four words and not negative, shifted left by pos bits; or
// subtracts it.
func (l *long) add(m []uint64, pos int, negative bool) {
	var buf [6]uint64
	shift := uint(pos & 63)
	for i, x := range m {
		buf[i] |= x << shift
		if shift > 0 {
			buf[i+1] |= x >> (64 - shift)
		}
	}
	w := buf[:len(m)+2]
	if negative {
		negate(w)
	}
	l.addLong(trim(w, pos>>6))
}

// addLong adds a long integer.
func (l *long) addLong(w []uint64, base int) {
	if len(w) == 0 {
		return
	}
	if len(l.w) == 0 {
		l.base, l.w = base, append(l.w, w...)
		return
	}
	if base < l.base {
		wider := make([]uint64, l.base-base+len(l.w), l.base-base+len(l.w)+1)
		copy(wider[l.base-base:], l.w)
		l.base, l.w = base, wider
	}
	sign := signOf(l.w)
	for len(l.w) < base-l.base+len(w) {
		l.w = append(l.w, sign)
	}
	if !addWords(l.w[base-l.base:], w) {
		// the top word overflowed: its sign is wrong
		l.w = append(l.w, ^signOf(l.w))
	}
}

func signOf(w []uint64) uint64 {
	if len(w) == 0 {
		return 0
	}
	return uint64(int64(w[len(w)-1]) >> 63)
}

// addWords adds w to the lowest words of a, which is at least as long, and reports whether the sum
// fits.
func addWords(a, w []uint64) bool {
	sign, before := signOf(w), signOf(a)
	var c uint64
	for i := range a {
		x := sign
		if i < len(w) {
			x = w[i]
		}
		a[i], c = bits.Add64(a[i], x, c)
	}
	return before != sign || signOf(a) == sign
}

// negate replaces w by -w.
func negate(w []uint64) {
	c := uint64(1)
	for i := range w {
		w[i], c = bits.Add64(^w[i], 0, c)
	}
}

// place copies w into a, which is 0, at word number at, and extends its sign.
func place(a, w []uint64, at int) {
	n := at + copy(a[at:], w)
	for sign := signOf(w); n < len(a); n++ {
		a[n] = sign
	}
}

// trim cuts words that say nothing. So every number has one form.
func trim(w []uint64, base int) ([]uint64, int) {
	for len(w) > 0 && w[0] == 0 {
		w, base = w[1:], base+1
	}
	for len(w) > 1 && w[len(w)-1] == signOf(w[:len(w)-1]) {
		w = w[:len(w)-1]
	}
	return w, base
}

func appendWords(dst []byte, w []uint64, base int) []byte {
	dst = append(dst, byte(len(w)))
	if len(w) == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(base))
	for _, x := range w {
		dst = binary.LittleEndian.AppendUint64(dst, x)
	}
	return dst
}

// maxBase is the highest word number of any sum: the fourth powers of floats have 8,392 bits.
const maxBase = 140

// words reads what appendWords wrote.
func (d *decoder) words(w []uint64) ([]uint64, int) {
	n := int(d.Byte())
	if n == 0 || d.Failed() {
		return nil, 0
	}
	base := d.Uint()
	if base > maxBase || int(base)+n > maxBase+8 || len(d.Rest()) < 8*n {
		d.Fail()
		return nil, 0
	}
	for range n {
		w = append(w, d.Word())
	}
	return trim(w, int(base))
}

// round returns the sum of floats w, with the special values seen, as the nearest float; ties go to
// even.
func round(w []uint64, base int, special uint8) float64 {
	switch special {
	case 0:
	case sawInf:
		return math.Inf(1)
	case sawNegInf:
		return math.Inf(-1)
	default:
		return math.NaN()
	}
	if len(w) == 0 {
		return 0
	}
	negative := signOf(w) != 0
	if negative {
		var buf [8]uint64
		w = append(buf[:0], w...)
		negate(w)
	}
	for len(w) > 0 && w[len(w)-1] == 0 {
		w = w[:len(w)-1]
	}
	last := len(w) - 1
	zeros := bits.LeadingZeros64(w[last])
	top := (base+last)<<6 + 63 - zeros // position of the highest bit
	var u uint64
	if top <= 52 {
		u = w[0] // a subnormal number, or one of the smallest normal ones: base is 0
	} else {
		m, sticky := w[last]<<zeros, false
		if last > 0 {
			if zeros > 0 {
				m |= w[last-1] >> (64 - zeros)
			}
			sticky = w[last-1]<<zeros != 0
			for i := 0; i < last-1 && !sticky; i++ {
				sticky = w[i] != 0
			}
		}
		u = uint64(top-52)<<52 + m>>11
		if rest := m & 0x7ff; rest > 0x400 || rest == 0x400 && (sticky || u&1 == 1) {
			u++
		}
		u = min(u, 0x7ff<<52)
	}
	if negative {
		u |= 1 << 63
	}
	return math.Float64frombits(u)
}

// bigWords returns w, shifted by base words, as a big.Int.
func bigWords(w []uint64, base int) *big.Int {
	b := new(big.Int)
	if len(w) == 0 {
		return b
	}
	b.SetInt64(int64(w[len(w)-1]))
	for i := len(w) - 2; i >= 0; i-- {
		b.Lsh(b, 64)
		b.Or(b, new(big.Int).SetUint64(w[i]))
	}
	return b.Lsh(b, uint(64*base))
}
