package main

import (
	"bufio"
	"context"
	_ "embed"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/layshaft/layshaft/mapreduce/pgio"
)

//go:embed schema.sql
var schema string

// load makes the tables of schema.sql and fills them with n products, in one transaction. The
// database must not have the tables yet. The products come from Generate, but each has its own
// SKU.
func load(ctx context.Context, name string, n int64, seed uint64) error {
	c, err := pgio.Connect(ctx, name)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.Background()) }() // without a commit, nothing has happened
	tables, rest, _ := strings.Cut(schema, "-- The data is loaded here.")
	if _, err := c.Exec(ctx, "BEGIN;"+tables).ReadAll(); err != nil {
		return fmt.Errorf("make the tables; use an empty database: %w", err)
	}
	brands, brandIDs := allBrands()
	categories, categoryIDs := allCategories()
	for _, t := range []struct {
		table string
		rows  int64
		write func(w io.Writer, i int64)
	}{
		{"brands (id, name)", int64(len(brands)), func(w io.Writer, i int64) { fmt.Fprintf(w, "%d\t%s\n", i+1, brands[i]) }},
		{"categories (id, parent, name)", int64(len(categories)), func(w io.Writer, i int64) { fmt.Fprintf(w, "%d\t%s\n", i+1, categories[i]) }},
		{"products (id, sku, title, brand_id, category_id, rating, updated_at)", n, func(w io.Writer, i int64) {
			x := product(seed, i)
			brand := `\N`
			if x.Brand != "" {
				brand = fmt.Sprint(brandIDs[x.Brand])
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%.1f\t%s\n", x.ID, productSKU(i), x.Title, brand, categoryIDs[x.Category], x.Rating, x.UpdatedAt.Format("2006-01-02 15:04:05Z"))
		}},
		{"prices (product_id, market, price, currency)", n, func(w io.Writer, i int64) {
			x := product(seed, i)
			if i%40 != 7 { // not sold in Germany
				fmt.Fprintf(w, "%d\tDE\t%v\t%s\n", x.ID, x.Price, x.Currency)
			}
			if i%2 == 0 {
				fmt.Fprintf(w, "%d\tAT\t%v\t%s\n", x.ID, x.Price+100, x.Currency)
			}
			if i%3 == 0 {
				fmt.Fprintf(w, "%d\tGB\t%v\tGBP\n", x.ID, x.Price)
			}
		}},
		{"stock (product_id, store, quantity)", n, func(w io.Writer, i int64) {
			x := product(seed, i)
			first := x.Stock / 2
			fmt.Fprintf(w, "%d\t1\t%d\n%d\t2\t%d\n", x.ID, first, x.ID, x.Stock-first)
		}},
		{"attributes (product_id, name, value)", n, func(w io.Writer, i int64) {
			x := product(seed, i)
			for _, name := range slices.Sorted(maps.Keys(x.Attributes)) {
				fmt.Fprintf(w, "%d\t%s\t%s\n", x.ID, name, x.Attributes[name])
			}
		}},
		{"images (product_id, position, url)", n, func(w io.Writer, i int64) {
			for k := range 1 + i%3 {
				fmt.Fprintf(w, "%d\t%d\thttps://images.example/%s-%d.jpg\n", i+1, k+1, productSKU(i), k+1)
			}
		}},
	} {
		if err := copyRows(ctx, c, t.table, t.rows, t.write); err != nil {
			return fmt.Errorf("fill %s: %w", t.table, err)
		}
	}
	if _, err := c.Exec(ctx, "--"+rest+"; COMMIT; ANALYZE").ReadAll(); err != nil {
		return fmt.Errorf("finish the tables: %w", err)
	}
	return nil
}

// copyRows fills a table by COPY with the rows that write makes from the numbers 0 to n-1.
func copyRows(ctx context.Context, c *pgconn.PgConn, table string, n int64, write func(w io.Writer, i int64)) error {
	r, pipe := io.Pipe()
	go func() {
		w := bufio.NewWriterSize(pipe, 1<<16)
		for i := range n {
			write(w, i) // an error stays in w
		}
		_ = pipe.CloseWithError(w.Flush())
	}()
	_, err := c.CopyFrom(ctx, r, "COPY "+table+" FROM STDIN")
	_ = r.CloseWithError(io.ErrClosedPipe) // ends the writer after a failed COPY
	return err
}

// allBrands returns the names of all brands, whose IDs count from 1, and the IDs by name.
func allBrands() (names []string, ids map[string]int) {
	ids = map[string]int{}
	for i := range 2000 {
		names = append(names, brandName(i))
		ids[names[i]] = i + 1
	}
	return names, ids
}

// allCategories returns parent and name of each category, parents first, and the IDs by path.
func allCategories() (rows []string, ids map[string]int) {
	ids = map[string]int{}
	for _, c := range assortment {
		parent, path := `\N`, ""
		for _, name := range strings.Split(c.name, " > ") {
			path = strings.TrimPrefix(path+" > "+name, " > ")
			if ids[path] == 0 {
				rows = append(rows, parent+"\t"+name)
				ids[path] = len(rows)
			}
			parent = fmt.Sprint(ids[path])
		}
	}
	return rows, ids
}
