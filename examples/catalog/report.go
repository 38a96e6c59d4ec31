package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report"
)

// statements are the report on the listings, in SQL. $1 is the length of the top lists. The same
// statements run at a terminal: layshaft report "SELECT … FROM 'listings' …".
var statements = []struct{ title, text string }{
	{"Categories", `
		SELECT category, count(*) AS products, count(DISTINCT brand) AS brands, sum(price * stock) AS revenue,
			approx_quantile(price, 0.5)::decimal(12, 2) AS median, approx_quantile(price, 0.9)::decimal(12, 2) AS p90
		FROM 'LISTINGS' GROUP BY category ORDER BY revenue DESC`},
	{"Brands", `
		SELECT brand, count(*) AS products, count(DISTINCT category) AS categories, sum(price * stock) AS revenue,
			approx_quantile(price, 0.5)::decimal(12, 2) AS median, arg_max(title, price * stock) AS best
		FROM 'LISTINGS' GROUP BY brand ORDER BY revenue DESC LIMIT $1`},
	{"Products", `
		SELECT title, sku, category, price * stock AS revenue, price, stock
		FROM 'LISTINGS' ORDER BY revenue DESC LIMIT $1`},
}

// ask runs a statement of the report on the listings in a directory.
func ask(ctx context.Context, target mapreduce.Target, text, listings string, top int) (*report.Rows, error) {
	text = strings.ReplaceAll(text, "LISTINGS", strings.ReplaceAll(listings, "'", "''"))
	if strings.Contains(text, "$1") {
		return report.Query(ctx, target, text, top)
	}
	return report.Query(ctx, target, text)
}

// printReport prints the report on the listings in a directory.
func printReport(ctx context.Context, w io.Writer, target mapreduce.Target, listings string, top int) error {
	for _, part := range statements {
		rows, err := ask(ctx, target, part.text, listings, top)
		if err != nil {
			return err
		}
		fmt.Fprintln(w, part.title)
		if err := rows.Write(w, "table", report.WriteOptions{}); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	return nil
}

// run runs the pipeline, and prints the report on its listings.
func run(ctx context.Context, w io.Writer, target mapreduce.Target, in Params, top int) error {
	if _, err := Catalog.Collect(ctx, target, in); err != nil || mapreduce.Explains(target) {
		return err
	}
	if err := printReport(ctx, w, target, in.Out, top); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "listings in %s\n", in.Out)
	return err
}
