package bind_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/report/internal/bind"
	"github.com/layshaft/layshaft/report/internal/scan"
	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// catalog has the tables p (products) and o (overrides). No files are behind them.
type catalog struct{}

func (catalog) Table(_ context.Context, r scan.Request) (*scan.Table, error) {
	columns := map[string][]vec.Field{
		"p.csv": {{Name: "sku", Type: vec.Of(vec.Text)}, {Name: "brand", Type: vec.Of(vec.Text)}, {Name: "stock", Type: vec.Of(vec.Int)}, {Name: "price", Type: vec.DecimalOf(12, 2)}},
		"o.csv": {{Name: "sku", Type: vec.Of(vec.Text)}, {Name: "price", Type: vec.DecimalOf(12, 2)}},
	}[r.Paths[0]]
	if columns == nil {
		return nil, fmt.Errorf("no files match %s", r.Paths[0])
	}
	return &scan.Table{Paths: r.Paths, Format: "csv", Files: 1, Bytes: 1000, Columns: columns}, nil
}

func query(t *testing.T, text string) (bind.Node, error) {
	t.Helper()
	s, err := sql.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	q, ok := s.(*sql.Query)
	if !ok {
		t.Fatalf("%s is a %T", text, s)
	}
	return bind.Query(t.Context(), catalog{}, q, bind.Params{})
}

func tree(n bind.Node, depth int) string {
	s := strings.Repeat("  ", depth) + bind.Describe(n) + "\n"
	for _, in := range n.Inputs() {
		s += tree(in, depth+1)
	}
	return s
}

// The operators of a query, with the columns that each table is read for.
func TestTree(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"only the columns in use are read", `SELECT sku FROM 'p.csv'`, `
project sku
  scan p.csv: csv, 1 file, 1000 bytes; columns: sku
`},
		{"a condition on a computed column stays above it", `SELECT brand FROM (SELECT brand, stock + 1 AS more FROM 'p.csv') x WHERE more > 2`, `
project brand
  project brand
    filter (more > 2)
      project brand, (stock + 1) AS more
        scan p.csv: csv, 1 file, 1000 bytes; columns: brand, stock
`},
		{"aggregates leave their expressions", `SELECT brand, sum(stock) + 1 AS n FROM 'p.csv' GROUP BY brand HAVING count(*) > 1`, `
project brand, (sum + 1) AS n
  filter (count > 1)
    aggregate by brand: sum(stock), count()
      scan p.csv: csv, 1 file, 1000 bytes; columns: brand, stock
`},
		{"one aggregate that stands twice runs once", `SELECT sum(stock), sum(stock) * 2 FROM 'p.csv'`, `
project sum AS sum(stock), (sum * 2) AS sum(stock) * 2
  aggregate by none: sum(stock)
    scan p.csv: csv, 1 file, 1000 bytes; columns: stock
`},
		{"conditions of one side go to that side of a join", `SELECT p.sku FROM 'p.csv' p JOIN 'o.csv' o ON p.sku = o.sku WHERE p.stock > 1 AND o.price > 2`, `
project sku
  inner join on sku = sku
    project sku
      filter (stock > 1)
        scan p.csv: csv, 1 file, 1000 bytes; columns: sku, stock
    project sku
      filter (price > 2.00)
        scan o.csv: csv, 1 file, 1000 bytes; columns: sku, price
`},
		{"a condition on the right of a left join stays above", `SELECT p.sku FROM 'p.csv' p LEFT JOIN 'o.csv' o ON p.sku = o.sku WHERE o.price IS NULL`, `
project sku
  filter is null(price)
    left join on sku = sku
      project sku
        scan p.csv: csv, 1 file, 1000 bytes; columns: sku
      project sku, price
        scan o.csv: csv, 1 file, 1000 bytes; columns: sku, price
`},
		{"IN joins and marks rows", `SELECT sku FROM 'p.csv' WHERE sku IN (SELECT sku FROM 'o.csv')`, `
project sku
  filter in
    mark join on sku = sku
      scan p.csv: csv, 1 file, 1000 bytes; columns: sku
      project sku
        scan o.csv: csv, 1 file, 1000 bytes; columns: sku
`},
		{"the first rows are kept without a sort of all", `SELECT sku FROM 'p.csv' ORDER BY price DESC LIMIT 3`, `
limit 3, skip 0
  project sku
    first 3 by order DESC
      project sku, price AS order
        scan p.csv: csv, 1 file, 1000 bytes; columns: sku, price
`},
	} {
		n, err := query(t, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got, want := tree(n, 0), strings.TrimPrefix(c.want, "\n"); got != want {
			t.Errorf("%s: %s\n%swant\n%s", c.name, c.text, got, want)
		}
	}
}

// What does not fit is refused with the name.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`SELECT skuu FROM 'p.csv'`, `there is no column "skuu"; columns are sku, stock, brand, price`},
		{`SELECT sku FROM 'p.csv' p JOIN 'o.csv' o ON p.sku = o.sku`, `column "sku" is ambiguous; write p.sku or o.sku`},
		{`SELECT brand, stock FROM 'p.csv' GROUP BY brand`, `column "stock" is neither in GROUP BY nor inside an aggregate; add it to GROUP BY, or write any_value(stock)`},
		{`SELECT sum(brand) FROM 'p.csv'`, `sum: argument 1 is text, want a number or an interval; cast the argument`},
		{`SELECT sku FROM 'p.csv' WHERE sum(stock) > 1`, `sum: aggregates are not allowed in WHERE; conditions on aggregates belong to HAVING`},
		{`SELECT sum(sum(stock)) FROM 'p.csv'`, `sum: aggregates cannot contain aggregates; aggregate in a subquery first`},
		{`SELECT sku FROM 'p.csv' WHERE stock`, `a condition must be true or false, this is bigint; compare it with something`},
		{`SELECT sku FROM 'p.csv' UNION ALL SELECT sku, price FROM 'o.csv'`, `UNION: the left side has 1 column, the right side 2`},
		{`SELECT sku FROM 'x.csv'`, `no files match x.csv`},
		{`SELECT sku FROM 'p.csv' ORDER BY 2`, `ORDER BY 2: there is no such column; the result has 1 column`},
	} {
		if _, err := query(t, c.text); err == nil || err.Error() != c.want {
			t.Errorf("%s\n%v\nwant\n%s", c.text, err, c.want)
		}
	}
}

// Two bindings of a query give the same tree.
func TestBindingIsRepeatable(t *testing.T) {
	const text = `SELECT p.brand, count(DISTINCT o.sku) AS n, rank() OVER (ORDER BY sum(p.stock)) AS r
		FROM 'p.csv' p LEFT JOIN 'o.csv' o ON p.sku = o.sku WHERE EXISTS (SELECT 1 FROM 'o.csv' x WHERE x.sku = p.sku) GROUP BY p.brand`
	first, err := query(t, text)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, err := query(t, text)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := tree(again, 0), tree(first, 0); got != want {
			t.Fatalf("%swant\n%s", got, want)
		}
	}
}
