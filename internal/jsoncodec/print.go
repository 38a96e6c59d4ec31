package jsoncodec

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// appendString appends s in quotes, with the escapes of encoding/json except its HTML escapes.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for {
		n := plainPrefix(s)
		dst = append(dst, s[:n]...)
		if s = s[n:]; s == "" {
			return append(dst, '"')
		}
		const hex = "0123456789abcdef"
		n = 1
		switch c := s[0]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, `\b`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			if c < ' ' {
				dst = append(dst, `\u00`...)
				dst = append(dst, hex[c>>4], hex[c&15])
				break
			}
			var r rune
			switch r, n = utf8.DecodeRuneInString(s); {
			case r == utf8.RuneError && n == 1:
				dst = append(dst, `\ufffd`...)
			case r == '\u2028' || r == '\u2029': // line ends in JavaScript
				dst = append(dst, `\u202`...)
				dst = append(dst, hex[r&15])
			default:
				dst = append(dst, s[:n]...)
			}
		}
		s = s[n:]
	}
}

// plainPrefix returns the length of the longest prefix of s that is ASCII and needs no escapes.
func plainPrefix(s string) int {
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	i := 0
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		if m := markSpecial(w) | w&high; m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
	}
	for i < len(b) && b[i] >= ' ' && b[i] < utf8.RuneSelf && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// appendDecimal appends u / 10^scale with scale digits after the point.
func appendDecimal(dst []byte, u uint64, scale uint8) []byte {
	unit := pow10[scale]
	dst = strconv.AppendUint(dst, u/unit, 10)
	if scale == 0 {
		return dst
	}
	start := len(dst)
	dst = strconv.AppendUint(dst, unit+u%unit, 10) // the first digit of unit makes room for the point
	dst[start] = '.'
	return dst
}

// appendFloat appends f in the format of encoding/json, which is the format of JavaScript.
func appendFloat(dst []byte, f float64, size int) ([]byte, error) {
	abs := math.Abs(f)
	if !(abs <= math.MaxFloat64) {
		return dst, errors.New(strconv.FormatFloat(f, 'g', -1, size) + " has no form in JSON")
	}
	form := byte('f')
	if size == 64 && (abs < 1e-6 || abs >= 1e21) || size == 32 && (float32(abs) < 1e-6 || float32(abs) >= 1e21) {
		form = 'e'
	}
	if abs == 0 {
		form = 'f'
	}
	dst = strconv.AppendFloat(dst, f, form, -1, size)
	if n := len(dst); form == 'e' && n >= 4 && string(dst[n-4:n-1]) == "e-0" {
		dst = append(dst[:n-2], dst[n-1]) // e-09 becomes e-9
	}
	return dst, nil
}

// isNumber reports whether s is a number in the grammar of JSON.
func isNumber(s string) bool {
	b := make([]byte, len(s)+1+Padding)
	copy(b, s)
	d := Decoder{base: unsafe.Pointer(unsafe.SliceData(b)), end: len(s)}
	return d.skipNumber(0) == len(s)
}
