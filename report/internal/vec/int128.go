package vec

import (
	"cmp"
	"math"
	"math/big"
	"math/bits"
)

// Int128 is a signed 128-bit integer in two's complement.
type Int128 struct {
	Hi int64
	Lo uint64
}

// Int128Of returns v as an Int128.
func Int128Of(v int64) Int128 { return Int128{v >> 63, uint64(v)} }

// Int64 returns x as an int64; ok reports whether it fits.
func (x Int128) Int64() (v int64, ok bool) {
	v = int64(x.Lo)
	return v, x.Hi == v>>63
}

// Cmp returns -1, 0 or 1.
func (x Int128) Cmp(y Int128) int {
	if c := cmp.Compare(x.Hi, y.Hi); c != 0 {
		return c
	}
	return cmp.Compare(x.Lo, y.Lo)
}

// Sign returns -1, 0 or 1.
func (x Int128) Sign() int {
	switch {
	case x.Hi < 0:
		return -1
	case x.Hi == 0 && x.Lo == 0:
		return 0
	}
	return 1
}

// Add returns x + y; ok is false if the sum needs more than 128 bits.
func (x Int128) Add(y Int128) (sum Int128, ok bool) {
	lo, carry := bits.Add64(x.Lo, y.Lo, 0)
	hi, _ := bits.Add64(uint64(x.Hi), uint64(y.Hi), carry)
	sum = Int128{int64(hi), lo}
	return sum, (x.Hi^y.Hi) < 0 || (x.Hi^sum.Hi) >= 0
}

// Neg returns -x. The smallest value is its own negation.
func (x Int128) Neg() Int128 {
	lo, carry := bits.Add64(^x.Lo, 1, 0)
	return Int128{int64(^uint64(x.Hi) + carry), lo}
}

// Sub returns x - y; ok is false if the difference needs more than 128 bits.
func (x Int128) Sub(y Int128) (diff Int128, ok bool) {
	lo, borrow := bits.Sub64(x.Lo, y.Lo, 0)
	hi, _ := bits.Sub64(uint64(x.Hi), uint64(y.Hi), borrow)
	diff = Int128{int64(hi), lo}
	return diff, (x.Hi^y.Hi) >= 0 || (x.Hi^diff.Hi) >= 0
}

// abs returns the absolute value as an unsigned number.
func (x Int128) abs() (hi, lo uint64) {
	if x.Hi < 0 {
		x = x.Neg()
	}
	return uint64(x.Hi), x.Lo
}

// signed returns the number hi, lo with a sign; ok is false if it does not fit.
func signed(hi, lo uint64, negative bool) (Int128, bool) {
	x := Int128{int64(hi), lo}
	if negative {
		return x.Neg(), hi < 1<<63 || hi == 1<<63 && lo == 0
	}
	return x, hi < 1<<63
}

// Mul64 returns the product of two 64-bit integers, which always fits.
func Mul64(x, y int64) Int128 {
	hi, lo := bits.Mul64(uint64(x), uint64(y))
	return Int128{int64(hi) - (x>>63)&y - (y>>63)&x, lo}
}

// Mul returns x * y; ok is false if the product needs more than 128 bits.
func (x Int128) Mul(y Int128) (product Int128, ok bool) {
	xh, xl := x.abs()
	yh, yl := y.abs()
	negative := (x.Hi < 0) != (y.Hi < 0)
	if xh != 0 && yh != 0 {
		return Int128{}, false
	}
	hi, lo := bits.Mul64(xl, yl)
	o1, c1 := bits.Mul64(xh, yl)
	o2, c2 := bits.Mul64(xl, yh)
	if o1 != 0 || o2 != 0 {
		return Int128{}, false
	}
	var carry1, carry2 uint64
	hi, carry1 = bits.Add64(hi, c1, 0)
	hi, carry2 = bits.Add64(hi, c2, 0)
	if carry1|carry2 != 0 {
		return Int128{}, false
	}
	return signed(hi, lo, negative)
}

// QuoRem returns the quotient, truncated toward zero, and the remainder, which has the sign of x.
// y must not be 0.
func (x Int128) QuoRem(y Int128) (q, r Int128) {
	if x.Hi == int64(x.Lo)>>63 && y.Hi == int64(y.Lo)>>63 && (int64(x.Lo) != math.MinInt64 || int64(y.Lo) != -1) {
		return Int128Of(int64(x.Lo) / int64(y.Lo)), Int128Of(int64(x.Lo) % int64(y.Lo))
	}
	xh, xl := x.abs()
	yh, yl := y.abs()
	var qh, ql, rh, rl uint64
	if yh == 0 {
		qh = xh / yl
		ql, rl = bits.Div64(xh%yl, xl, yl)
	} else {
		for i := 127; i >= 0; i-- {
			rh, rl = rh<<1|rl>>63, rl<<1
			if i >= 64 {
				rl |= xh >> (i - 64) & 1
			} else {
				rl |= xl >> i & 1
			}
			if rh > yh || rh == yh && rl >= yl {
				var borrow uint64
				rl, borrow = bits.Sub64(rl, yl, 0)
				rh, _ = bits.Sub64(rh, yh, borrow)
				if i >= 64 {
					qh |= 1 << (i - 64)
				} else {
					ql |= 1 << i
				}
			}
		}
	}
	q, _ = signed(qh, ql, (x.Hi < 0) != (y.Hi < 0))
	r, _ = signed(rh, rl, x.Hi < 0)
	return q, r
}

// RoundQuo returns x / y rounded to the nearest integer, and halves away from zero. y must be
// positive and below 2^126.
func (x Int128) RoundQuo(y Int128) Int128 {
	q, r := x.QuoRem(y)
	if r.Hi < 0 {
		r = r.Neg()
	}
	if rest, _ := y.Sub(r); r.Cmp(rest) >= 0 {
		if x.Hi < 0 {
			q, _ = q.Sub(Int128{0, 1})
		} else {
			q, _ = q.Add(Int128{0, 1})
		}
	}
	return q
}

// Float returns the nearest float64.
func (x Int128) Float() float64 {
	if v, ok := x.Int64(); ok {
		return float64(v)
	}
	f, _ := new(big.Float).SetInt(x.Big()).Float64()
	return f
}

// Big returns x as a big.Int.
func (x Int128) Big() *big.Int {
	b := big.NewInt(x.Hi)
	b.Lsh(b, 64)
	return b.Add(b, new(big.Int).SetUint64(x.Lo))
}

// Int128OfBig returns b; ok is false if it does not fit.
func Int128OfBig(b *big.Int) (x Int128, ok bool) {
	if b.BitLen() > 127 {
		return x, b.Sign() < 0 && b.BitLen() == 128 && b.TrailingZeroBits() == 127
	}
	lo := new(big.Int).And(b, new(big.Int).SetUint64(math.MaxUint64))
	hi := new(big.Int).Rsh(b, 64)
	return Int128{hi.Int64(), lo.Uint64()}, true
}

// Pow10 returns ten to the power of n, for n from 0 to 38.
func Pow10(n int) Int128 { return powers[n] }

// powers are the powers of ten that fit.
var powers = func() (p [MaxPrecision + 1]Int128) {
	p[0] = Int128{0, 1}
	for i := 1; i < len(p); i++ {
		p[i], _ = p[i-1].Mul(Int128{0, 10})
	}
	return p
}()

// AppendDecimal appends the decimal number x / 10^scale.
func AppendDecimal(dst []byte, x Int128, scale int) []byte {
	if x.Hi < 0 {
		dst = append(dst, '-')
	}
	hi, lo := x.abs()
	var digits [40]byte
	i := len(digits)
	for n := 0; hi|lo != 0 || n <= scale; n++ {
		if n == scale && scale > 0 {
			i--
			digits[i] = '.'
		}
		var rem uint64
		qh := hi / 10
		lo, rem = bits.Div64(hi%10, lo, 10)
		hi = qh
		i--
		digits[i] = byte('0' + rem)
	}
	return append(dst, digits[i:]...)
}

// ParseDecimal reads a decimal number, such as -12.50 or 1e3, as an integer times 10^-scale. digits
// after the scale are rounded, halves away from zero; exact reports that none was lost. ok is false
// if text is no number or does not fit into precision digits.
func ParseDecimal(text string, precision, scale int) (x Int128, exact, ok bool) {
	s, negative := text, false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		negative, s = s[0] == '-', s[1:]
	}
	exponent := 0
	for i := range len(s) {
		if s[i] == 'e' || s[i] == 'E' {
			e, sign, t := 0, 1, s[i+1:]
			if t != "" && (t[0] == '-' || t[0] == '+') {
				if t[0] == '-' {
					sign = -1
				}
				t = t[1:]
			}
			if t == "" || len(t) > 6 {
				return x, false, false
			}
			for j := range len(t) {
				if t[j] < '0' || t[j] > '9' {
					return x, false, false
				}
				e = e*10 + int(t[j]-'0')
			}
			exponent, s = sign*e, s[:i]
			break
		}
	}
	// places counts the digits that may still follow before rounding, once the point is met
	exact, after, seen, round := true, false, false, -1
	used, ten := 0, Int128{0, 10}
	add := func(d byte) bool {
		var fits bool
		if x, fits = x.Mul(ten); !fits {
			return false
		}
		x, fits = x.Add(Int128{0, uint64(d)})
		return fits
	}
	point := len(s)
	for i := range len(s) {
		if s[i] == '.' {
			point = i
			break
		}
	}
	limit := point + exponent + scale // digits before this count, the point not counted
	for i := range len(s) {
		if s[i] == '.' {
			if after {
				return x, false, false
			}
			after = true
			continue
		}
		d := s[i] - '0'
		if d > 9 {
			return x, false, false
		}
		seen = true
		switch {
		case used < limit:
			if !add(d) {
				return x, false, false
			}
		default:
			if used == limit {
				round = int(d)
			}
			exact = exact && d == 0
		}
		used++
	}
	if !seen {
		return x, false, false
	}
	for ; used < limit; used++ {
		if x.Sign() == 0 {
			break
		}
		if !add(0) {
			return x, false, false
		}
	}
	if round >= 5 {
		x, _ = x.Add(Int128{0, 1})
	}
	if x.Cmp(powers[precision]) >= 0 || x.Hi < 0 {
		return x, false, false
	}
	if negative {
		x = x.Neg()
	}
	return x, exact, true
}
