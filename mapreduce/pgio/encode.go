package pgio

import (
	"encoding"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"time"
	"unsafe"

	"github.com/layshaft/layshaft/internal/call"
	"github.com/layshaft/layshaft/internal/intfield"
	"github.com/layshaft/layshaft/internal/postgres"
)

// An encoder appends the text of a field, as PostgreSQL reads it. null means NULL.
type encoder func(dst []byte, field unsafe.Pointer) (text []byte, null bool, err error)

// encoder returns the encoder for a column of type pg, or nil if the field does not fit.
func (c *column) encoder(pg *postgres.Type) encoder {
	e := c.encoderOf(c.typ, pg)
	if e == nil || !c.omitempty {
		return e
	}
	isZero := func(field unsafe.Pointer) bool { return reflect.NewAt(c.typ, field).Elem().IsZero() }
	return func(dst []byte, field unsafe.Pointer) ([]byte, bool, error) {
		if isZero(field) {
			return dst, true, nil
		}
		return e(dst, field)
	}
}

func (c *column) encoderOf(t reflect.Type, pg *postgres.Type) encoder {
	switch {
	case c.json || (pg.OID == postgres.OIDJSON || pg.OID == postgres.OIDJSONB) && isJSON(t):
		return jsonEncoder(t)
	case t == reflect.TypeFor[*big.Rat]():
		return encodeRat
	case t.Kind() == reflect.Pointer:
		if t.Elem().Kind() == reflect.Pointer {
			return nil
		}
		inner := c.encoderOf(t.Elem(), pg)
		if inner == nil {
			return nil
		}
		return func(dst []byte, field unsafe.Pointer) ([]byte, bool, error) {
			p := *(*unsafe.Pointer)(field)
			if p == nil {
				return dst, true, nil
			}
			return inner(dst, p)
		}
	case t == timeType:
		return timeEncoder(pg)
	case t == durationType && (pg.OID == postgres.OIDInterval || pg.OID == postgres.OIDTime):
		return func(dst []byte, field unsafe.Pointer) ([]byte, bool, error) {
			return encodeDuration(dst, *(*time.Duration)(field), pg.OID == postgres.OIDTime)
		}
	case t.Implements(marshalerType):
		return func(dst []byte, field unsafe.Pointer) ([]byte, bool, error) {
			m := reflect.NewAt(t, field).Elem().Interface().(encoding.TextMarshaler)
			var text []byte
			err := call.Method(func() (err error) {
				text, err = m.MarshalText()
				return err
			})
			return append(dst, text...), false, err
		}
	}
	switch t.Kind() {
	case reflect.String:
		return func(dst []byte, field unsafe.Pointer) ([]byte, bool, error) {
			return append(dst, *(*string)(field)...), false, nil
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		load := intfield.LoadInt(t)
		return func(dst []byte, field unsafe.Pointer) ([]byte, bool, error) {
			return c.appendDecimal(dst, load(field)), false, nil
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return func(dst []byte, field unsafe.Pointer) ([]byte, bool, error) {
			n := reflect.NewAt(t, field).Elem().Uint()
			if n > math.MaxInt64 {
				if c.decimals > 0 {
					return dst, false, postgres.ErrRange
				}
				return strconv.AppendUint(dst, n, 10), false, nil
			}
			return c.appendDecimal(dst, int64(n)), false, nil
		}
	case reflect.Float64:
		return func(dst []byte, field unsafe.Pointer) ([]byte, bool, error) {
			return appendFloat(dst, *(*float64)(field), 64), false, nil
		}
	case reflect.Float32:
		return func(dst []byte, field unsafe.Pointer) ([]byte, bool, error) {
			return appendFloat(dst, float64(*(*float32)(field)), 32), false, nil
		}
	case reflect.Bool:
		return func(dst []byte, field unsafe.Pointer) ([]byte, bool, error) {
			if *(*bool)(field) {
				return append(dst, 't'), false, nil
			}
			return append(dst, 'f'), false, nil
		}
	case reflect.Array:
		if t.Len() == 16 && t.Elem().Kind() == reflect.Uint8 && pg.OID == postgres.OIDUUID {
			return func(dst []byte, field unsafe.Pointer) ([]byte, bool, error) {
				return postgres.AppendUUID(dst, (*[16]byte)(field)[:]), false, nil
			}
		}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 && pg.Elem == nil {
			return func(dst []byte, field unsafe.Pointer) ([]byte, bool, error) {
				b := *(*[]byte)(field)
				switch {
				case b == nil:
					return dst, true, nil
				case pg.OID == postgres.OIDBytea:
					return hex.AppendEncode(append(dst, `\x`...), b), false, nil
				}
				return append(dst, b...), false, nil
			}
		}
		return c.arrayEncoder(t, pg)
	}
	return nil
}

// appendDecimal appends n divided by ten to the power of the decimal tag.
func (c *column) appendDecimal(dst []byte, n int64) []byte {
	if c.decimals <= 0 {
		return strconv.AppendInt(dst, n, 10)
	}
	u := uint64(n)
	if n < 0 {
		dst, u = append(dst, '-'), -u
	}
	power := uint64(1)
	for range c.decimals {
		power *= 10
	}
	dst = append(strconv.AppendUint(dst, u/power, 10), '.')
	for rest := u % power; power > 1; {
		power /= 10
		dst = append(dst, byte('0'+rest/power))
		rest %= power
	}
	return dst
}

func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, bits)
}

func encodeRat(dst []byte, field unsafe.Pointer) ([]byte, bool, error) {
	r := *(**big.Rat)(field)
	if r == nil {
		return dst, true, nil
	}
	n, exact := r.FloatPrec()
	if !exact {
		return dst, false, fmt.Errorf("%v has no exact decimal form; round it first", r)
	}
	return append(dst, r.FloatString(n)...), false, nil
}

func timeEncoder(pg *postgres.Type) encoder {
	layout := "2006-01-02 15:04:05.999999-07:00"
	utc := false
	switch pg.OID {
	case postgres.OIDDate:
		layout = "2006-01-02"
	case postgres.OIDTimestamp:
		layout, utc = "2006-01-02 15:04:05.999999", true
	case postgres.OIDTimestamptz, postgres.OIDText, postgres.OIDVarchar:
	default:
		return nil
	}
	return func(dst []byte, field unsafe.Pointer) ([]byte, bool, error) {
		t := *(*time.Time)(field)
		if utc {
			t = t.UTC()
		}
		if y := t.Year(); y < 1 || y > 9999 {
			return dst, false, fmt.Errorf("the year %d is not between 1 and 9999", y)
		}
		return t.AppendFormat(dst, layout), false, nil
	}
}

func encodeDuration(dst []byte, d time.Duration, clock bool) ([]byte, bool, error) {
	if d%time.Microsecond != 0 {
		return dst, false, fmt.Errorf("%v has parts of a microsecond, which PostgreSQL cannot hold; round it first", d)
	}
	if clock {
		if d < 0 || d > 24*time.Hour {
			return dst, false, fmt.Errorf("%v is no time of day", d)
		}
		return fmt.Appendf(dst, "%02d:%02d:%02d.%06d", d/time.Hour, d/time.Minute%60, d/time.Second%60, d/time.Microsecond%1e6), false, nil
	}
	return append(strconv.AppendInt(dst, int64(d/time.Microsecond), 10), " microseconds"...), false, nil
}

func jsonEncoder(t reflect.Type) encoder {
	if t == rawType {
		return func(dst []byte, field unsafe.Pointer) ([]byte, bool, error) {
			b := *(*[]byte)(field)
			return append(dst, b...), b == nil, nil
		}
	}
	return func(dst []byte, field unsafe.Pointer) ([]byte, bool, error) {
		v := reflect.NewAt(t, field).Elem()
		switch v.Kind() {
		case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
			if v.IsNil() {
				return dst, true, nil
			}
		}
		b, err := json.Marshal(v.Interface())
		return append(dst, b...), false, err
	}
}

// arrayEncoder encodes slices as arrays of one dimension: {"a","b",NULL}.
func (c *column) arrayEncoder(t reflect.Type, pg *postgres.Type) encoder {
	if pg.Elem == nil {
		return nil
	}
	inner := c.encoderOf(t.Elem(), pg.Elem)
	if inner == nil {
		return nil
	}
	size := t.Elem().Size()
	var buf []byte
	return func(dst []byte, field unsafe.Pointer) ([]byte, bool, error) {
		s := reflect.NewAt(t, field).Elem()
		if s.IsNil() {
			return dst, true, nil
		}
		p := s.UnsafePointer()
		dst = append(dst, '{')
		for i := range s.Len() {
			if i > 0 {
				dst = append(dst, ',')
			}
			text, null, err := inner(buf[:0], unsafe.Add(p, uintptr(i)*size))
			buf = text
			if err != nil {
				return dst, false, fmt.Errorf("element %d: %w", i+1, err)
			}
			if null {
				dst = append(dst, "NULL"...)
				continue
			}
			dst = append(dst, '"')
			for _, b := range text {
				if b == '"' || b == '\\' {
					dst = append(dst, '\\')
				}
				dst = append(dst, b)
			}
			dst = append(dst, '"')
		}
		return append(dst, '}'), false, nil
	}
}

var errNUL = errors.New("the text has a zero byte, which PostgreSQL cannot hold; remove it, or write to a bytea")

// appendField appends a value in the text form of COPY.
func appendField(dst, text []byte) ([]byte, error) {
	plain := 0
	for i, b := range text {
		if b > '\r' && b != '\\' {
			continue
		}
		var escaped byte
		switch b {
		case '\\':
			escaped = '\\'
		case '\n':
			escaped = 'n'
		case '\r':
			escaped = 'r'
		case '\t':
			escaped = 't'
		case 0:
			return dst, errNUL
		default:
			continue
		}
		dst = append(append(dst, text[plain:i]...), '\\', escaped)
		plain = i + 1
	}
	return append(dst, text[plain:]...), nil
}
