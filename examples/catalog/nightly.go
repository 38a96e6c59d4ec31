package main

import (
	"context"
	"fmt"
	"io"

	"github.com/layshaft/layshaft/mapreduce"
)

// lateChanges queues a task for each product that was changed or deleted by a transaction which the
// snapshot $1 does not show. The payload is the one of layshaft.watch. Transactions that the server
// has not begun yet come from a restored dump.
const lateChanges = `
	SELECT count(layshaft_enqueue('index', body, coalesce_key => body))
	FROM (SELECT id, changed_by FROM products UNION ALL SELECT id, changed_by FROM deleted_products) AS c
	CROSS JOIN LATERAL (SELECT jsonb_build_object('table', 'products', 'key', jsonb_build_object('id', id))::text AS body) AS b
	WHERE changed_by >= pg_snapshot_xmin($1::pg_snapshot) AND NOT pg_visible_in_snapshot(changed_by, $1::pg_snapshot)
		AND changed_by < pg_snapshot_xmax(pg_current_snapshot())`

// nightly builds everything anew from a database: report, listings, and indexes. Changes go on
// meanwhile. Changes missing in the job's snapshot are in the former index of the search
// server alone, so they are queued again for the new one.
func nightly(ctx context.Context, w io.Writer, target mapreduce.Target, in Params, top int, index IndexParams) error {
	db := openDatabase(in.Database, 1)
	defer db.close()
	rows, err := db.query(ctx, "SELECT pg_current_snapshot(), to_regclass('layshaft.outbox')")
	if err != nil {
		return err
	}
	snapshot, outbox := string(rows[0][0]), rows[0][1] != nil
	if err := run(ctx, w, target, in, top); err != nil || mapreduce.Explains(target) {
		return err
	}
	if index.Server != "" {
		index.Out = "" // one index is enough
	}
	if err := buildIndex(ctx, target, index); err != nil || index.Server == "" || !outbox {
		return err
	}
	if rows, err = db.query(ctx, lateChanges, snapshot); err != nil {
		return fmt.Errorf("queue the changes since the snapshot: %w", err)
	}
	_, err = fmt.Fprintf(w, "alias %s switched; %s changes since the snapshot queued again\n", alias, rows[0][0])
	return err
}
