package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"

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

// store has the documents. An older version never replaces a newer one. A searchio.Client is one.
type store interface {
	Put(ctx context.Context, id string, version int64, d Document) error
	Delete(ctx context.Context, id string, version int64) error
}

// follower brings the document of one product up to date.
type follower struct {
	db     *database
	docs   store
	market string
	rates  map[string]float64
}

// currentProduct reads the state of one product: its version, the product unless it is deleted or
// not sold in the market, and the median of its category. The tables are those of fromDatabase. A
// single statement sees a single state.
const currentProduct = `
	SELECT (extract(epoch FROM p.updated_at) * 1000000)::bigint AS version,
		CASE WHEN r.currency IS NOT NULL THEN json_build_object('id', p.id, 'sku', p.sku, 'title', p.title, 'brand', coalesce(b.name, ''),
			'category', c.path, 'price', (r.price * 100)::bigint, 'currency', r.currency, 'rating', p.rating, 'updated_at', p.updated_at,
			'stock', (SELECT coalesce(sum(quantity), 0) FROM stock WHERE product_id = p.id),
			'attributes', (SELECT json_object_agg(name, value) FROM attributes WHERE product_id = p.id),
			'image', (SELECT url FROM images WHERE product_id = p.id AND position = 1)) END,
		(m.median * 100)::bigint
	FROM products p
	CROSS JOIN LATERAL (SELECT category_path(p.category_id) AS path) c
	LEFT JOIN brands b ON b.id = p.brand_id
	LEFT JOIN prices r ON r.product_id = p.id AND r.market = $2
	LEFT JOIN category_medians m ON m.category = c.path
	WHERE p.id = $1
	UNION ALL
	SELECT (extract(epoch FROM updated_at) * 1000000)::bigint, NULL, NULL FROM deleted_products WHERE id = $1
	ORDER BY version DESC LIMIT 1`

// index writes or deletes the document of a changed product, and returns which.
func (f *follower) index(ctx context.Context, c change) (string, error) {
	if c.Table != "products" {
		return "", tasks.Fatal(fmt.Errorf("table %q has no documents; watch products alone", c.Table))
	}
	id := strconv.FormatInt(c.Key.ID, 10)
	rows, err := f.db.query(ctx, currentProduct, id, f.market)
	if err != nil || len(rows) == 0 { // without rows, there never was such a product
		return "nothing", err
	}
	row := rows[0]
	version, err := strconv.ParseInt(string(row[0]), 10, 64)
	if err != nil {
		return "", err
	}
	if row[1] == nil {
		return "deleted", f.docs.Delete(ctx, id, version)
	}
	var x Product
	if err := json.Unmarshal(row[1], &x); err != nil {
		return "", err
	}
	x, unfit := clean(x, f.rates)
	if unfit != nil {
		return "deleted: " + unfit.Error(), f.docs.Delete(ctx, id, version)
	}
	median := int64(x.Price) // of a category that is new today
	if row[2] != nil {
		if median, err = strconv.ParseInt(string(row[2]), 10, 64); err != nil {
			return "", err
		}
	}
	in := medianLine{Key: x.Category, Value: []float64{float64(median)}}
	return "written", f.docs.Put(ctx, id, version, document(listing(in, x)))
}

// follow runs a worker for the function index until ctx ends. Documents go to the search server,
// or without one to the table documents.
func follow(ctx context.Context, cluster tasks.Cluster, database, market, server string) error {
	const connections = 2
	db := openDatabase(database, connections)
	defer db.close()
	f := &follower{db: db, docs: documents{db}, market: market, rates: rates}
	if server != "" {
		client, err := searchio.Open[Document](ctx, searchio.Server{URL: server}, alias)
		if err != nil {
			return err
		}
		defer client.Close()
		f.docs = client
	}
	cluster.Log = slog.Default()
	w := tasks.NewWorker(cluster)
	w.Concurrency = 100 // tasks that wait for the search server share its next request
	tasks.Handle(w, "index", f.index)
	return w.Run(ctx)
}
