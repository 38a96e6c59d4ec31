package expr

import (
	"fmt"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// A schema binds names to columns, so that tests can write expressions as SQL.
type schema map[string]*Expr

// parse binds an expression.
func (s schema) parse(t testing.TB, text string) (*Expr, error) {
	x, err := sql.ParseExpr(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s.bind(x)
}

func (s schema) all(list ...sql.Expr) ([]*Expr, error) {
	var out []*Expr
	for _, x := range list {
		e, err := s.bind(x)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func (s schema) call(n sql.Node, name string, list ...sql.Expr) (*Expr, error) {
	args, err := s.all(list...)
	if err != nil {
		return nil, err
	}
	return Call(name, args, n.At())
}

func typeOf(t *sql.Type) (vec.Type, error) {
	var typ vec.Type
	var err error
	switch t.Name {
	case "struct":
		typ.Kind = vec.Struct
		for _, f := range t.Fields {
			ft, err := typeOf(f.Type)
			if err != nil {
				return typ, err
			}
			typ.Fields = append(typ.Fields, vec.Field{Name: f.Name.Name, Type: ft})
		}
	case "map":
		k, _ := typeOf(t.Fields[0].Type)
		v, _ := typeOf(t.Fields[1].Type)
		typ = vec.MapOf(k, v)
	default:
		typ, err = TypeByName(t.Name, t.Args)
	}
	for range t.Dims {
		typ = vec.ListOf(typ)
	}
	return typ, err
}

func (s schema) bind(x sql.Expr) (*Expr, error) {
	switch x := x.(type) {
	case *sql.Number:
		return ParseNumber(x.Text, x.Offset)
	case *sql.String:
		return Text(x.Value, x.Offset), nil
	case *sql.Bool:
		return Bool(x.Value, x.Offset), nil
	case *sql.Null:
		return Null(x.Offset), nil
	case *sql.Typed:
		typ, err := typeOf(x.Type)
		if err != nil {
			return nil, err
		}
		return Cast(Text(x.Value, x.Offset), typ, false, x.Offset)
	case *sql.Interval:
		if x.Unit == "" {
			e, _ := s.bind(x.X)
			return Cast(e, vec.Of(vec.Interval), false, x.Offset)
		}
		return s.call(x, "to_"+x.Unit+"s", x.X)
	case *sql.Array:
		return s.call(x, "list_value", x.Items...)
	case *sql.Struct:
		var args []*Expr
		for _, f := range x.Fields {
			e, err := s.bind(f.X)
			if err != nil {
				return nil, err
			}
			args = append(args, Text(f.Name, 0), e)
		}
		return Call("struct_pack", args, x.Offset)
	case *sql.Column:
		e := s[x.Parts[0].Name]
		if e == nil {
			return nil, fmt.Errorf("no column %s", x.Parts[0].Name)
		}
		for _, p := range x.Parts[1:] {
			var err error
			if e, err = Field(e, p.Name, p.Offset); err != nil {
				return nil, err
			}
		}
		return e, nil
	case *sql.Unary:
		return s.call(x, string(x.Op), x.X)
	case *sql.Binary:
		return s.call(x, string(x.Op), x.L, x.R)
	case *sql.Logical:
		return s.call(x, string(x.Op), x.Args...)
	case *sql.Like:
		name := string(x.Kind)
		if x.Not {
			name = "not " + name
		}
		args := []sql.Expr{x.X, x.Pattern}
		if x.Escape != nil {
			args = append(args, x.Escape)
		}
		return s.call(x, name, args...)
	case *sql.Between:
		name := "between"
		if x.Symmetric {
			name += " symmetric"
		}
		if x.Not {
			name = "not " + name
		}
		return s.call(x, name, x.X, x.Low, x.High)
	case *sql.In:
		list, err := s.all(x.List...)
		if err != nil {
			return nil, err
		}
		e, err := s.bind(x.X)
		if err != nil {
			return nil, err
		}
		return In(e, list, x.Not, x.Offset)
	case *sql.Is:
		name := "is "
		if x.Not {
			name += "not "
		}
		return s.call(x, name+strings.ToLower(string(x.Kind)), x.X)
	case *sql.Quantified:
		name := string(x.Op) + " any"
		if x.All {
			name = string(x.Op) + " all"
		}
		return s.call(x, name, x.X, x.Array)
	case *sql.Case:
		var whens, thens []*Expr
		for _, w := range x.Whens {
			cond := w.Cond
			if x.Operand != nil {
				cond = &sql.Binary{Pos: w.Pos, Op: sql.Eq, L: x.Operand, R: w.Cond}
			}
			pair, err := s.all(cond, w.Then)
			if err != nil {
				return nil, err
			}
			whens, thens = append(whens, pair[0]), append(thens, pair[1])
		}
		var otherwise *Expr
		if x.Else != nil {
			var err error
			if otherwise, err = s.bind(x.Else); err != nil {
				return nil, err
			}
		}
		return Case(whens, thens, otherwise, x.Offset)
	case *sql.Cast:
		e, err := s.bind(x.X)
		if err != nil {
			return nil, err
		}
		typ, err := typeOf(x.Type)
		if err != nil {
			return nil, err
		}
		return Cast(e, typ, x.Try, x.Offset)
	case *sql.Call:
		var args []sql.Expr
		for _, a := range x.Args {
			args = append(args, a.X)
		}
		return s.call(x, x.Name, args...)
	case *sql.Index:
		return s.call(x, "list_extract", x.X, x.I)
	case *sql.Slice:
		from, to := sql.Expr(&sql.Null{}), sql.Expr(&sql.Null{})
		if x.From != nil {
			from = x.From
		}
		if x.To != nil {
			to = x.To
		}
		return s.call(x, "list_slice", x.X, from, to)
	case *sql.Field:
		e, err := s.bind(x.X)
		if err != nil {
			return nil, err
		}
		return Field(e, x.Name.Name, x.Offset)
	}
	return nil, fmt.Errorf("%T is not supported", x)
}
