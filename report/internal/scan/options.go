package scan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// common takes the options of all formats out of r: those with types, and those that ask for
// what is always so. It returns the columns that the option columns declares.
func (r *Request) common() (declared []vec.Field, err error) {
	options, types := map[string]string{}, map[string]vec.Type{}
	for name, value := range r.Options {
		name = strings.ToLower(name)
		switch name {
		case "types", "dtypes", "column_types", "columns":
			if !strings.Contains(value, "=") && name == "columns" {
				options["names"] = value
				continue
			}
			fields, err := parseFields(value)
			if err != nil {
				return nil, fmt.Errorf("option %s: %w", name, err)
			}
			var names []string
			for _, f := range fields {
				types[f.Name] = f.Type
				names = append(names, f.Name)
			}
			if name == "columns" {
				declared, options["names"] = fields, strings.Join(names, ",")
			}
		case "union_by_name", "filename", "auto_detect", "hive_partitioning":
			r.flat = r.flat || name == "hive_partitioning" && (value == "false" || value == "0")
			if value != "true" && value != "false" && value != "1" && value != "0" {
				return nil, fmt.Errorf("option %s: %q is not true or false", name, value)
			}
		case "sample_size":
			if r.Sample, err = strconv.Atoi(value); err != nil || r.Sample < -1 {
				return nil, fmt.Errorf("option sample_size: %q is not a number of rows", value)
			}
			if r.Sample < 0 {
				r.Sample = 1 << 30
			}
		case "ignore_errors":
			return nil, fmt.Errorf("option ignore_errors: set bad records aside with -bad N")
		default:
			options[name] = value
		}
	}
	for name, t := range r.Types {
		types[name] = t
	}
	r.Options, r.Types = options, types
	if len(options) == 0 {
		r.Options = nil
	}
	return declared, nil
}

// parseFields parses names and types, such as sku=text,price=decimal(12,2).
func parseFields(s string) (fields []vec.Field, err error) {
	for rest := s; strings.TrimSpace(rest) != ""; {
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			return nil, fmt.Errorf("%q has no type; write name=type", rest)
		}
		end, depth := 0, 0
		for ; end < len(after) && (after[end] != ',' || depth > 0); end++ {
			switch after[end] {
			case '(':
				depth++
			case ')':
				depth--
			}
		}
		typ, err := parseType(after[:end])
		if err != nil {
			return nil, err
		}
		fields = append(fields, vec.Field{Name: strings.TrimSpace(name), Type: typ})
		rest = strings.TrimPrefix(after[end:], ",")
	}
	return fields, nil
}

// typeNames are the names of types, in SQL and in DuckDB.
var typeNames = map[string]vec.Kind{
	"boolean": vec.Bool, "bool": vec.Bool, "bigint": vec.Int, "int": vec.Int, "integer": vec.Int, "smallint": vec.Int, "tinyint": vec.Int,
	"int8": vec.Int, "int4": vec.Int, "int2": vec.Int, "long": vec.Int, "double": vec.Float, "float": vec.Float, "real": vec.Float,
	"double precision": vec.Float, "float8": vec.Float, "float4": vec.Float, "text": vec.Text, "varchar": vec.Text, "string": vec.Text,
	"char": vec.Text, "bpchar": vec.Text, "blob": vec.Blob, "bytea": vec.Blob, "json": vec.JSON, "jsonb": vec.JSON, "date": vec.Date,
	"time": vec.Time, "timestamp": vec.Timestamp, "datetime": vec.Timestamp, "timestamp without time zone": vec.Timestamp,
	"timestamptz": vec.TimestampTZ, "timestamp with time zone": vec.TimestampTZ, "interval": vec.Interval,
}

// parseType parses a type such as bigint, decimal(12,2) or text[].
func parseType(s string) (vec.Type, error) {
	name := strings.ToLower(strings.Join(strings.Fields(s), " "))
	if elem, ok := strings.CutSuffix(name, "[]"); ok {
		t, err := parseType(elem)
		return vec.ListOf(t), err
	}
	base, params, hasParams := strings.Cut(strings.TrimSuffix(name, ")"), "(")
	switch base = strings.TrimSpace(base); base {
	case "decimal", "numeric", "dec":
		precision, scale := 18, 3
		if hasParams {
			p, sc, two := strings.Cut(params, ",")
			var err1, err2 error
			precision, err1 = strconv.Atoi(strings.TrimSpace(p))
			if scale = 0; two {
				scale, err2 = strconv.Atoi(strings.TrimSpace(sc))
			}
			if err1 != nil || err2 != nil || precision < 1 || precision > vec.MaxPrecision || scale < 0 || scale > precision {
				return vec.Type{}, fmt.Errorf("%s is not a decimal of up to %d digits", s, vec.MaxPrecision)
			}
		}
		return vec.DecimalOf(precision, scale), nil
	case "hugeint":
		return vec.HugeInt, nil
	}
	if k, ok := typeNames[base]; ok && (!hasParams || k == vec.Text || k == vec.Timestamp) {
		return vec.Of(k), nil
	}
	var known []string
	for n := range typeNames {
		known = append(known, n)
	}
	slices.Sort(known)
	return vec.Type{}, fmt.Errorf("there is no type %s; near are %s", strings.TrimSpace(s), strings.Join(nearest(base, known)[:3], ", "))
}
