package exec

import (
	"errors"
	"fmt"
	"strings"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// placed is an error that names the place of the row, as far as it is known. Package mapreduce adds
// no place of its own.
type placed struct{ error }

func (e *placed) Unwrap() error { return e.error }

// Placed marks the error for package mapreduce.
func (*placed) Placed() {}

// fatal ends the job: another attempt cannot help.
func fatal(err error) error { return mapreduce.Fatal(&placed{err}) }

// eval evaluates an expression for the rows of a batch. An error names the place of the first row
// that fails, and the values of the columns that the expression uses.
func eval(x *expr.Expr, b *vec.Batch) (*vec.Vec, error) {
	v, err := x.Eval(b)
	if err == nil {
		return v, nil
	}
	for i := range b.N {
		row := b.Gather([]int32{int32(i)})
		_, failed := x.Eval(row)
		if failed == nil {
			continue
		}
		var e *expr.Error
		if errors.As(failed, &e) {
			copied := *e
			if place := b.Place(i); place != "" {
				copied.Message = place + ": " + copied.Message
			}
			if values := used(x, row, nil); len(values) > 0 {
				copied.Message += " (" + strings.Join(values, ", ") + ")"
			}
			failed = &copied
		}
		return nil, fatal(failed)
	}
	return nil, fatal(err)
}

// used adds the names of the columns that an expression uses, with their values in the only row.
func used(x *expr.Expr, row *vec.Batch, values []string) []string {
	if x.Op == expr.OpColumn && len(values) < 8 {
		text := "NULL"
		if v := row.Cols[x.Col]; !v.Null(0) {
			text = string(expr.AppendText(nil, v, 0))
			if len(text) > 60 {
				text = strings.ToValidUTF8(text[:60], "") + "…"
			}
			if v.Type.Kind == vec.Text {
				text = "'" + text + "'"
			}
		}
		one := fmt.Sprintf("%s = %s", x.Name, text)
		for _, known := range values {
			if known == one {
				return values
			}
		}
		return append(values, one)
	}
	for _, a := range x.Args {
		values = used(a, row, values)
	}
	return values
}
