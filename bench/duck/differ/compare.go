package differ

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"
)

// Cell is a value of either system: nil, bool, *big.Rat, float64, or string.
type Cell any

// toCell converts a value. Dates and times become text; so do lists, structs and maps.
func toCell(v any) Cell {
	switch v := v.(type) {
	case nil:
		return nil
	case bool:
		return v
	case int8:
		return new(big.Rat).SetInt64(int64(v))
	case int16:
		return new(big.Rat).SetInt64(int64(v))
	case int32:
		return new(big.Rat).SetInt64(int64(v))
	case int64:
		return new(big.Rat).SetInt64(v)
	case uint8:
		return new(big.Rat).SetInt64(int64(v))
	case uint16:
		return new(big.Rat).SetInt64(int64(v))
	case uint32:
		return new(big.Rat).SetInt64(int64(v))
	case uint64:
		return new(big.Rat).SetInt(new(big.Int).SetUint64(v))
	case *big.Int:
		return new(big.Rat).SetInt(v)
	case *big.Rat:
		return v
	case duckdb.Decimal:
		return new(big.Rat).SetFrac(v.Value, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(v.Scale)), nil))
	case float32:
		return float64(v)
	case float64:
		return v
	case json.RawMessage:
		return string(v)
	case []byte:
		return fmt.Sprintf("%x", v)
	case time.Time:
		return v.UTC().Format("2006-01-02 15:04:05.999999")
	case string:
		if strings.HasPrefix(v, `{"`) { // a map or a struct, whose fields are sorted here
			var m map[string]any
			d := json.NewDecoder(strings.NewReader(v))
			d.UseNumber()
			if d.Decode(&m) == nil {
				return nestedText(m)
			}
		}
		return v
	case json.Number:
		return v.String()
	case []any, map[string]any, duckdb.OrderedMap:
		return nestedText(v)
	}
	return fmt.Sprintf("%T %v", v, v)
}

// nestedText returns a list as ours writes it: JSON with spaces.
func nestedText(v any) string {
	switch v := v.(type) {
	case []any:
		all := make([]string, len(v))
		for i, x := range v {
			all[i] = nestedText(x)
		}
		return "[" + strings.Join(all, ", ") + "]"
	case duckdb.OrderedMap:
		values := v.Values()
		var all []string
		for i, k := range v.Keys() {
			all = append(all, strconv.Quote(strings.Trim(nestedText(k), `"`))+": "+nestedText(values[i]))
		}
		slices.Sort(all)
		return "{" + strings.Join(all, ", ") + "}"
	case map[string]any:
		var all []string
		for k, x := range v {
			all = append(all, strconv.Quote(k)+": "+nestedText(x))
		}
		slices.Sort(all)
		return "{" + strings.Join(all, ", ") + "}"
	case nil:
		return "null"
	case string:
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(v)
		return strings.TrimSpace(b.String())
	case time.Time:
		return strconv.Quote(v.UTC().Format("2006-01-02 15:04:05.999999"))
	}
	if r, ok := toCell(v).(*big.Rat); ok {
		digits := 0
		if d, ok := v.(duckdb.Decimal); ok {
			digits = int(d.Scale)
		}
		return r.FloatString(digits)
	}
	return fmt.Sprint(toCell(v))
}

// number returns a number as a float.
func number(c Cell) (float64, bool) {
	switch c := c.(type) {
	case *big.Rat:
		f, _ := c.Float64()
		return f, true
	case float64:
		return c, true
	}
	return 0, false
}

// tolerance is the relative error that sums of floats may have: DuckDB adds in any order.
const tolerance = 1e-9

// equal compares two cells. Exact numbers are equal, and a float differs from the other number by
// the tolerance at most.
func equal(a, b Cell) bool {
	x, ok := a.(*big.Rat)
	y, too := b.(*big.Rat)
	if ok && too {
		return x.Cmp(y) == 0
	}
	f, ok := number(a)
	h, too := number(b)
	if ok && too {
		return f == h || math.IsNaN(f) && math.IsNaN(h) || math.Abs(f-h) <= tolerance*math.Max(1, math.Max(math.Abs(f), math.Abs(h)))
	}
	return !ok && !too && a == b
}

// sortKey orders rows such that equal rows are near each other.
func sortKey(row []Cell) string {
	var b strings.Builder
	for _, c := range row {
		if f, ok := number(c); ok {
			switch {
			case f == math.Trunc(f) && math.Abs(f) < 1e15:
				fmt.Fprintf(&b, "%.0f|", f+0)
				continue
			case math.Abs(f) < 1e-7:
				f = 0
			}
			fmt.Fprintf(&b, "%.5e|", f+0)
			continue
		}
		fmt.Fprintf(&b, "%v|", c)
	}
	return b.String()
}

// Different compares two results, and returns the first rows that only one has; empty if there are
// none.
func Different(ours, theirs [][]Cell, ordered bool) string {
	if len(ours) != len(theirs) {
		return fmt.Sprintf("%d rows, DuckDB %d", len(ours), len(theirs)) + oneSided(ours, theirs)
	}
	same := func(a, b []Cell) bool { return slices.EqualFunc(a, b, equal) }
	if slices.EqualFunc(ours, theirs, same) {
		return ""
	}
	if ordered {
		for i := range ours {
			if !same(ours[i], theirs[i]) {
				return fmt.Sprintf("row %d is %v, DuckDB %v", i+1, show(ours[i]), show(theirs[i]))
			}
		}
	}
	ours, theirs = sorted(ours), sorted(theirs)
	if slices.EqualFunc(ours, theirs, same) {
		return ""
	}
	for i := range ours {
		if len(ours) > 5000 && !same(ours[i], theirs[i]) {
			return fmt.Sprintf("sorted row %d is %v, DuckDB %v", i+1, show(ours[i]), show(theirs[i]))
		}
	}
	return strings.TrimSpace(oneSided(ours, theirs))
}

// sorted returns the rows in the order of sortKey.
func sorted(rows [][]Cell) [][]Cell {
	type keyed struct {
		key string
		row []Cell
	}
	all := make([]keyed, len(rows))
	for i, row := range rows {
		all[i] = keyed{sortKey(row), row}
	}
	slices.SortFunc(all, func(a, b keyed) int {
		return cmp.Or(cmp.Compare(a.key, b.key), slices.CompareFunc(a.row, b.row, compareNumbers))
	})
	out := make([][]Cell, len(rows))
	for i, k := range all {
		out[i] = k.row
	}
	return out
}

// compareNumbers orders two numbers; other values are equal.
func compareNumbers(a, b Cell) int {
	f, ok := number(a)
	h, too := number(b)
	if !ok || !too || math.Abs(f-h) <= tolerance*math.Max(math.Abs(f), math.Abs(h)) {
		return 0
	}
	return cmp.Compare(f, h)
}

// oneSided returns rows without a partner on the other side.
func oneSided(ours, theirs [][]Cell) string {
	if len(ours)+len(theirs) > 10_000 {
		return "" // comparing all pairs would take long
	}
	taken := make([]bool, len(theirs))
	var left []string
	for _, a := range ours {
		found := false
		for i, b := range theirs {
			if !taken[i] && slices.EqualFunc(a, b, equal) {
				taken[i], found = true, true
				break
			}
		}
		if !found && len(left) < 3 {
			left = append(left, "ours "+show(a))
		}
	}
	n := 0
	for i, b := range theirs {
		if !taken[i] && n < 3 {
			n++
			left = append(left, "DuckDB "+show(b))
		}
	}
	if left == nil {
		return ""
	}
	return " " + strings.Join(left, "; ")
}

func show(row []Cell) string {
	all := make([]string, len(row))
	for i, c := range row {
		switch c := c.(type) {
		case *big.Rat:
			all[i] = strings.TrimRight(strings.TrimRight(c.FloatString(20), "0"), ".")
		case string:
			all[i] = strconv.Quote(c)
		default:
			all[i] = fmt.Sprint(c)
		}
	}
	return "(" + strings.Join(all, ", ") + ")"
}
