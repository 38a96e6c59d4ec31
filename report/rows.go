package report

import (
	"encoding/json"
	"fmt"
	"iter"
	"math/big"
	"time"

	"github.com/layshaft/layshaft/report/internal/exec"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// NamedArg is the value of a named parameter.
type NamedArg struct {
	Name  string // without the dollar
	Value any
}

// Named gives the parameter $name a value.
func Named(name string, value any) NamedArg { return NamedArg{name, value} }

// encodeParams encodes the values of parameters.
func encodeParams(args []any) (params []exec.Param, err error) {
	for i, a := range args {
		name := ""
		if n, ok := a.(NamedArg); ok {
			name, a = n.Name, n.Value
		}
		v, err := constant(a)
		if err != nil {
			return nil, fmt.Errorf("parameter %d: %w", i+1, err)
		}
		params = append(params, exec.Param{Name: name, Type: v.Type, Value: vec.AppendRow(nil, []*vec.Vec{v}, 0)})
	}
	return params, nil
}

// constant returns a Go value as a vector of one row.
func constant(a any) (*vec.Vec, error) {
	one := func(k vec.Kind) *vec.Vec { return vec.New(vec.Of(k), 1) }
	switch a := a.(type) {
	case nil:
		return vec.New(vec.Of(vec.Null), 1), nil
	case bool:
		v := one(vec.Bool)
		v.Bools[0] = a
		return v, nil
	case int:
		v := one(vec.Int)
		v.Ints[0] = int64(a)
		return v, nil
	case int32:
		v := one(vec.Int)
		v.Ints[0] = int64(a)
		return v, nil
	case int64:
		v := one(vec.Int)
		v.Ints[0] = a
		return v, nil
	case float64:
		v := one(vec.Float)
		v.Floats[0] = a
		return v, nil
	case string:
		v := one(vec.Text)
		v.Strings[0] = a
		return v, nil
	case []byte:
		v := one(vec.Blob)
		v.Strings[0] = string(a)
		return v, nil
	case time.Time:
		v := one(vec.TimestampTZ)
		v.Ints[0] = a.UnixMicro()
		return v, nil
	}
	return nil, fmt.Errorf("a %T is no value of SQL; use a bool, an int, an int64, a float64, a string, a []byte, a time.Time or nil", a)
}

// All yields the rows, each with a value for each column:
//
//	NULL                         nil
//	boolean                      bool
//	bigint                       int64
//	decimal                      *big.Rat; *big.Int without a fraction
//	double                       float64
//	text                         string
//	blob                         []byte
//	json                         json.RawMessage
//	date, timestamp, timestamptz time.Time in UTC
//	interval, time, lists, maps  string, as CAST AS text writes them
//
// A row may be kept. An error ends the sequence.
func (r *Rows) All() iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		for b, err := range r.batches {
			if err != nil {
				yield(nil, located(r.text, err))
				return
			}
			for i := range b.N {
				row := make([]any, len(b.Cols))
				for c, v := range b.Cols {
					row[c] = value(v, i)
				}
				if !yield(row, nil) {
					return
				}
			}
		}
	}
}

// value returns row i of a column as a Go value.
func value(v *vec.Vec, i int) any {
	if v.Null(i) {
		return nil
	}
	if v.Const {
		i = 0
	}
	switch v.Type.Kind {
	case vec.Null:
		return nil
	case vec.Bool:
		return v.Bools[i]
	case vec.Int:
		return v.Ints[i]
	case vec.Decimal:
		x := v.Int128(i).Big()
		if v.Type.Scale == 0 {
			return x
		}
		return new(big.Rat).SetFrac(x, vec.Pow10(v.Type.Scale).Big())
	case vec.Float:
		return v.Floats[i]
	case vec.Text:
		return v.String(i)
	case vec.Blob:
		return []byte(v.String(i))
	case vec.JSON:
		return json.RawMessage(v.String(i))
	case vec.Date:
		return time.Unix(v.Ints[i]*24*60*60, 0).UTC()
	case vec.Timestamp, vec.TimestampTZ:
		return time.UnixMicro(v.Ints[i]).UTC()
	}
	return string(expr.AppendText(nil, v, i))
}
