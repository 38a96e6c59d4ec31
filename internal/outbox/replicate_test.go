package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/pgtest"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// replicate runs Replicate until the end of the test, or stop, which returns its error.
func replicate(t *testing.T, db *pgtest.DB, d *desk, change func(*Replication)) (stop func() error) {
	cfg := Replication{Config: Config{Database: db.DSN(), Submit: d.submit}, Function: "index", Slot: "layshaft_" + db.Name, Publication: "layshaft"}
	change(&cfg)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Replicate(ctx, cfg) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		_ = stop()
		awaitSlot(t, db, false) // the process of the server ends a moment after its connection
		db.Exec(t, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '"+cfg.Slot+"'")
	})
	return stop
}

// awaitSlot waits until the slot is in use, or until it is not.
func awaitSlot(t *testing.T, db *pgtest.DB, used bool) {
	t.Helper()
	for late := time.Now().Add(30 * time.Second); len(db.Exec(t, "SELECT FROM pg_replication_slots WHERE active AND slot_name = 'layshaft_"+db.Name+"'")) == 1 != used; {
		if time.Now().After(late) {
			t.Fatalf("the slot is used: %v, want %v", !used, used)
		}
	}
}

const replicated = `CREATE TABLE products (id int PRIMARY KEY, name text);
	CREATE TABLE prices (product_id int, "Märkte" text, price numeric, PRIMARY KEY (product_id, "Märkte"));
	CREATE TABLE whole (a text, b bigint PRIMARY KEY); ALTER TABLE whole REPLICA IDENTITY FULL;
	CREATE TABLE other (id int PRIMARY KEY);
	CREATE SCHEMA s; CREATE TABLE s.t (id uuid PRIMARY KEY);
	CREATE PUBLICATION layshaft FOR TABLE products, prices, whole, s.t`

// Each changed row becomes one task, equal to the task of a trigger, after its commit.
func TestReplicate(t *testing.T) {
	db := pgtest.New(t)
	db.Exec(t, replicated)
	d := &desk{tokens: map[uint64]bool{}, changed: make(chan struct{}, 1), again: true}
	replicate(t, db, d, func(r *Replication) { r.Create = true })
	awaitSlot(t, db, true)
	task := func(payload string) string { return "index(" + payload + ") unique=" + payload + " fresh" }
	for _, tt := range []struct {
		sql  string
		want []string
	}{
		{"INSERT INTO products SELECT n, 'x' FROM generate_series(1, 2) AS n; INSERT INTO other VALUES (1)", []string{`{"key": {"id": 1}, "table": "products"}`, `{"key": {"id": 2}, "table": "products"}`}},
		{"BEGIN; INSERT INTO products VALUES (7, 'x'); ROLLBACK; UPDATE products SET name = 'y' WHERE id = 1", []string{`{"key": {"id": 1}, "table": "products"}`}},
		{"UPDATE products SET id = 3 WHERE id = 2", []string{`{"key": {"id": 2}, "table": "products"}`, `{"key": {"id": 3}, "table": "products"}`}},
		{"DELETE FROM products WHERE id = 3", []string{`{"key": {"id": 3}, "table": "products"}`}},
		{`INSERT INTO prices VALUES (1, 'd"e <ä>', 5)`, []string{`{"key": {"Märkte": "d\"e <ä>", "product_id": 1}, "table": "prices"}`}},
		{"INSERT INTO whole VALUES ('x', 12345678901)", []string{`{"key": {"b": 12345678901}, "table": "whole"}`}},
		{"UPDATE whole SET a = 'y'", []string{`{"key": {"b": 12345678901}, "table": "whole"}`}},
		{"INSERT INTO s.t VALUES ('00000000-0000-0000-0000-000000000001')", []string{`{"key": {"id": "00000000-0000-0000-0000-000000000001"}, "table": "s.t"}`}},
	} {
		db.Exec(t, tt.sql)
		var want []string
		for _, p := range tt.want {
			want = append(want, task(p))
			if trigger := db.Exec(t, "SELECT $q$"+p+"$q$::jsonb::text"); trigger[0][0] != p {
				t.Errorf("a trigger would write %s, not %s", trigger[0][0], p)
			}
		}
		slices.Sort(want)
		if got := d.await(t, len(want)); !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.sql, got, want)
		}
	}
}

// Changes are not lost while the process, its connection or the coordinator is away.
func TestReplicateFailures(t *testing.T) {
	db := pgtest.New(t)
	db.Exec(t, replicated)
	d := &desk{tokens: map[uint64]bool{}, changed: make(chan struct{}, 1), again: true}
	stop := replicate(t, db, d, func(r *Replication) { r.Create = true })
	awaitSlot(t, db, true)
	seen := map[string]bool{}
	next := 0
	change := func(n int) {
		db.Exec(t, fmt.Sprintf("INSERT INTO products SELECT n, 'x' FROM generate_series(%d, %d) AS n", next+1, next+n))
		next += n
	}
	await := func() {
		t.Helper()
		for late := time.After(30 * time.Second); ; {
			for _, task := range d.await(t, 0) {
				seen[task] = true
			}
			if len(seen) == next {
				return
			}
			select {
			case <-d.changed:
			case <-late:
				t.Fatalf("%d of %d changes", len(seen), next)
			}
		}
	}
	change(5000)
	await()
	db.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'layshaft replication%' AND datname = current_database()")
	change(10)
	await()
	if err := stop(); err != nil {
		t.Error(err)
	}
	change(10)
	d.lose = errors.New("the coordinator is away")
	replicate(t, db, d, func(*Replication) {})
	await()
}

// A slot that is missing, or keeps too much of the log, ends the process with the way out.
func TestSlotGivenUp(t *testing.T) {
	db := pgtest.New(t)
	db.Exec(t, replicated)
	d := &desk{tokens: map[uint64]bool{}, changed: make(chan struct{}, 1), again: true}
	missing := Replication{Config: Config{Database: db.DSN(), Submit: d.submit}, Function: "index", Slot: "layshaft_" + db.Name, Publication: "layshaft"}
	if err := Replicate(t.Context(), missing); !errors.Is(err, ErrSlot) || !strings.Contains(err.Error(), "make it with -create") {
		t.Errorf("without a slot: %v", err)
	}
	d.answer = func(*tasksv1.TaskSpec) *tasksv1.Accepted {
		return &tasksv1.Accepted{Refused: "full", Full: true}
	}
	ended := make(chan error, 1)
	go func() {
		lags := missing
		lags.Create, lags.MaxLag = true, 1<<20
		ended <- Replicate(t.Context(), lags)
	}()
	awaitSlot(t, db, true)
	db.Exec(t, "INSERT INTO products SELECT n, repeat('x', 1000) FROM generate_series(1, 5000) AS n")
	if err := <-ended; !errors.Is(err, ErrSlot) || !strings.Contains(err.Error(), "was dropped") {
		t.Errorf("a slot that lags: %v", err)
	}
	if left := db.Exec(t, "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"); len(left) > 0 {
		t.Errorf("the slot %q is left", left)
	}
}
