// Package report answers a SELECT over files: CSV, JSON Lines, Parquet and others, compressed or
// not, on this machine or on a cluster.
//
//	rows, err := report.Query(ctx, mapreduce.Local{}, `
//		SELECT category, count(*) AS n, sum(price * stock) AS value
//		FROM 'catalog/*.jsonl' WHERE rating >= $1
//		GROUP BY category ORDER BY value DESC LIMIT 20`, 4)
//	if err != nil {
//		return err
//	}
//	for row, err := range rows.All() {
//		...
//	}
//
// The statement becomes a plan of built-in operators, so no code of the user travels: on a cluster
// every worker can run it. The same input gives the same bytes every time, sums of floats too, on
// any number of workers.
package report

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report/internal/aggr"
	"github.com/layshaft/layshaft/report/internal/bind"
	"github.com/layshaft/layshaft/report/internal/exec"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// Error is an error in a statement, with its place. Its fields:
//
//	Offset   int     in bytes, from 0
//	Line     int     from 1
//	Column   int     in characters, from 1
//	Message  string  one line: what is wrong, and what was expected
//	Hint     string  one line: the nearest thing that works; may be empty
type Error = sql.Error

// Column is a column of a result.
type Column struct {
	Name string
	// Type is the SQL type, such as decimal(12,2) or text.
	Type string
}

// Statement is a prepared statement: its files were listed and its types resolved.
type Statement struct {
	s      exec.Statement
	root   bind.Node
	target mapreduce.Target
	// stdin is the standard input, and spooled the file with its copy.
	stdin   io.Reader
	spooled string
	// table is the result of a statement about a query; nil for a query.
	table *textTable
	keep  exec.Keep // without a Dir, nothing is kept
}

// Options change how a statement is prepared. The zero value is the default.
type Options struct {
	// Types are the types of columns, by name, in place of the types suggested by samples: a type
	// as SQL writes it, such as decimal(12,2).
	Types map[string]string
	// MaxBad is the number of malformed rows that are set aside. Zero means that the first one is
	// an error.
	MaxBad int64
	// Stdin is what the path - in FROM reads. It is copied to a temporary file. Nil refuses the
	// path.
	Stdin io.Reader
	// State is a directory that keeps partial aggregates of files. A later run of the same
	// statement reads only files that changed, and has the same result as a run without State.
	// Statements without an aggregate of files, or with one that depends on the order of rows, read
	// everything; see Statement.State. Empty keeps nothing.
	State string
	// StateSize is the number of bytes that State may take. After a run, the parts that were used
	// longest ago are removed beyond that. Zero means 10 GiB, negative no limit.
	StateSize int64
}

// Prepare parses a statement, looks at samples of its files, and resolves names and types. args are
// the values of the parameters $1, $2 or ?, or of named ones; see [Named]. An error of the
// statement is an [*Error]. now() and current_date are the time of Prepare, in UTC. Each run lists
// the files again, but keeps the columns.
func Prepare(ctx context.Context, t mapreduce.Target, text string, args ...any) (*Statement, error) {
	return Options{}.Prepare(ctx, t, text, args...)
}

// defaultBroadcast is the size of files up to which an input of a join is given to all tasks. Tests
// change it.
var defaultBroadcast = int64(64 << 20)

// defaultStateSize is the default of Options.StateSize.
const defaultStateSize = 10 << 30

// Prepare is the function Prepare with options.
func (o Options) Prepare(ctx context.Context, t mapreduce.Target, text string, args ...any) (*Statement, error) {
	types := map[string]vec.Type{}
	for name, t := range o.Types {
		var err error
		if types[name], err = bind.ParseType(t); err != nil {
			return nil, fmt.Errorf("type of column %s: %w", name, err)
		}
	}
	params, err := encodeParams(args)
	if err != nil {
		return nil, err
	}
	if o.State != "" { // also for a statement that makes no use of it
		if err := exec.CheckKeep(o.State); err != nil {
			return nil, err
		}
	}
	keep := exec.Keep{Dir: o.State, Size: cmp.Or(o.StateSize, defaultStateSize)}
	s := &Statement{target: t, stdin: o.Stdin, keep: keep, s: exec.Statement{Text: text, Params: params, MaxBad: o.MaxBad, Broadcast: defaultBroadcast}}
	err = mapreduce.WithFiles(ctx, t, func(ctx context.Context) error { return s.bind(ctx, types) })
	if err != nil {
		s.Close()
		return nil, located(text, err)
	}
	return s, nil
}

// Close removes the temporary copy of the standard input, if the statement has one.
func (s *Statement) Close() {
	if s.spooled != "" {
		_ = os.Remove(s.spooled) // the system removes temporary files, too
	}
}

// spool copies the standard input to a file once, and returns its path.
func (s *Statement) spool() (path string, err error) {
	switch {
	case s.spooled != "":
		return s.spooled, nil
	case s.stdin == nil:
		return "", errors.New("standard input is not available here; name a file")
	}
	f, err := os.CreateTemp("", "layshaft-stdin-")
	if err != nil {
		return "", err
	}
	s.spooled = f.Name()
	_, err = io.Copy(f, s.stdin)
	return s.spooled, errors.Join(err, f.Close())
}

// bind parses and binds the statement.
func (s *Statement) bind(ctx context.Context, types map[string]vec.Type) error {
	st, err := sql.Parse(s.s.Text)
	if err != nil {
		return err
	}
	var q *sql.Query
	switch st := st.(type) {
	case *sql.Query:
		q = st
	case *sql.Copy:
		q = st.Query
	case *sql.Describe:
		q = st.Query
	case *sql.Explain:
		if st.Analyze {
			return sql.NewError(s.s.Text, st.Offset, "EXPLAIN ANALYZE is not supported", "EXPLAIN shows the operators, and layshaft report -explain the stages")
		}
		q = st.Query
	case *sql.Summarize:
		q = st.Query
	}
	s.s.SetTime(q, time.Now())
	if s.root, s.s.Tables, err = exec.Prepare(ctx, s.s, q, types, s.spool); err != nil {
		return err
	}
	switch st := st.(type) {
	case *sql.Describe:
		s.table = describe(s.root)
	case *sql.Explain:
		s.table = explain(s.root)
	case *sql.Summarize:
		cols := s.root.Columns()
		s.s.Text = summaryOf(q, cols)
		parsed, err := sql.Parse(s.s.Text)
		if err != nil {
			return err
		}
		if s.root, s.s.Tables, err = exec.Prepare(ctx, s.s, parsed.(*sql.Query), types, s.spool); err != nil {
			return err
		}
		s.table = summarize(s, cols)
	case *sql.Copy:
		c, err := checkCopy(s.s.Text, st, s.queryFields())
		if err != nil {
			return err
		}
		for _, t := range s.s.Tables {
			if isInput(t.Paths, st.Path, len(c.columns) > 0) {
				return sql.NewError(s.s.Text, st.Offset, fmt.Sprintf("COPY would replace %s, which the query reads", st.Path), "write to another place")
			}
		}
		s.table = s.copyTo(c)
		s.s.Text = sql.Format(q)
		s.s.SortBy = c.columns
		s.root = s.s.Sorted(s.root)
	}
	return nil
}

// located returns an error of the statement with its place.
func located(text string, err error) error {
	var ofSQL *sql.Error
	var ofBind *bind.Error
	var ofExpr *expr.Error
	var ofAggr *aggr.Error
	switch {
	case errors.As(err, &ofSQL):
		return sql.NewError(text, ofSQL.Offset, ofSQL.Message, ofSQL.Hint)
	case errors.As(err, &ofBind):
		return sql.NewError(text, ofBind.Offset, ofBind.Message, ofBind.Hint)
	case errors.As(err, &ofExpr):
		return sql.NewError(text, ofExpr.Offset, ofExpr.Message, "")
	case errors.As(err, &ofAggr):
		return sql.NewError(text, ofAggr.Offset, ofAggr.Message, ofAggr.Hint)
	}
	return err
}

// fields returns the columns of the result.
func (s *Statement) fields() []vec.Field {
	if s.table != nil {
		return s.table.fields()
	}
	return s.queryFields()
}

// queryFields returns the columns of the query.
func (s *Statement) queryFields() (fields []vec.Field) {
	for _, c := range s.root.Columns() {
		fields = append(fields, vec.Field{Name: c.Name, Type: c.Type})
	}
	return fields
}

// Columns returns the columns of the result.
func (s *Statement) Columns() []Column {
	var out []Column
	for _, f := range s.fields() {
		out = append(out, Column{f.Name, f.Type.String()})
	}
	return out
}

// Tables returns one line for each table of the statement: its files, format, size and columns.
func (s *Statement) Tables() []string {
	var lines []string
	for _, t := range s.s.Tables {
		lines = append(lines, t.Describe())
	}
	return lines
}

// Inputs lists the files that a run would read now, each with a text that differs after a change. A
// program can run the statement again when they differ. Tables that are no files are left out.
func (s *Statement) Inputs(ctx context.Context) (map[string]string, error) {
	all := map[string]string{}
	err := mapreduce.WithFiles(ctx, s.target, func(ctx context.Context) error {
		for _, t := range s.s.Tables {
			stamps, err := t.Stamps(ctx)
			if err != nil {
				return err
			}
			maps.Copy(all, stamps)
		}
		return nil
	})
	return all, err
}

// Rows are the rows of a result. They can be read once.
type Rows struct {
	columns []Column
	fields  []vec.Field
	text    string
	batches iter.Seq2[*vec.Batch, error]
}

// Run runs the statement. Rows arrive while it runs; the end of ctx, and the end of reading, end
// the run.
func (s *Statement) Run(ctx context.Context) *Rows {
	r := &Rows{columns: s.Columns(), fields: s.fields(), text: s.s.Text}
	if s.table != nil {
		r.batches = s.table.batches(ctx)
	} else {
		r.batches = s.run(ctx)
	}
	return r
}

// run runs the query of the statement.
func (s *Statement) run(ctx context.Context) iter.Seq2[*vec.Batch, error] {
	if s.keep.Dir == "" {
		return exec.Run(ctx, s.target, s.s, s.root)
	}
	return exec.RunKept(ctx, s.target, s.s, s.root, s.keep)
}

// State returns lines that show what a run would take from Options.State and what it would read, or
// why it reads everything. There are none without that option.
func (s *Statement) State(ctx context.Context) ([]string, error) {
	if s.keep.Dir == "" {
		return nil, nil
	}
	return exec.Explain(ctx, s.target, s.s, s.root, s.keep)
}

// Reads returns lines that show what a run would read: the files, the columns of the query, and the
// row groups of Parquet that statistics do not exclude.
func (s *Statement) Reads(ctx context.Context) (lines []string, err error) {
	err = mapreduce.WithFiles(ctx, s.target, func(ctx context.Context) error {
		lines, err = reads(ctx, s.root)
		return err
	})
	return lines, err
}

// reads returns the lines of the scans below a node.
func reads(ctx context.Context, n bind.Node) (lines []string, err error) {
	if x, ok := n.(*bind.Scan); ok {
		fields := make([]vec.Field, len(x.Cols))
		for i, c := range x.Cols {
			fields[i] = vec.Field{Name: c.Name, Type: c.Type}
		}
		line, err := x.Table.Reads(ctx, fields, x.Bounds, x.Extremes)
		return []string{line}, err
	}
	for _, in := range n.Inputs() {
		more, err := reads(ctx, in)
		if err != nil {
			return nil, err
		}
		lines = append(lines, more...)
	}
	return lines, nil
}

// Query prepares a statement and runs it.
func Query(ctx context.Context, t mapreduce.Target, text string, args ...any) (*Rows, error) {
	s, err := Prepare(ctx, t, text, args...)
	if err != nil {
		return nil, err
	}
	return s.Run(ctx), nil // without Stdin, there is nothing to close
}

// Columns returns the columns of the rows.
func (r *Rows) Columns() []Column { return r.columns }
