package scan

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/internal/spelling"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// common takes the options of all formats out of r: options with types, and options that state a
// default. It returns the columns that the option columns declares.
func (r *Request) common() (declared []vec.Field, err error) {
	options, types := map[string]string{}, map[string]vec.Type{}
	isDeclared := false // by names in columns, and types beside them
	for name, value := range r.Options {
		name = strings.ToLower(name)
		switch name {
		case "types", "dtypes", "column_types", "columns":
			if !strings.Contains(value, "=") && name == "columns" {
				options["columns"], isDeclared = value, true
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
				declared, options["columns"] = fields, strings.Join(names, ",")
			}
		case "filename", "hive_partitioning", "union_by_name", "auto_detect", "ignore_errors":
			on, err := isTrue(name, value)
			switch {
			case err != nil:
				return nil, err
			case name == "hive_partitioning":
				r.flat = !on
			case name == "union_by_name" && !on:
				return nil, errors.New("option union_by_name: columns are always matched by name; rename those of one file with the option names, in a query of its own")
			case name == "auto_detect" && !on:
				return nil, errors.New("option auto_detect: what no option gives is always found out; give delim, quote, header and columns")
			case name == "ignore_errors" && on:
				return nil, errors.New("option ignore_errors: set bad records aside with -bad N")
			}
		case "encoding":
			r.encoding = value
		case "sample_size":
			if r.Sample, err = strconv.Atoi(value); err != nil || r.Sample < -1 {
				return nil, fmt.Errorf("option sample_size: %q is not a number of rows", value)
			}
			if r.Sample < 0 {
				r.Sample = 1 << 30
			}
		case "compression":
			if value != "auto" && value != "auto_detect" {
				return nil, errors.New("option compression: the first bytes of the files show it; leave the option out")
			}
		default:
			options[name] = value
		}
	}
	for name, t := range r.Types {
		types[name] = t
	}
	if names := options["columns"]; isDeclared && declared == nil && len(types) > 0 {
		for name := range strings.SplitSeq(names, ",") {
			t, ok := types[name]
			if !ok {
				return nil, fmt.Errorf("option columns: column %q has no type; write columns={'%s': 'text'}", name, name)
			}
			declared = append(declared, vec.Field{Name: name, Type: t})
		}
	}
	r.Options, r.Types = options, types
	if len(options) == 0 {
		r.Options = nil
	}
	return declared, nil
}

// isTrue parses the value of an option that is on or off.
func isTrue(name, value string) (bool, error) {
	on, err := strconv.ParseBool(strings.ToLower(value))
	if err != nil {
		return false, fmt.Errorf("option %s: %q is not true or false", name, value)
	}
	return on, nil
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
	return vec.Type{}, fmt.Errorf("there is no type %s; near are %s", strings.TrimSpace(s), strings.Join(spelling.Sort(base, known)[:3], ", "))
}
