package exec

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/partials"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/report/internal/bind"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/scan"
	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// Statement is a query with all that its answer depends on besides the files. It travels to the
// workers, which bind it again.
type Statement struct {
	// Text is the query.
	Text string `json:"text"`
	// Tables are the tables that the query names, in order.
	Tables []*scan.Table `json:"tables"`
	// Params are the values of its parameters.
	Params []Param `json:"params,omitempty"`
	// Now is the time of now() and current_date, in microseconds since 1970; 0 if they do not
	// occur.
	Now int64 `json:"now,omitempty"`
	// MaxBad is the number of bad rows of files that are set aside.
	MaxBad int64 `json:"max_bad,omitempty"`
	// SortBy are the numbers of columns that the rows are sorted by, after the order of the query.
	SortBy []int `json:"sort_by,omitempty"`
	// Groups is the number of the candidate whose groups of each file the job returns, in place of
	// the rows of the statement; 0 for those.
	Groups int `json:"groups,omitempty"`
	// Kept are the stored groups of candidates, by number.
	Kept map[int][]partials.Extent `json:"kept,omitempty"`
	// Broadcast is the size in bytes up to which an input of a join is given to all tasks.
	Broadcast int64 `json:"broadcast"`
}

// Param is the value of a parameter.
type Param struct {
	Name  string   `json:"name,omitempty"` // empty for one by position
	Type  vec.Type `json:"type"`
	Value []byte   `json:"value"` // one encoded row
}

// SetTime stores the time of the statement if its query names it. All tasks then have the same
// time, and other statements do not change with it.
func (s *Statement) SetTime(q *sql.Query, now time.Time) {
	sql.Walk(q, func(n sql.Node) bool {
		if c, ok := n.(*sql.Call); ok {
			if _, ok := expr.StatementTime(c.Name, now, 0); ok || c.Name == "age" && len(c.Args) == 1 {
				s.Now = now.UnixMicro()
			}
		}
		return true
	})
}

// values decodes the parameters.
func (s *Statement) values() (bind.Params, error) {
	p := bind.Params{Named: map[string]*expr.Expr{}, Now: time.UnixMicro(s.Now)}
	for _, x := range s.Params {
		b := vec.NewBuilder(x.Type, 1)
		if _, err := vec.DecodeRow(x.Value, []*vec.Builder{b}); err != nil {
			return p, err
		}
		v := b.Done()
		v.Const = true
		c := expr.Const(v, 0)
		if x.Type.Kind == vec.Text && !v.Null(0) {
			c = expr.Text(v.String(0), 0) // as in quotes: a date where a date is expected
		}
		if x.Name != "" {
			p.Named[x.Name] = c
		} else {
			p.Positional = append(p.Positional, c)
		}
	}
	return p, nil
}

// resolved is the catalog of a statement whose tables are known.
type resolved struct {
	tables []*scan.Table
	next   int
}

// Table returns the next table.
func (r *resolved) Table(context.Context, scan.Request) (*scan.Table, error) {
	if r.next >= len(r.tables) {
		return nil, errors.New("the statement names more tables than were resolved; the workers have another version of layshaft than this client")
	}
	r.next++
	return r.tables[r.next-1], nil
}

// Bind returns the operators of the statement.
func (s *Statement) Bind(ctx context.Context) (bind.Node, error) {
	st, err := sql.Parse(s.Text)
	if err != nil {
		return nil, err
	}
	q, ok := st.(*sql.Query)
	if !ok {
		return nil, fmt.Errorf("a %T is no query", st)
	}
	params, err := s.values()
	if err != nil {
		return nil, err
	}
	root, err := bind.Query(ctx, &resolved{tables: s.Tables}, q, params)
	if err != nil {
		return nil, err
	}
	return s.Sorted(root), nil
}

// Sorted sorts the rows of the query by SortBy.
func (s *Statement) Sorted(root bind.Node) bind.Node {
	if len(s.SortBy) == 0 {
		return root
	}
	cols := root.Columns()
	n := &bind.Sort{In: root, Limit: -1}
	for _, i := range s.SortBy {
		n.Keys = append(n.Keys, bind.SortKey{X: keyColumn(cols, i)})
	}
	return n
}

// Report is the pipeline of all statements. Every layshaft binary has it.
var Report = mapreduce.Define(job.ReportPipeline, func(p *mapreduce.Plan, s Statement) mapreduce.Dataset[Block] {
	n, err := s.Bind(context.Background())
	if err != nil {
		return blocks(mapreduce.Read(p, failing{err}))
	}
	x := &plan{p: p, broadcast: s.Broadcast, maxBad: s.MaxBad}
	if s.Groups > 0 || len(s.Kept) > 0 {
		x.kept = map[bind.Node][]partials.Extent{}
		all, _ := s.candidates(n)
		for _, c := range all {
			if kept, ok := s.Kept[c.number]; ok {
				x.kept[c.node] = kept
			}
			if c.number == s.Groups {
				return x.fileGroups(c)
			}
		}
	}
	if l, ok := n.(*bind.Limit); ok && l.N >= 0 {
		n = l.In // the reader of the rows skips and stops; a task needs no more than the first ones
		return blocks(x.first(n, l.N+l.Skip))
	}
	return blocks(x.node(n))
})

// failing is a source that fails.
type failing struct{ err error }

// String names the source.
func (failing) String() string { return "statement" }

func (f failing) Splits(context.Context, int64) ([]connector.Split, error) { return nil, f.err }

// Read returns the error.
func (f failing) Read(context.Context, connector.Split, *connector.Reader[vec.Batch]) error {
	return fatal(f.err)
}

// Run runs the statement, and yields its rows in batches. root is the result of Bind.
func Run(ctx context.Context, t mapreduce.Target, s Statement, root bind.Node) iter.Seq2[*vec.Batch, error] {
	return func(yield func(*vec.Batch, error) bool) {
		skip, left := int64(0), int64(-1)
		if l, ok := root.(*bind.Limit); ok {
			skip, left = l.Skip, l.N
			if l.N < 0 {
				skip = 0 // its operator skips
			}
		}
		cols := root.Columns()
		for block, err := range Report.Run(ctx, t, s) {
			if err != nil {
				yield(nil, err)
				return
			}
			out := builders(cols)
			rest := block.Data
			for range block.N {
				if rest, err = vec.DecodeRow(rest, out); err != nil {
					yield(nil, err)
					return
				}
			}
			b := done(out, block.N)
			if skip >= int64(b.N) && skip > 0 {
				skip -= int64(b.N)
				continue
			}
			if cut := int64(b.N) - skip; skip > 0 || left >= 0 && left < cut {
				if left >= 0 {
					cut = min(cut, left)
				}
				rows := make([]int32, cut)
				for i := range rows {
					rows[i] = int32(skip) + int32(i)
				}
				b, skip = *b.Gather(rows), 0
			}
			if left >= 0 {
				left -= int64(b.N)
			}
			if b.N > 0 && !yield(&b, nil) || left == 0 {
				return
			}
		}
	}
}

// resolving is a catalog that looks at files, and keeps what it finds.
type resolving struct {
	types  map[string]vec.Type
	used   map[string]bool
	tables []*scan.Table
	// stdin returns the path of a file with the standard input.
	stdin func() (string, error)
}

// Table resolves a table.
func (r *resolving) Table(ctx context.Context, q scan.Request) (*scan.Table, error) {
	for i, p := range q.Paths {
		if p != "-" {
			continue
		}
		path, err := r.stdin()
		if err != nil {
			return nil, err
		}
		q.Paths = slices.Clone(q.Paths)
		q.Paths[i] = path
	}
	t, err := scan.Resolve(ctx, q)
	if err != nil {
		return nil, err
	}
	types := maps.Clone(q.Types)
	for name, typ := range r.types {
		for _, c := range t.Columns {
			if strings.EqualFold(c.Name, name) {
				if types == nil {
					types = map[string]vec.Type{}
				}
				types[name], r.used[name] = typ, true
			}
		}
	}
	if len(types) > len(q.Types) {
		q.Types = types
		if t, err = scan.Resolve(ctx, q); err != nil {
			return nil, err
		}
	}
	r.tables = append(r.tables, t)
	return t, nil
}

// Prepare binds the statement, whose query is q, to the files that it names. It returns the
// operators and the tables. types are the types of columns that are not taken from samples, and
// stdin returns the path of a file with the standard input.
func Prepare(ctx context.Context, s Statement, q *sql.Query, types map[string]vec.Type, stdin func() (string, error)) (bind.Node, []*scan.Table, error) {
	params, err := s.values()
	if err != nil {
		return nil, nil, err
	}
	c := &resolving{types: types, used: map[string]bool{}, stdin: stdin}
	root, err := bind.Query(ctx, c, q, params)
	if err != nil {
		return nil, nil, err
	}
	for name := range types {
		if !c.used[name] {
			return nil, nil, fmt.Errorf("a type was given for the column %q, but no table has it", name)
		}
	}
	return root, c.tables, nil
}
