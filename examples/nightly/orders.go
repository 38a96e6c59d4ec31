package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/csvio"
	"github.com/layshaft/layshaft/report"
)

// Order is a row of the input.
type Order struct {
	Customer string
	Amount   int64 `decimal:"2"` // in cents
}

// Total is a row of the result.
type Total struct {
	Customer string
	Amount   int64 `decimal:"2"`
}

// Totals adds up orders by customer.
var Totals = mapreduce.Define("totals", func(p *mapreduce.Plan, paths []string) mapreduce.Dataset[Total] {
	orders := mapreduce.Read(p, csvio.Rows[Order](paths...))
	sums := mapreduce.AggregateBy(orders, func(o Order) string { return o.Customer }, agg.Sum(func(o Order) int64 { return o.Amount }))
	return mapreduce.Map(sums, func(kv mapreduce.KV[string, int64]) Total { return Total{kv.Key, kv.Value} })
})

// writeReport writes the orders by month of their day, as one SELECT over the files.
func writeReport(ctx context.Context, target mapreduce.Target, paths []string, out string) error {
	quoted := make([]string, len(paths))
	for i, p := range paths {
		quoted[i] = "'" + strings.ReplaceAll(p, "'", "''") + "'"
	}
	query := fmt.Sprintf("SELECT date_trunc('month', day)::date AS month, count(*) AS orders, sum(amount) AS amount FROM read_csv([%s]) GROUP BY month ORDER BY month", strings.Join(quoted, ", "))
	rows, err := report.Query(ctx, target, query)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := rows.Write(&text, "csv", report.WriteOptions{}); err != nil {
		return err
	}
	return os.WriteFile(out, text.Bytes(), 0o644)
}
