package pgio

import (
	"encoding"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/layshaft/layshaft/internal/arena"
	"github.com/layshaft/layshaft/internal/call"
	"github.com/layshaft/layshaft/internal/intfield"
	"github.com/layshaft/layshaft/internal/postgres"
)

// A decoder stores a value in a field. b is the value in the binary form of PostgreSQL, or its text
// if the column is cast to text. It is valid only during the call, and never NULL.
type decoder func(field unsafe.Pointer, b []byte) error

var (
	errNull    = errors.New("it is NULL; make the field a pointer, tag it db:\",omitempty\" to read zero, or leave such rows out with Where")
	errNoClock = errors.New("it is infinite, which a time.Time cannot be; make the field a string, or leave such rows out with Where")
)

// decoder returns the decoder of a column of type t. asText means that the column must be cast to
// text. It returns an error if the field cannot hold such values.
func (c *column) decoder(t *postgres.Type, a *arena.Arena) (d decoder, asText bool, err error) {
	d, asText = c.decoderOf(c.typ, t, a)
	if d == nil {
		return nil, false, fmt.Errorf("field %s %v cannot hold %s; %s", c.field, c.typ, t.Name, wayOut(t))
	}
	return d, asText, nil
}

// wayOut returns a Go type for values of t.
func wayOut(t *postgres.Type) string {
	good := "string"
	switch {
	case t.Kind == 'c':
		return "select its fields one by one"
	case t.Elem != nil:
		good = "a slice, or a string"
	case t.IsInteger():
		good = "int64"
	case t.OID == postgres.OIDNumeric:
		good = "string, *big.Rat, float64, or int64 with the tag decimal:\"2\""
	case t.OID == postgres.OIDFloat4 || t.OID == postgres.OIDFloat8:
		good = "float64"
	case t.OID == postgres.OIDBool:
		good = "bool"
	case t.OID == postgres.OIDDate || t.OID == postgres.OIDTimestamp || t.OID == postgres.OIDTimestamptz:
		good = "time.Time"
	case t.OID == postgres.OIDBytea:
		good = "[]byte"
	case t.OID == postgres.OIDUUID:
		good = "string, or [16]byte"
	}
	return "make it " + good
}

// canBeNil reports whether NULL has a place in the field.
func (c *column) canBeNil() bool {
	return c.omitempty || c.typ.Kind() == reflect.Pointer || c.typ.Kind() == reflect.Slice || c.typ.Kind() == reflect.Map
}

func (c *column) decoderOf(t reflect.Type, pg *postgres.Type, a *arena.Arena) (d decoder, asText bool) {
	if t.Kind() == reflect.Pointer && t.Elem() != reflect.TypeFor[big.Rat]() {
		if t.Elem().Kind() == reflect.Pointer {
			return nil, false
		}
		inner, asText := c.decoderOf(t.Elem(), pg, a)
		if inner == nil {
			return nil, false
		}
		// One allocation serves many rows. A kept pointer keeps the values of its neighbours.
		size := t.Elem().Size()
		n := int(max(1, 512/max(1, size)))
		slice, left := reflect.SliceOf(t.Elem()), 0
		var next unsafe.Pointer
		return func(field unsafe.Pointer, b []byte) error {
			if left == 0 {
				next, left = reflect.MakeSlice(slice, n, n).UnsafePointer(), n
			}
			v := next
			if left--; left > 0 {
				next = unsafe.Add(next, size)
			}
			*(*unsafe.Pointer)(field) = v
			return inner(v, b)
		}, asText
	}
	switch {
	case c.json || (pg.OID == postgres.OIDJSON || pg.OID == postgres.OIDJSONB) && isJSON(t):
		return jsonDecoder(t, pg)
	case c.decimals >= 0:
		return c.decimalDecoder(t, pg), false
	case t == timeType:
		return timeDecoder(pg), false
	case t == durationType && (pg.OID == postgres.OIDInterval || pg.OID == postgres.OIDTime):
		return durationDecoder(pg), false
	case t == reflect.TypeFor[*big.Rat]():
		return ratDecoder(pg), false
	case reflect.PointerTo(t).Implements(unmarshalerType):
		return textDecoder(pg, func(field unsafe.Pointer, b []byte) error {
			u := reflect.NewAt(t, field).Interface().(encoding.TextUnmarshaler)
			return call.Method(func() error { return u.UnmarshalText(append([]byte(nil), b...)) })
		})
	}
	switch t.Kind() {
	case reflect.String:
		return textDecoder(pg, func(field unsafe.Pointer, b []byte) error {
			*(*string)(field) = a.KeepBytes(b)
			return nil
		})
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return intDecoder(pg, intfield.StoreInt(t, tooLarge)), false
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return intDecoder(pg, storeUint(t)), false
	case reflect.Float64:
		return floatDecoder(pg, func(p unsafe.Pointer, f float64) { *(*float64)(p) = f }), false
	case reflect.Float32:
		if pg.OID == postgres.OIDFloat8 || pg.OID == postgres.OIDNumeric || pg.IsInteger() {
			return nil, false // digits would be lost
		}
		return floatDecoder(pg, func(p unsafe.Pointer, f float64) { *(*float32)(p) = float32(f) }), false
	case reflect.Bool:
		if pg.OID != postgres.OIDBool {
			return nil, false
		}
		return func(field unsafe.Pointer, b []byte) error {
			if len(b) != 1 {
				return postgres.ErrSize
			}
			*(*bool)(field) = b[0] != 0
			return nil
		}, false
	case reflect.Array:
		if pg.OID == postgres.OIDUUID && t.Len() == 16 && t.Elem().Kind() == reflect.Uint8 {
			return func(field unsafe.Pointer, b []byte) error {
				if len(b) != 16 {
					return postgres.ErrSize
				}
				*(*[16]byte)(field) = [16]byte(b)
				return nil
			}, false
		}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 && pg.Elem == nil {
			if pg.OID == postgres.OIDBytea {
				return func(field unsafe.Pointer, b []byte) error {
					*(*[]byte)(field) = append(make([]byte, 0, len(b)), b...)
					return nil
				}, false
			}
			return textDecoder(pg, func(field unsafe.Pointer, b []byte) error {
				*(*[]byte)(field) = append(make([]byte, 0, len(b)), b...)
				return nil
			})
		}
		return c.arrayDecoder(t, pg, a), false
	}
	return nil, false
}

// isJSON reports whether a field takes the parts of JSON, not its text.
func isJSON(t reflect.Type) bool {
	if reflect.PointerTo(t).Implements(unmarshalerType) && !reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return false
	}
	switch t.Kind() {
	case reflect.String:
		return false
	case reflect.Slice:
		return t.Elem().Kind() != reflect.Uint8 || t == rawType
	}
	return true
}

func jsonDecoder(t reflect.Type, pg *postgres.Type) (decoder, bool) {
	store := func(field unsafe.Pointer, b []byte) error {
		if err := json.Unmarshal(b, reflect.NewAt(t, field).Interface()); err != nil {
			return fmt.Errorf("the JSON does not fit %v: %w", t, err)
		}
		return nil
	}
	if t == rawType {
		store = func(field unsafe.Pointer, b []byte) error {
			*(*[]byte)(field) = append(make([]byte, 0, len(b)), b...)
			return nil
		}
	}
	return textDecoder(pg, store)
}

// textDecoder returns a decoder that passes the text of a value to store.
func textDecoder(pg *postgres.Type, store decoder) (d decoder, asText bool) {
	switch {
	case pg.IsText(), pg.OID == postgres.OIDJSON:
		return store, false
	case pg.OID == postgres.OIDJSONB:
		return func(field unsafe.Pointer, b []byte) error {
			if len(b) == 0 || b[0] != 1 {
				return errors.New("the server sent jsonb of an unknown version")
			}
			return store(field, b[1:])
		}, false
	case pg.IsInteger():
		buf := make([]byte, 0, 20)
		return intDecoder(pg, func(field unsafe.Pointer, n int64) error { return store(field, strconv.AppendInt(buf[:0], n, 10)) }), false
	case pg.OID == postgres.OIDUUID:
		buf := make([]byte, 0, 36)
		return func(field unsafe.Pointer, b []byte) error {
			if len(b) != 16 {
				return postgres.ErrSize
			}
			return store(field, postgres.AppendUUID(buf, b))
		}, false
	case pg.OID == postgres.OIDNumeric:
		var buf []byte
		return func(field unsafe.Pointer, b []byte) error {
			n, err := postgres.ParseNumeric(b)
			if err != nil {
				return err
			}
			buf = n.AppendText(buf[:0])
			return store(field, buf)
		}, false
	}
	return store, true
}

// intDecoder returns a decoder of integers, and of numerics without decimals.
func intDecoder(pg *postgres.Type, store func(unsafe.Pointer, int64) error) decoder {
	switch pg.OID {
	case postgres.OIDInt8:
		return func(field unsafe.Pointer, b []byte) error {
			if len(b) != 8 {
				return postgres.ErrSize
			}
			return store(field, int64(binary.BigEndian.Uint64(b)))
		}
	case postgres.OIDInt4:
		return func(field unsafe.Pointer, b []byte) error {
			if len(b) != 4 {
				return postgres.ErrSize
			}
			return store(field, int64(int32(binary.BigEndian.Uint32(b))))
		}
	case postgres.OIDOid:
		return func(field unsafe.Pointer, b []byte) error {
			if len(b) != 4 {
				return postgres.ErrSize
			}
			return store(field, int64(binary.BigEndian.Uint32(b)))
		}
	case postgres.OIDInt2:
		return func(field unsafe.Pointer, b []byte) error {
			if len(b) != 2 {
				return postgres.ErrSize
			}
			return store(field, int64(int16(binary.BigEndian.Uint16(b))))
		}
	case postgres.OIDNumeric:
		return func(field unsafe.Pointer, b []byte) error {
			n, err := postgres.ParseNumeric(b)
			if err != nil {
				return err
			}
			v, err := n.Scaled(0)
			if err != nil {
				return err
			}
			return store(field, v)
		}
	}
	return nil
}

func (c *column) decimalDecoder(t reflect.Type, pg *postgres.Type) decoder {
	store := intfield.StoreInt(t, tooLarge)
	if t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64 {
		store = storeUint(t)
	}
	power := int64(1)
	for range c.decimals {
		power *= 10
	}
	if pg.OID == postgres.OIDNumeric {
		return func(field unsafe.Pointer, b []byte) error {
			n, err := postgres.ParseNumeric(b)
			if err != nil {
				return err
			}
			v, err := n.Scaled(c.decimals)
			if err != nil {
				return err
			}
			return store(field, v)
		}
	}
	return intDecoder(pg, func(field unsafe.Pointer, n int64) error {
		if n > math.MaxInt64/power || n < math.MinInt64/power {
			return postgres.ErrRange
		}
		return store(field, n*power)
	})
}

func floatDecoder(pg *postgres.Type, store func(unsafe.Pointer, float64)) decoder {
	switch pg.OID {
	case postgres.OIDFloat8:
		return func(field unsafe.Pointer, b []byte) error {
			if len(b) != 8 {
				return postgres.ErrSize
			}
			store(field, math.Float64frombits(binary.BigEndian.Uint64(b)))
			return nil
		}
	case postgres.OIDFloat4:
		return func(field unsafe.Pointer, b []byte) error {
			if len(b) != 4 {
				return postgres.ErrSize
			}
			store(field, float64(math.Float32frombits(binary.BigEndian.Uint32(b))))
			return nil
		}
	case postgres.OIDInt2, postgres.OIDInt4, postgres.OIDInt8:
		return intDecoder(pg, func(field unsafe.Pointer, n int64) error {
			if f := float64(n); f >= math.MaxInt64 || int64(f) != n {
				return fmt.Errorf("%d is not exact in a float64; make the field an int64", n)
			}
			store(field, float64(n))
			return nil
		})
	case postgres.OIDNumeric:
		return func(field unsafe.Pointer, b []byte) error {
			n, err := postgres.ParseNumeric(b)
			if err != nil {
				return err
			}
			f, err := n.Float()
			store(field, f)
			return err
		}
	}
	return nil
}

func ratDecoder(pg *postgres.Type) decoder {
	if pg.OID != postgres.OIDNumeric && !pg.IsInteger() {
		return nil
	}
	d, _ := textDecoder(pg, func(field unsafe.Pointer, b []byte) error {
		r, ok := new(big.Rat).SetString(string(b))
		if !ok {
			return fmt.Errorf("%s is no number", b)
		}
		*(**big.Rat)(field) = r
		return nil
	})
	return d
}

func timeDecoder(pg *postgres.Type) decoder {
	switch pg.OID {
	case postgres.OIDTimestamp, postgres.OIDTimestamptz:
		return func(field unsafe.Pointer, b []byte) error {
			if len(b) != 8 {
				return postgres.ErrSize
			}
			us := int64(binary.BigEndian.Uint64(b))
			if us == math.MaxInt64 || us == math.MinInt64 {
				return errNoClock
			}
			sec := us / 1e6
			us -= sec * 1e6
			*(*time.Time)(field) = time.Unix(sec+postgres.Epoch, us*1000).UTC()
			return nil
		}
	case postgres.OIDDate:
		return func(field unsafe.Pointer, b []byte) error {
			if len(b) != 4 {
				return postgres.ErrSize
			}
			days := int32(binary.BigEndian.Uint32(b))
			if days == math.MaxInt32 || days == math.MinInt32 {
				return errNoClock
			}
			*(*time.Time)(field) = time.Unix(int64(days)*86400+postgres.Epoch, 0).UTC()
			return nil
		}
	}
	return nil
}

// durationDecoder decodes times of day, and intervals without months and days.
func durationDecoder(pg *postgres.Type) decoder {
	return func(field unsafe.Pointer, b []byte) error {
		if len(b) != 8 && len(b) != 16 || len(b) == 16 != (pg.OID == postgres.OIDInterval) {
			return postgres.ErrSize
		}
		us := int64(binary.BigEndian.Uint64(b))
		if len(b) == 16 && binary.BigEndian.Uint64(b[8:]) != 0 {
			return errors.New("the interval has days or months, whose length varies; make the field a string, or select extract(postgres.Epoch FROM ...)")
		}
		if us > math.MaxInt64/1000 || us < math.MinInt64/1000 {
			return postgres.ErrRange
		}
		*(*time.Duration)(field) = time.Duration(us) * time.Microsecond
		return nil
	}
}

// arrayDecoder decodes arrays with one dimension.
func (c *column) arrayDecoder(t reflect.Type, pg *postgres.Type, a *arena.Arena) decoder {
	if pg.Elem == nil {
		return nil
	}
	inner, asText := c.decoderOf(t.Elem(), pg.Elem, a)
	if inner == nil || asText {
		return nil
	}
	size := t.Elem().Size()
	isNil := t.Elem().Kind() == reflect.Pointer || t.Elem().Kind() == reflect.Slice
	return func(field unsafe.Pointer, b []byte) error {
		if len(b) < 12 {
			return postgres.ErrSize
		}
		dims := int32(binary.BigEndian.Uint32(b))
		if dims == 0 {
			reflect.NewAt(t, field).Elem().Set(reflect.MakeSlice(t, 0, 0))
			return nil
		}
		if dims != 1 {
			return fmt.Errorf("the array has %d dimensions; make the field a string, or select unnest or array_to_json of it", dims)
		}
		if len(b) < 20 {
			return postgres.ErrSize
		}
		n := int(int32(binary.BigEndian.Uint32(b[12:])))
		b = b[20:]
		if n < 0 || n > len(b)/4 {
			return postgres.ErrSize
		}
		s := reflect.MakeSlice(t, n, n)
		p := s.UnsafePointer()
		for i := range n {
			if len(b) < 4 {
				return postgres.ErrSize
			}
			l := int(int32(binary.BigEndian.Uint32(b)))
			b = b[4:]
			if l == -1 {
				if !isNil {
					return fmt.Errorf("element %d of the array is NULL; make the field %v", i+1, reflect.SliceOf(reflect.PointerTo(t.Elem())))
				}
				continue
			}
			if l < 0 || l > len(b) {
				return postgres.ErrSize
			}
			if err := inner(unsafe.Add(p, uintptr(i)*size), b[:l]); err != nil {
				return fmt.Errorf("element %d of the array: %w", i+1, err)
			}
			b = b[l:]
		}
		reflect.NewAt(t, field).Elem().Set(s)
		return nil
	}
}

// storeUint returns a function that stores a number in an unsigned integer of type t.
func storeUint(t reflect.Type) func(unsafe.Pointer, int64) error {
	store := intfield.StoreUint(t, tooLarge)
	return func(p unsafe.Pointer, n int64) error {
		if n < 0 {
			return tooLarge(t, n)
		}
		return store(p, uint64(n))
	}
}

func tooLarge(t reflect.Type, n int64) error {
	return fmt.Errorf("%d is out of the range of %v; make the field wider", n, t)
}

// columnList returns names for a message.
func columnList(names []string) string {
	if len(names) > 12 {
		return strings.Join(names[:12], ", ") + fmt.Sprintf(" and %d more", len(names)-12)
	}
	return strings.Join(names, ", ")
}
