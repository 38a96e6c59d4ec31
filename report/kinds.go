package report

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/layshaft/layshaft/report/internal/bind"
	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// DESCRIBE, EXPLAIN and SUMMARIZE return rows about a query. The first two run nothing; SUMMARIZE
// runs another query, and turns its only row into a row for each column.

// textTable is a result of texts.
type textTable struct {
	names []string
	rows  func(ctx context.Context) ([][]string, error)
}

// fields returns the columns.
func (t *textTable) fields() []vec.Field {
	fields := make([]vec.Field, len(t.names))
	for i, n := range t.names {
		fields[i] = vec.Field{Name: n, Type: vec.Of(vec.Text)}
	}
	return fields
}

// null stands for NULL in a textTable.
const null = "\x00"

// batches yields the rows.
func (t *textTable) batches(ctx context.Context) iter.Seq2[*vec.Batch, error] {
	return func(yield func(*vec.Batch, error) bool) {
		rows, err := t.rows(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		b := &vec.Batch{N: len(rows)}
		for c := range t.names {
			out := vec.NewBuilder(vec.Of(vec.Text), len(rows))
			for _, row := range rows {
				if row[c] == null {
					out.AppendNull()
				} else {
					out.AppendString(row[c])
				}
			}
			b.Cols = append(b.Cols, out.Done())
		}
		yield(b, nil)
	}
}

// fixed returns rows that are known.
func fixed(rows [][]string) func(context.Context) ([][]string, error) {
	return func(context.Context) ([][]string, error) { return rows, nil }
}

// describe lists the columns of a query.
func describe(root bind.Node) *textTable {
	var rows [][]string
	for _, c := range root.Columns() {
		rows = append(rows, []string{c.Name, c.Type.String()})
	}
	return &textTable{[]string{"column_name", "column_type"}, fixed(rows)}
}

// explain shows the operators of a query, the last one to run first.
func explain(root bind.Node) *textTable {
	var rows [][]string
	var walk func(n bind.Node, depth int)
	walk = func(n bind.Node, depth int) {
		rows = append(rows, []string{strings.Repeat("  ", depth) + bind.Describe(n)})
		for _, in := range n.Inputs() {
			walk(in, depth+1)
		}
	}
	walk(root, 0)
	return &textTable{[]string{"plan"}, fixed(rows)}
}

// summaries are the values that SUMMARIZE computes of a column: the name, the expression with %s
// for the column, and whether it needs a number.
var summaries = []struct {
	name, text string
	number     bool
}{
	{"min", "min(%s)", false}, {"max", "max(%s)", false}, {"approx_unique", "approx_count_distinct(%s)", false},
	{"avg", "avg(%s)", true}, {"std", "stddev(%s)", true},
	{"q25", "approx_quantile(%s, 0.25)", true}, {"q50", "approx_quantile(%s, 0.5)", true}, {"q75", "approx_quantile(%s, 0.75)", true},
	{"count", "count(%s)", false},
}

// summaryOf returns the query that computes the values of SUMMARIZE for a query with columns.
func summaryOf(q *sql.Query, cols []bind.Column) string {
	items := []string{"count(*)"}
	for i, c := range cols {
		name := fmt.Sprintf("c%d", i)
		for _, s := range summaries {
			if s.number && !c.Type.IsNumber() || c.Type.Kind >= vec.List && s.name != "count" {
				items = append(items, "NULL")
				continue
			}
			items = append(items, fmt.Sprintf("CAST("+s.text+" AS text)", name))
		}
	}
	names := make([]string, len(cols))
	for i := range cols {
		names[i] = fmt.Sprintf("c%d", i)
	}
	return fmt.Sprintf("SELECT %s FROM (%s) AS t(%s)", strings.Join(items, ", "), sql.Format(q), strings.Join(names, ", "))
}

// summarize returns the rows of SUMMARIZE. s is the prepared summaryOf.
func summarize(s *Statement, cols []bind.Column) *textTable {
	names := []string{"column_name", "column_type"}
	for _, x := range summaries {
		names = append(names, x.name)
	}
	return &textTable{append(names, "null_percentage"), func(ctx context.Context) (rows [][]string, err error) {
		for b, err := range s.run(ctx) {
			if err != nil {
				return nil, err
			}
			total := b.Cols[0].Ints[0]
			for i, c := range cols {
				row := []string{c.Name, c.Type.String()}
				for j := range summaries {
					v := b.Cols[1+i*len(summaries)+j]
					if v.Null(0) {
						row = append(row, null)
					} else {
						row = append(row, v.String(0))
					}
				}
				share := 0.0
				count := int64(0)
				if _, err := fmt.Sscan(row[len(row)-1], &count); err == nil && total > 0 {
					share = 100 * float64(total-count) / float64(total)
				}
				rows = append(rows, append(row, fmt.Sprintf("%.2f", share)))
			}
		}
		return rows, nil
	}}
}
