package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/mapreduce/searchio"
	"github.com/layshaft/layshaft/tasks"
)

// change is the input of the function index, as layshaft.watch writes it.
type change struct {
	Table string `json:"table"` // always products
	Key   struct {
		ID int64 `json:"id"`
	} `json:"key"`
}

// follower brings the documents of changed products up to date.
type follower struct {
	db     *database
	docs   store
	market string
	rates  map[string]float64
}

// currentProducts reads the state of products: its version, the product unless it is deleted or not
// sold in the market, and the median of its category. It reads the tables of fromDatabase. A
// single statement sees a single state.
const currentProducts = `
	WITH chosen AS MATERIALIZED (SELECT id, sku, title, brand_id, category_id, rating, updated_at FROM products WHERE id = ANY ($1::bigint[])),
	paths AS MATERIALIZED (SELECT id, category_path(id) AS path FROM (SELECT DISTINCT category_id AS id FROM chosen) AS used)
	SELECT p.id, (extract(epoch FROM p.updated_at) * 1000000)::bigint AS version,
		CASE WHEN r.currency IS NOT NULL THEN json_build_object('id', p.id, 'sku', p.sku, 'title', p.title, 'brand', coalesce(b.name, ''),
			'category', c.path, 'price', (r.price * 100)::bigint, 'currency', r.currency, 'rating', p.rating, 'updated_at', p.updated_at,
			'stock', (SELECT coalesce(sum(quantity), 0) FROM stock WHERE product_id = p.id),
			'attributes', (SELECT json_object_agg(name, value) FROM attributes WHERE product_id = p.id),
			'image', (SELECT url FROM images WHERE product_id = p.id AND position = 1)) END,
		(m.median * 100)::bigint
	FROM chosen p
	JOIN paths c ON c.id = p.category_id
	LEFT JOIN brands b ON b.id = p.brand_id
	LEFT JOIN prices r ON r.product_id = p.id AND r.market = $2
	LEFT JOIN category_medians m ON m.category = c.path
	UNION ALL
	SELECT id, (extract(epoch FROM updated_at) * 1000000)::bigint, NULL, NULL FROM deleted_products WHERE id = ANY ($1::bigint[])
	ORDER BY version`

// index writes or deletes the documents of changed products, and returns which. One query reads the
// products of a batch.
func (f *follower) index(ctx context.Context, batch []change) ([]string, error) {
	ids := make([]string, len(batch))
	errs, done := make(tasks.ItemErrors, len(batch)), make([]string, len(batch))
	for i, c := range batch {
		ids[i] = strconv.FormatInt(c.Key.ID, 10)
	}
	rows, err := f.db.query(ctx, currentProducts, "{"+strings.Join(ids, ",")+"}", f.market)
	if err != nil {
		return nil, err
	}
	newest := make(map[string][][]byte, len(rows)) // a product that was deleted and is back has two
	for _, row := range rows {
		newest[string(row[0])] = row
	}
	edits, of := make([]edit, 0, len(batch)), make([]int, 0, len(batch))
	for i, c := range batch {
		row := newest[ids[i]]
		switch {
		case c.Table != "products":
			errs[i] = tasks.Fatal(fmt.Errorf("table %q has no documents; watch products alone", c.Table))
		case row == nil:
			done[i] = "nothing" // there never was such a product
		default:
			var e edit
			if e, done[i], errs[i] = f.edit(row); errs[i] == nil {
				edits, of = append(edits, e), append(of, i)
			}
		}
	}
	for k, err := range f.docs.write(ctx, edits) {
		if errs[of[k]] = err; errors.Is(err, searchio.ErrRefused) {
			errs[of[k]] = tasks.Fatal(err) // another attempt would send the same document
		}
	}
	return done, errs
}

// edit returns the document of a row of currentProducts.
func (f *follower) edit(row [][]byte) (e edit, done string, err error) {
	e.ID = string(row[0])
	if e.Version, err = strconv.ParseInt(string(row[1]), 10, 64); err != nil {
		return e, "", err
	}
	if row[2] == nil {
		return e, "deleted", nil
	}
	var x Product
	if err := json.Unmarshal(row[2], &x); err != nil {
		return e, "", err
	}
	x, unfit := clean(x, f.rates)
	if unfit != nil {
		return e, "deleted: " + unfit.Error(), nil
	}
	median := int64(x.Price) // of a category that is new today
	if row[3] != nil {
		if median, err = strconv.ParseInt(string(row[3]), 10, 64); err != nil {
			return e, "", err
		}
	}
	d := document(listing(medianLine{Key: x.Category, Value: []float64{float64(median)}}, x))
	e.Body = &d
	return e, "written", nil
}

// follow runs a worker for the function index until ctx ends. Documents go to the search server,
// or without one to the table documents.
func follow(ctx context.Context, cluster tasks.Cluster, database, market, url string) error {
	db := openDatabase(database, 2)
	defer db.close()
	f := &follower{db: db, docs: documents{db}, market: market, rates: rates}
	if url != "" {
		client, err := searchio.Open[Document](ctx, searchio.Server{URL: url}, alias)
		if err != nil {
			return err
		}
		defer client.Close()
		f.docs = server{client}
	}
	cluster.Log = slog.Default()
	w := tasks.NewWorker(cluster)
	tasks.HandleBatch(w, "index", f.index, tasks.BatchSize(500))
	return w.Run(ctx)
}
