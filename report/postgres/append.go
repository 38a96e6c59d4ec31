package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/layshaft/layshaft/internal/arena"
	"github.com/layshaft/layshaft/internal/postgres"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// An appender appends a value in the binary form of PostgreSQL to a column. The value is valid only
// during the call, and never NULL.
type appender func(b *vec.Builder, value []byte) error

var errInfinite = errors.New("the value is infinite, which the type cannot hold; cast the column to text in a query, or leave such rows out in the query")

// isCast reports whether the database sends the column as text.
func isCast(want vec.Type, t *postgres.Type) bool {
	return want.Kind == vec.Text && !t.IsText() && t.OID != postgres.OIDUUID
}

// texts returns an appender of texts, which it keeps in a.
func texts(a *arena.Arena) appender {
	return func(b *vec.Builder, value []byte) error {
		b.AppendString(a.KeepBytes(value))
		return nil
	}
}

// fixed returns an appender for values of a fixed size.
func fixed(size int, add func(b *vec.Builder, value []byte) error) appender {
	return func(b *vec.Builder, value []byte) error {
		if len(value) != size {
			return postgres.ErrSize
		}
		return add(b, value)
	}
}

func integer(size int) appender {
	return fixed(size, func(b *vec.Builder, v []byte) error {
		switch size {
		case 2:
			b.AppendInt(int64(int16(binary.BigEndian.Uint16(v))))
		case 4:
			b.AppendInt(int64(int32(binary.BigEndian.Uint32(v))))
		default:
			b.AppendInt(int64(binary.BigEndian.Uint64(v)))
		}
		return nil
	})
}

// micros returns an appender of timestamps.
var micros = fixed(8, func(b *vec.Builder, v []byte) error {
	us := int64(binary.BigEndian.Uint64(v))
	if us == math.MaxInt64 || us == math.MinInt64 || us > math.MaxInt64-postgres.Epoch*1e6 {
		return errInfinite
	}
	b.AppendInt(us + postgres.Epoch*1e6)
	return nil
})

// appenderOf returns the appender for a column of type t as want; nil if there is none.
func appenderOf(want vec.Type, t *postgres.Type, a *arena.Arena) appender {
	if want.Kind == vec.Decimal && (t.OID == postgres.OIDNumeric || t.IsInteger()) {
		return decimal(want, t, a)
	}
	if have := typeOf(t); !have.Equal(want) && want.Kind != vec.Text {
		return nil
	}
	switch t.OID {
	case postgres.OIDBool:
		return fixed(1, func(b *vec.Builder, v []byte) error {
			b.AppendBool(v[0] != 0)
			return nil
		})
	case postgres.OIDInt2:
		return integer(2)
	case postgres.OIDInt4:
		return integer(4)
	case postgres.OIDInt8:
		return integer(8)
	case postgres.OIDOid:
		return fixed(4, func(b *vec.Builder, v []byte) error {
			b.AppendInt(int64(binary.BigEndian.Uint32(v)))
			return nil
		})
	case postgres.OIDFloat4:
		return fixed(4, func(b *vec.Builder, v []byte) error {
			b.AppendFloat(float64(math.Float32frombits(binary.BigEndian.Uint32(v))))
			return nil
		})
	case postgres.OIDFloat8:
		return fixed(8, func(b *vec.Builder, v []byte) error {
			b.AppendFloat(math.Float64frombits(binary.BigEndian.Uint64(v)))
			return nil
		})
	case postgres.OIDNumeric:
		return func(b *vec.Builder, v []byte) error {
			n, err := postgres.ParseNumeric(v)
			if err != nil {
				return err
			}
			f, err := n.Float()
			b.AppendFloat(f)
			return err
		}
	case postgres.OIDJSONB:
		text := texts(a)
		return func(b *vec.Builder, v []byte) error {
			if len(v) == 0 || v[0] != 1 {
				return errors.New("the server sent jsonb of an unknown version")
			}
			return text(b, v[1:])
		}
	case postgres.OIDBytea, postgres.OIDJSON:
		return texts(a)
	case postgres.OIDDate:
		return fixed(4, func(b *vec.Builder, v []byte) error {
			days := int32(binary.BigEndian.Uint32(v))
			if days == math.MaxInt32 || days == math.MinInt32 {
				return errInfinite
			}
			b.AppendInt(int64(days) + postgres.Epoch/86400)
			return nil
		})
	case postgres.OIDTime:
		return integer(8)
	case postgres.OIDTimestamp, postgres.OIDTimestamptz:
		return micros
	case postgres.OIDInterval:
		return fixed(16, func(b *vec.Builder, v []byte) error {
			b.AppendSpan(vec.Span{Micros: int64(binary.BigEndian.Uint64(v)), Days: int32(binary.BigEndian.Uint32(v[8:])), Months: int32(binary.BigEndian.Uint32(v[12:]))})
			return nil
		})
	case postgres.OIDUUID:
		buf := make([]byte, 0, 36)
		return fixed(16, func(b *vec.Builder, v []byte) error {
			b.AppendString(a.KeepBytes(postgres.AppendUUID(buf, v)))
			return nil
		})
	}
	if t.IsText() {
		return texts(a)
	}
	if t.Elem != nil && want.Kind == vec.List {
		return list(*want.Elem, t, a)
	}
	return nil
}

// decimal appends numbers exactly.
func decimal(want vec.Type, t *postgres.Type, a *arena.Arena) appender {
	var text []byte
	exact := func(b *vec.Builder, number []byte) error {
		x, exact, ok := vec.ParseDecimal(string(number), want.Precision, want.Scale)
		if !ok || !exact {
			return fmt.Errorf("%s does not fit %s; give the column another type, as in types => {'column': 'decimal(38,10)'}", number, want)
		}
		b.AppendInt128(x)
		return nil
	}
	if t.IsInteger() {
		read := appenderOf(vec.Of(vec.Int), t, a)
		return func(b *vec.Builder, v []byte) error {
			one := vec.NewBuilder(vec.Of(vec.Int), 1)
			if err := read(one, v); err != nil {
				return err
			}
			return exact(b, fmt.Append(nil, one.Done().Ints[0]))
		}
	}
	most := int64(math.MaxInt64)
	if want.Precision < 19 {
		most = 1
		for range want.Precision {
			most *= 10
		}
		most--
	}
	return func(b *vec.Builder, v []byte) error {
		n, err := postgres.ParseNumeric(v)
		if err != nil {
			return err
		}
		if x, err := n.Scaled(want.Scale); err == nil && x <= most && x >= -most {
			b.AppendInt(x)
			return nil
		}
		text = n.AppendText(text[:0])
		return exact(b, text)
	}
}

// list appends arrays of one dimension.
func list(elem vec.Type, t *postgres.Type, a *arena.Arena) appender {
	inner := appenderOf(elem, t.Elem, a)
	if inner == nil {
		return nil
	}
	return func(b *vec.Builder, v []byte) error {
		if len(v) < 12 {
			return postgres.ErrSize
		}
		dims := binary.BigEndian.Uint32(v)
		if dims > 1 {
			return fmt.Errorf("the array has %d dimensions; read the column as text, or select array_to_json of it in a query", dims)
		}
		n, rest := 0, []byte(nil)
		if dims == 1 {
			if len(v) < 20 {
				return postgres.ErrSize
			}
			n, rest = int(int32(binary.BigEndian.Uint32(v[12:]))), v[20:]
		}
		return b.AppendList(func(elems *vec.Builder) error {
			for range n {
				if len(rest) < 4 {
					return postgres.ErrSize
				}
				size := int(int32(binary.BigEndian.Uint32(rest)))
				rest = rest[4:]
				if size == -1 {
					elems.AppendNull()
					continue
				}
				if size < 0 || size > len(rest) {
					return postgres.ErrSize
				}
				if err := inner(elems, rest[:size]); err != nil {
					return err
				}
				rest = rest[size:]
			}
			return nil
		})
	}
}
