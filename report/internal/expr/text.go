package expr

import (
	"encoding/hex"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// AppendText appends the text form of row i: the result of a cast to text. NULL appends nothing.
// Lists, structs and maps are JSON.
func AppendText(dst []byte, v *vec.Vec, i int) []byte {
	if v.Null(i) {
		return dst
	}
	at := i & maskOf(v)
	switch v.Type.Kind {
	case vec.Bool:
		return strconv.AppendBool(dst, v.Bools[at])
	case vec.Int:
		return strconv.AppendInt(dst, v.Ints[at], 10)
	case vec.Decimal:
		return vec.AppendDecimal(dst, v.Int128(i), v.Type.Scale)
	case vec.Float:
		return appendFloat(dst, v.Floats[at])
	case vec.Text, vec.JSON:
		return append(dst, v.String(i)...)
	case vec.Blob:
		return hex.AppendEncode(append(dst, `\x`...), []byte(v.String(i)))
	case vec.Date:
		return appendDate(dst, v.Ints[at])
	case vec.Time:
		return appendTime(dst, v.Ints[at])
	case vec.Timestamp:
		return appendStamp(dst, v.Ints[at], "")
	case vec.TimestampTZ:
		return appendStamp(dst, v.Ints[at], "+00")
	case vec.Interval:
		return appendSpan(dst, v.Spans[at])
	case vec.List, vec.Struct, vec.Map:
		return appendJSON(dst, v, i, " ")
	}
	return dst
}

// appendFloat appends the shortest digits that give the same float, as PostgreSQL does: an exponent
// below 1e-4 and from 1e15.
func appendFloat(dst []byte, x float64) []byte {
	switch {
	case math.IsNaN(x):
		return append(dst, "NaN"...)
	case math.IsInf(x, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(x, -1):
		return append(dst, "-Infinity"...)
	}
	if a := math.Abs(x); a != 0 && (a < 1e-4 || a >= 1e15) {
		return strconv.AppendFloat(dst, x, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, x, 'f', -1, 64)
}

// appendJSON appends row i as JSON, with space after commas and colons. Numbers and booleans stay,
// other scalars are texts.
func appendJSON(dst []byte, v *vec.Vec, i int, space string) []byte {
	if v.Null(i) || v.Type.Kind == vec.Null {
		return append(dst, "null"...)
	}
	at := i & maskOf(v)
	switch v.Type.Kind {
	case vec.Bool, vec.Int, vec.Decimal, vec.JSON:
		return AppendText(dst, v, i)
	case vec.Float:
		if x := v.Floats[at]; x-x == 0 {
			return appendFloat(dst, x)
		}
	case vec.Text:
		return appendJSONString(dst, v.String(i))
	case vec.List:
		dst = append(dst, '[')
		for e := v.Offsets[at]; e < v.Offsets[at+1]; e++ {
			if e > v.Offsets[at] {
				dst = append(append(dst, ','), space...)
			}
			dst = appendJSON(dst, v.Elem, int(e), space)
		}
		return append(dst, ']')
	case vec.Map:
		dst = append(dst, '{')
		key := v.Elem.Fields[0]
		for e := v.Offsets[at]; e < v.Offsets[at+1]; e++ {
			if e > v.Offsets[at] {
				dst = append(append(dst, ','), space...)
			}
			dst = appendJSONString(dst, string(AppendText(nil, key, int(e))))
			dst = appendJSON(append(append(dst, ':'), space...), v.Elem.Fields[1], int(e), space)
		}
		return append(dst, '}')
	case vec.Struct:
		dst = append(dst, '{')
		for f, field := range v.Fields {
			if f > 0 {
				dst = append(append(dst, ','), space...)
			}
			dst = appendJSONString(dst, v.Type.Fields[f].Name)
			dst = appendJSON(append(append(dst, ':'), space...), field, at, space)
		}
		return append(dst, '}')
	}
	return appendJSONString(dst, string(AppendText(nil, v, i)))
}

// appendJSONString appends a text in double quotes.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			const digits = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}
