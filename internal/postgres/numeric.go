package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Numeric is a decimal number as PostgreSQL sends it: digits of base 10,000, most significant
// first, the first one with the given weight.
//
//	12345.67    weight 1, digits 1 2345 6700, scale 2
type Numeric struct {
	digits   []byte // two bytes each
	weight   int
	negative bool
	special  string // NaN, Infinity or -Infinity
	scale    int    // digits behind the point to show
}

// Errors of values.
var (
	ErrSize     = errors.New("the server sent a value of an unexpected size")
	ErrRange    = errors.New("the number is out of the range of the field; make the field a string or a *big.Rat")
	ErrDecimals = errors.New("the number has more decimals than the field; make the field a string, or raise its decimal tag")
)

// ParseNumeric reads the binary form. It keeps b.
func ParseNumeric(b []byte) (Numeric, error) {
	if len(b) < 8 {
		return Numeric{}, ErrSize
	}
	n := Numeric{weight: int(int16(binary.BigEndian.Uint16(b[2:]))), scale: int(binary.BigEndian.Uint16(b[6:]) & 0x3fff), digits: b[8:]}
	switch sign := binary.BigEndian.Uint16(b[4:]); sign {
	case 0:
	case 0x4000:
		n.negative = true
	case 0xc000:
		n.special = "NaN"
	case 0xd000:
		n.special = "Infinity"
	case 0xf000:
		n.special = "-Infinity"
	default:
		return n, fmt.Errorf("the server sent a numeric with sign %#x", sign)
	}
	if len(n.digits) != 2*int(binary.BigEndian.Uint16(b)) {
		return n, ErrSize
	}
	return n, nil
}

func (n *Numeric) digit(i int) int64 {
	if i < 0 || 2*i >= len(n.digits) {
		return 0
	}
	return int64(binary.BigEndian.Uint16(n.digits[2*i:]))
}

// Scaled returns the number times ten to the power of decimals, exactly.
func (n *Numeric) Scaled(decimals int) (int64, error) {
	if decimals == 2 && n.special == "" && n.weight <= 1 { // money below 100,000,000
		var d [3]int64 // of ten thousands, ones, and parts
		if at := 1 - n.weight; n.weight >= -1 && at+len(n.digits)/2 <= 3 {
			for i := range len(n.digits) / 2 {
				d[at+i] = n.digit(i)
			}
			if d[2]%100 == 0 {
				v := (d[0]*10000+d[1])*100 + d[2]/100
				if n.negative {
					v = -v
				}
				return v, nil
			}
		}
	}
	if n.special != "" {
		return 0, fmt.Errorf("%s is no whole number; make the field a string or a float64", n.special)
	}
	var v int64
	rest := decimals
	add := func(factor, digit int64) bool {
		if v < (math.MinInt64+digit)/factor {
			return false
		}
		v = v*factor - digit // negative numbers have the larger range
		return true
	}
	for i := range max(n.weight+1, 0) {
		if v == 0 && i >= len(n.digits)/2 {
			break
		}
		if !add(10000, n.digit(i)) {
			return 0, ErrRange
		}
	}
	for i := n.weight + 1; i < len(n.digits)/2 || rest > 0; i++ {
		d := n.digit(i)
		for _, unit := range [4]int64{1000, 100, 10, 1} {
			one := d / unit % 10
			switch {
			case rest > 0:
				if !add(10, one) {
					return 0, ErrRange
				}
				rest--
			case one != 0:
				return 0, ErrDecimals
			}
		}
	}
	if n.negative {
		return v, nil
	}
	if v == math.MinInt64 {
		return 0, ErrRange
	}
	return -v, nil
}

// Float returns the nearest float64.
func (n *Numeric) Float() (float64, error) {
	switch n.special {
	case "NaN":
		return math.NaN(), nil
	case "Infinity":
		return math.Inf(1), nil
	case "-Infinity":
		return math.Inf(-1), nil
	}
	// Up to 15 digits and a power of ten up to 22 are exact, so one division rounds correctly.
	if groups := len(n.digits) / 2; groups <= 4 {
		var m int64
		for i := range groups {
			m = m*10000 + n.digit(i)
		}
		down := 4 * (groups - 1 - n.weight)
		for m != 0 && down > 0 && m%10 == 0 {
			m, down = m/10, down-1
		}
		if m < 1<<53 && down >= 0 && down <= 22 {
			f := float64(m) / powers[down]
			if n.negative {
				f = -f
			}
			return f, nil
		}
	}
	var buf [64]byte
	f, err := strconv.ParseFloat(string(n.AppendText(buf[:0])), 64)
	if err != nil {
		return 0, ErrRange
	}
	return f, nil
}

var powers = [23]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// AppendText appends the number as PostgreSQL writes it.
func (n *Numeric) AppendText(dst []byte) []byte {
	if n.special != "" {
		return append(dst, n.special...)
	}
	if n.negative {
		dst = append(dst, '-')
	}
	if n.weight < 0 {
		dst = append(dst, '0')
	}
	for i := range max(n.weight+1, 0) {
		d := n.digit(i)
		if i == 0 {
			dst = strconv.AppendInt(dst, d, 10)
			continue
		}
		dst = append(dst, byte('0'+d/1000), byte('0'+d/100%10), byte('0'+d/10%10), byte('0'+d%10))
	}
	if n.scale > 0 {
		dst = append(dst, '.')
		end := len(dst) + n.scale
		for i := n.weight + 1; len(dst) < end; i++ {
			d := n.digit(i)
			dst = append(dst, byte('0'+d/1000), byte('0'+d/100%10), byte('0'+d/10%10), byte('0'+d%10))
		}
		dst = dst[:end]
	}
	return dst
}
