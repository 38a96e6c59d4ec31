// Package postgres adds tables of PostgreSQL to the reports of a program. Import it for this
// effect:
//
//	import _ "github.com/layshaft/layshaft/report/postgres"
//
//	SELECT brand, count(*), sum(price) FROM postgres('shop', 'products') WHERE stock > 0 GROUP BY brand
//	SELECT * FROM postgres('shop', 'SELECT id, price::numeric(12,4) FROM products', key => 'id')
//
// Programs without this import contain no code for PostgreSQL; the program layshaft has it. Package
// pgio describes names of databases, secrets, the snapshot that all tables of a report share, and
// the splits. The first argument is the name of a database, the second a table or a query. Further
// arguments are key, connections and statement_timeout, as the methods of pgio.Source.
//
// Types of columns come from the catalogue. Only the columns that the query uses are read, and
// comparisons of a column with a constant are checked by the database.
//
//   - numeric with a precision is a decimal. numeric without one is double; a type such as
//     types => {'price': 'decimal(20,6)'} reads it exactly.
//   - real is double. Enums, uuid, inet and other types without a counterpart are text.
//   - Arrays of one dimension are lists.
package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/arena"
	"github.com/layshaft/layshaft/internal/postgres"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/scan"
	"github.com/layshaft/layshaft/report/internal/vec"
)

func init() { scan.Register(scan.Postgres, tables{}) }

// Define makes this process read the connection string of a database from a file, instead of the
// environment.
func Define(name, file string) error { return postgres.Define(name, file) }

// tables is a scan.Outside.
type tables struct{}

// inputOf returns the input that the options of a table describe.
func inputOf(options map[string]string) (in postgres.Input, err error) {
	in.Connections = postgres.Connections
	for name, value := range options {
		switch name {
		case "database":
			in.Database = value
		case "from":
			in.From = value
		case "key":
			in.Key = value
		case "connections":
			if in.Connections, err = strconv.Atoi(value); err != nil || in.Connections < 2 {
				return in, fmt.Errorf("option connections: %q is not a whole number of 2 or more", value)
			}
		case "statement_timeout":
			if in.Timeout, err = time.ParseDuration(value); err != nil || in.Timeout <= 0 {
				return in, fmt.Errorf("option statement_timeout: %q is not a duration such as '5s'", value)
			}
		case "filename":
		default:
			return in, fmt.Errorf("postgres has no option %s; its options are key, connections and statement_timeout", name)
		}
	}
	return in, nil
}

// Resolve looks a table up.
func (tables) Resolve(ctx context.Context, r scan.Request) ([]vec.Field, int64, error) {
	in, err := inputOf(r.Options)
	if err != nil {
		return nil, 0, err
	}
	relation, err := in.Look(ctx)
	if err != nil {
		return nil, 0, err
	}
	fields := make([]vec.Field, len(relation.Columns))
	for i := range relation.Columns {
		c := &relation.Columns[i]
		fields[i] = vec.Field{Name: c.Name, Type: typeOf(&c.Type)}
	}
	return fields, relation.Bytes, nil
}

// Source returns the source of some columns.
func (tables) Source(t *scan.Table, columns []vec.Field, bounds []scan.Bound) connector.Source[vec.Batch] {
	in, err := inputOf(t.Options)
	return &source{in, t.Paths[0], columns, bounds, err}
}

// typeOf returns the type of a column in a report.
func typeOf(t *postgres.Type) vec.Type {
	switch t.OID {
	case postgres.OIDBool:
		return vec.Of(vec.Bool)
	case postgres.OIDInt2, postgres.OIDInt4, postgres.OIDInt8, postgres.OIDOid:
		return vec.Of(vec.Int)
	case postgres.OIDFloat4, postgres.OIDFloat8:
		return vec.Of(vec.Float)
	case postgres.OIDNumeric:
		// The modifier has the precision, and a scale of 11 bits that may be negative.
		if m := t.Modifier - 4; m >= 0 {
			precision, scale := int(m>>16&0xffff), int(m&0x7ff)
			if precision <= vec.MaxPrecision && scale <= precision {
				return vec.DecimalOf(precision, scale)
			}
		}
		return vec.Of(vec.Float)
	case postgres.OIDBytea:
		return vec.Of(vec.Blob)
	case postgres.OIDJSON, postgres.OIDJSONB:
		return vec.Of(vec.JSON)
	case postgres.OIDDate:
		return vec.Of(vec.Date)
	case postgres.OIDTime:
		return vec.Of(vec.Time)
	case postgres.OIDTimestamp:
		return vec.Of(vec.Timestamp)
	case postgres.OIDTimestamptz:
		return vec.Of(vec.TimestampTZ)
	case postgres.OIDInterval:
		return vec.Of(vec.Interval)
	}
	if t.Elem != nil {
		if elem := typeOf(t.Elem); elem.Kind != vec.Text || t.Elem.IsText() || t.Elem.OID == postgres.OIDUUID {
			return vec.ListOf(elem)
		}
	}
	return vec.Of(vec.Text)
}

// source is a connector.Source of the wanted columns of a table.
type source struct {
	in      postgres.Input
	name    string
	columns []vec.Field
	bounds  []scan.Bound
	err     error // of the options
}

// String returns the table and the wanted columns.
func (s *source) String() string {
	var names []string
	for _, c := range s.columns {
		names = append(names, c.Name)
	}
	return fmt.Sprintf("%s(%s)", s.name, strings.Join(names, ", "))
}

// Budget returns the budget of connections.
func (s *source) Budget() (name string, n, size int) {
	return postgres.Budget(s.in.Database, s.in.Connections)
}

// Splits cuts the table.
func (s *source) Splits(ctx context.Context, target int64) ([]connector.Split, error) {
	if s.err != nil {
		return nil, s.err
	}
	found, err := s.in.Splits(ctx, target, s.choose)
	splits := make([]connector.Split, len(found))
	for i := range found {
		splits[i] = connector.Split(found[i])
	}
	return splits, err
}

// none is the type of a column that only counts rows.
var none = postgres.Type{OID: postgres.OIDBool, Name: "boolean", Kind: 'b', Modifier: -1}

// choose selects the wanted columns.
func (s *source) choose(r *postgres.Relation) (chosen postgres.Selection, err error) {
	for _, want := range s.columns {
		c := r.Column(want.Name)
		if c == nil && want.Name == scan.Filename {
			chosen.List, chosen.Types = append(chosen.List, "NULL::boolean"), append(chosen.Types, none)
			continue
		}
		if c == nil {
			return chosen, fmt.Errorf("the column %q is gone; the columns are %s", want.Name, strings.Join(r.Names(), ", "))
		}
		item := postgres.Ident(c.Name)
		if isCast(want.Type, &c.Type) {
			item = c.Text()
		} else if appenderOf(want.Type, &c.Type, &arena.Arena{}) == nil {
			return chosen, fmt.Errorf("column %s %s cannot be read as %s; cast it in the query", c.Name, c.Type.Name, want.Type)
		}
		chosen.List, chosen.Types = append(chosen.List, item), append(chosen.Types, c.Type)
	}
	if len(chosen.List) == 0 {
		chosen.List, chosen.Types = []string{"NULL::boolean"}, []postgres.Type{none}
	}
	var conditions []string
	for _, b := range s.bounds {
		c := r.Column(s.columns[b.Column].Name)
		if c == nil {
			continue
		}
		if text := condition(c, b); text != "" {
			conditions = append(conditions, text)
		}
	}
	chosen.Where = strings.Join(conditions, " AND ")
	return chosen, nil
}

// condition returns a bound in SQL; empty if the database might decide in another way than the
// report, which checks all rows again.
func condition(c *postgres.Column, b scan.Bound) string {
	name := postgres.Ident(c.Name)
	if b.Op == "is null" || b.Op == "is not null" {
		return name + " " + strings.ToUpper(b.Op)
	}
	switch b.Op {
	case "=", "<>", "<", "<=", ">", ">=":
	default:
		return ""
	}
	if b.Values == nil || b.Values.Null(0) {
		return ""
	}
	text := string(expr.AppendText(nil, b.Values, 0))
	if strings.ContainsRune(text, 0) || strings.EqualFold(text, "nan") {
		return ""
	}
	switch {
	case c.Type.IsInteger(), c.Type.OID == postgres.OIDBool, c.Type.OID == postgres.OIDDate, c.Type.OID == postgres.OIDTimestamp, c.Type.OID == postgres.OIDTimestamptz, c.Type.OID == postgres.OIDFloat8:
	case c.Type.OID == postgres.OIDNumeric && b.Values.Type.Kind == vec.Decimal:
	case c.Type.OID == postgres.OIDText, c.Type.OID == postgres.OIDVarchar:
		name += ` COLLATE "C"` // reports compare bytes
	case c.Type.Kind == 'e':
		return fmt.Sprintf("%s::text COLLATE \"C\" %s %s", name, b.Op, postgres.Literal(text)) // the constant may be no value of the enum
	default:
		return ""
	}
	return fmt.Sprintf("%s %s %s::%s", name, b.Op, postgres.Literal(text), c.Type.Name)
}

// Read emits the batches of a split.
func (s *source) Read(ctx context.Context, sp connector.Split, r *connector.Reader[vec.Batch]) error {
	if s.err != nil {
		return connector.Fatal(s.err)
	}
	r.Path, r.Line = sp.Label, 0
	rd := &reader{s: s, r: r, first: 1}
	err := s.in.Read(ctx, sp.Label, sp.Data, rd.open)
	if err == nil {
		rd.flush()
	}
	if postgres.Permanent(err) {
		return connector.Fatal(err)
	}
	return err
}

// reader collects rows into batches.
type reader struct {
	s       *source
	r       *connector.Reader[vec.Batch]
	appends []appender
	out     []*vec.Builder
	n       int   // rows in out
	first   int64 // number of the first one, from 1
	bytes   int64
}

func (rd *reader) open(types []postgres.Type) (postgres.Row, error) {
	if len(types) != max(len(rd.s.columns), 1) {
		return nil, fmt.Errorf("the split has %s instead of %d: the program that made it is another one", report.Plural(len(types), "column"), len(rd.s.columns))
	}
	keep := &arena.Arena{}
	for i, c := range rd.s.columns {
		a := texts(keep)
		switch {
		case c.Name == scan.Filename && types[i].OID == postgres.OIDBool:
			a = nil
		case !isCast(c.Type, &types[i]):
			if a = appenderOf(c.Type, &types[i], keep); a == nil {
				return nil, fmt.Errorf("column %s %s cannot be read as %s", c.Name, types[i].Name, c.Type)
			}
		}
		rd.appends = append(rd.appends, a)
	}
	rd.begin()
	return rd.row, nil
}

func (rd *reader) begin() {
	rd.out = make([]*vec.Builder, len(rd.s.columns))
	for i, c := range rd.s.columns {
		rd.out[i] = vec.NewBuilder(c.Type, vec.Size)
	}
}

func (rd *reader) row(values [][]byte) (bool, error) {
	for i, a := range rd.appends {
		v := values[i]
		switch {
		case a == nil:
			rd.out[i].AppendString(rd.s.name)
		case v == nil:
			rd.out[i].AppendNull()
		default:
			rd.bytes += int64(len(v))
			if err := a(rd.out[i], v); err != nil {
				return rd.refuse(fmt.Errorf("column %s: %w", rd.s.columns[i].Name, err))
			}
		}
	}
	if rd.n++; rd.n == vec.Size {
		rd.flush()
	}
	return !rd.r.Stopped(), nil
}

// refuse sets the current row aside, or ends the read. Some columns have its values already, so the
// rows before it become a batch of their own.
func (rd *reader) refuse(err error) (bool, error) {
	rd.r.Line = rd.first + int64(rd.n)
	err = &postgres.Error{Database: postgres.Display(rd.s.in.Database), Place: fmt.Sprintf("%s, row %d", rd.r.Path, rd.r.Line), Text: err.Error(), Err: err}
	if err := rd.r.Bad(err, nil); err != nil {
		return false, connector.Fatal(err)
	}
	rd.flush()
	rd.begin()
	rd.r.Add(1, rd.bytes)
	rd.first, rd.bytes = rd.first+1, 0
	return !rd.r.Stopped(), nil
}

// flush emits the rows that are complete.
func (rd *reader) flush() {
	if rd.n == 0 {
		return
	}
	b := vec.Batch{N: rd.n, Cols: make([]*vec.Vec, len(rd.out)), Path: rd.r.Path, Line: rd.first}
	rows := make([]int32, rd.n)
	for i := range rows {
		rows[i] = int32(i)
	}
	for i, x := range rd.out {
		if b.Cols[i] = x.Done(); b.Cols[i].Len != rd.n { // it has a value of a row that was refused
			b.Cols[i] = b.Cols[i].Gather(rows)
		}
	}
	rd.r.Line = rd.first
	rd.r.Add(int64(rd.n), rd.bytes)
	rd.first, rd.n, rd.bytes = rd.first+int64(rd.n), 0, 0
	rd.begin()
	rd.r.Emit(&b)
}
