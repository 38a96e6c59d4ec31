package jsoncodec

import (
	"errors"
	"math"
	"math/bits"
	"strconv"
	"unsafe"
)

// nondigits marks the bytes of x = word ^ "00000000" that are not digits. The lowest mark is exact.
// The next mark is exact too when the lowest one is a decimal point.
func nondigits(x uint64) uint64 { return (x + 0x76*low | x) & high }

// digits returns the number in the first n bytes of x, 0 < n <= 8. Each byte is the value of one
// digit.
func digits(x uint64, n int) uint64 {
	x <<= (64 - 8*n) & 63
	x = x * (10<<8 + 1) >> 8 & 0x00ff00ff00ff00ff
	x = x * (100<<16 + 1) >> 16 & 0x0000ffff0000ffff
	return x * (10000<<32 + 1) >> 32
}

// readShort reads an integer at i with at most 7 digits and a comma, brace or bracket after it,
// like nearly all integers. It returns the number and its end, or -1 when the number needs a closer
// look.
func readShort(p unsafe.Pointer, i int) (uint64, int) {
	x := load(p, i) ^ low*'0'
	n := bits.TrailingZeros64(nondigits(x)) >> 3
	if c := at(p, i+n); n == 0 || n == 8 || x&0xff == 0 && n > 1 || c != ',' && c|0x20 != '}' {
		return 0, -1
	}
	return digits(x, n), i + n
}

// readShortDecimal is readShort for numbers with at most 6 digits and a point. places is the number
// of digits after the point.
func readShortDecimal(p unsafe.Pointer, i int) (v uint64, places, end int) {
	x := load(p, i) ^ low*'0'
	m := nondigits(x)
	n := bits.TrailingZeros64(m) >> 3
	if x&0xff == 0 && n > 1 || n == 0 || n == 8 {
		return 0, 0, -1
	}
	if at(p, i+n) == '.' {
		all := bits.TrailingZeros64(m&(m-1)) >> 3
		if places = all - n - 1; places == 0 || all == 8 {
			return 0, 0, -1
		}
		front := uint64(1)<<(8*n) - 1
		x = x&front | x>>8&^front
		n = all - 1
		i++
	}
	if c := at(p, i+n); c != ',' && c|0x20 != '}' {
		return 0, 0, -1
	}
	return digits(x, n), places, i + n
}

var pow10 = [...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19}

// skipNumber returns the end of the number at i, or -1 when there is none. It follows the grammar
// of JSON strictly.
func (d *Decoder) skipNumber(i int) int {
	p := d.base
	if at(p, i) == '-' {
		i++
	}
	switch c := at(p, i); {
	case c == '0':
		i++
	case c-'0' <= 9:
		i = digitsEnd(p, i)
	default:
		return -1
	}
	if at(p, i) == '.' {
		start := i + 1
		if i = digitsEnd(p, start); i == start {
			return -1
		}
	}
	if at(p, i)|0x20 == 'e' {
		if i++; at(p, i) == '+' || at(p, i) == '-' {
			i++
		}
		start := i
		if i = digitsEnd(p, start); i == start {
			return -1
		}
	}
	return i
}

func digitsEnd(p unsafe.Pointer, i int) int {
	for at(p, i)-'0' <= 9 {
		i++
	}
	return i
}

// readInt reads an integer, scaled by 10^scale. It returns the integer and its end, or -1.
func (d *Decoder) readInt(v *value, i int) (int64, int) {
	neg, start := at(d.base, i) == '-', i
	if neg {
		i++
	}
	var u uint64
	var places, end int
	if v.scale == 0 {
		u, end = readShort(d.base, i)
	} else if u, places, end = readShortDecimal(d.base, i); places > int(v.scale) || v.scale > 12 {
		end = -1
	} else {
		u *= pow10[int(v.scale)-places]
	}
	if end < 0 {
		if u, end = d.readLong(v, start); end < 0 {
			return 0, -1
		}
	}
	// Two's complement has one more negative number.
	if most := uint64(1) << (v.bits - 1); u >= most && !(neg && u == most) {
		return 0, d.fail(start, v.expected())
	}
	if neg {
		return -int64(u), end
	}
	return int64(u), end
}

// readUint is readInt for unsigned integers.
func (d *Decoder) readUint(v *value, i int) (uint64, int) {
	u, end := d.readLong(v, i)
	if end >= 0 && (u > math.MaxUint64>>(64-v.bits) || at(d.base, i) == '-') {
		return 0, d.fail(i, v.expected())
	}
	return u, end
}

// readLong reads any number at i as an unsigned integer, scaled by 10^scale. It returns the integer
// and its end, or -1.
func (d *Decoder) readLong(v *value, i int) (u uint64, end int) {
	if end = d.skipNumber(i); end < 0 {
		return 0, d.fail(i, v.expected())
	}
	s := d.slice(i, end)
	if s[0] == '-' {
		s = s[1:]
	}
	if v.scale == 0 {
		u, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return 0, d.fail(i, v.expected())
		}
		return u, end
	}
	u, ok := decimal(s, int(v.scale))
	if !ok {
		return 0, d.fail(i, v.expected())
	}
	return u, end
}

// decimal returns the unsigned number s times 10^scale. ok is false when the result is not an
// integer or does not fit.
func decimal(s string, scale int) (u uint64, ok bool) {
	point, exp := -1, 0
	for i := range len(s) {
		if s[i] == '.' {
			point = i
		} else if s[i]|0x20 == 'e' {
			exp, _ = strconv.Atoi(s[i+1:]) // Atoi returns the nearest limit when out of range
			s = s[:i]
			break
		}
	}
	if point >= 0 {
		scale -= len(s) - point - 1
		s = s[:point] + s[point+1:]
	}
	for s != "" && s[0] == '0' {
		s = s[1:]
	}
	if s == "" {
		return 0, true
	}
	if exp < -1<<20 || exp > 1<<20 { // the sum with scale could overflow
		return 0, false
	}
	for scale += exp; scale < 0; scale++ {
		if s[len(s)-1] != '0' {
			return 0, false
		}
		s = s[:len(s)-1]
	}
	u, err := strconv.ParseUint(s, 10, 64)
	if err != nil || scale >= len(pow10) {
		return 0, false
	}
	carry, u := bits.Mul64(u, pow10[scale])
	return u, carry == 0
}

// readFloat reads a number of size bits for v. It returns the number and its end, or -1.
func (d *Decoder) readFloat(v *value, i, size int) (float64, int) {
	neg := at(d.base, i) == '-'
	start := i
	if neg {
		start++
	}
	// A mantissa below 2^53 and a power of ten up to 10^22 are exact, so their quotient is rounded
	// only once. For 32 bits the limits are 2^24 and 10^10.
	if u, places, end := readShortDecimal(d.base, start); end >= 0 {
		f := float64(u) / float64(pow10[places])
		if size == 32 {
			f = float64(float32(u) / float32(pow10[places]))
		}
		if neg {
			f = -f
		}
		return f, end
	}
	end := d.skipNumber(i)
	if end < 0 {
		return 0, d.fail(i, v.expected())
	}
	f, err := strconv.ParseFloat(d.slice(i, end), size)
	if errors.Is(err, strconv.ErrRange) {
		return 0, d.fail(i, "a number that fits float"+strconv.Itoa(size))
	}
	return f, end
}
