//go:build unix

package tasks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/pgtest"
	"github.com/layshaft/layshaft/internal/postgres"
	"github.com/layshaft/layshaft/tasks"
)

// index keeps one document per product, as a search server does.
type index struct {
	db *pgtest.DB
	// mu guards the fields below.
	mu      sync.Mutex
	docs    map[int]string
	runs    int
	running map[int]bool
}

// update brings the document of a changed product up to date.
func (x *index) update(ctx context.Context, change struct {
	Table string
	Key   struct{ ID int }
}) (int, error) {
	id := change.Key.ID
	x.mu.Lock()
	overlaps := x.running[id]
	x.running[id] = true
	x.mu.Unlock()
	defer func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.running, id)
	}()
	if overlaps {
		return 0, tasks.Fatal(fmt.Errorf("product %d: two tasks at once", id))
	}
	c, err := postgres.Connect(ctx, x.db.DSN(), postgres.Options{})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	rows, err := c.Query(ctx, fmt.Sprintf("SELECT name FROM products WHERE id = %d", id))
	if err != nil {
		return 0, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.runs++
	if delete(x.docs, id); len(rows) > 0 {
		x.docs[id] = string(rows[0][0])
	}
	return id, nil
}

// Each committed change reaches its document and no rolled-back one does, while the coordinator,
// which forwards, a second forwarder and the database are killed in turn.
func TestOutbox(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(t, "CREATE TABLE products (id int PRIMARY KEY, name text)")
	run(t, "layshaft", "pg", "install", db.DSN())
	db.Exec(t, "SELECT layshaft.watch('products', 'index')")
	c := newCluster(t)
	c.coordinator.Kill()
	c.outbox = db.DSN()
	c.start(t)

	x := &index{db: db, docs: map[int]string{}, running: map[int]bool{}}
	w := tasks.NewWorker(tasks.Cluster{Address: c.address, Patience: patience})
	w.Concurrency = 4
	tasks.Handle(w, "index", x.update)
	working, stop := context.WithCancel(context.Background())
	worked := make(chan error, 1)
	go func() { worked <- w.Run(working) }()
	t.Cleanup(func() {
		stop()
		if err := <-worked; err != nil {
			t.Error(err)
		}
	})

	const products = 20
	storm, calm := context.WithCancel(context.Background())
	var writers sync.WaitGroup
	var changes [2]int
	for n := range changes {
		writers.Go(func() { changes[n] = change(storm, t, db, products, uint64(n)) })
	}
	forwarder := launch(t, "layshaft", "pg", "forward", db.DSN(), "-cluster", c.address)
	for range scale(2, 20) {
		c.coordinator.Kill()
		c.start(t)
		c.await(t, "the coordinator", func(tasks.Overview) bool { return true })
		forwarder.Kill()
		forwarder = launch(t, "layshaft", "pg", "forward", db.DSN(), "-cluster", c.address)
		db.Crash(t)
		run(t, "layshaft", "pg", "status", db.DSN())
	}
	calm()
	writers.Wait()

	want := map[int]string{}
	for _, row := range db.Exec(t, "SELECT id, name FROM products") {
		id, _ := strconv.Atoi(row[0])
		want[id] = row[1]
	}
	same := func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		if len(x.docs) != len(want) {
			return false
		}
		for id, name := range want {
			if x.docs[id] != name {
				return false
			}
		}
		return true
	}
	for late := time.Now().Add(patience); !same(); {
		var o tasks.Overview
		c.await(t, "the tasks", func(now tasks.Overview) bool { o = now; return true })
		if time.Now().After(late) {
			t.Fatalf("documents %v\nwant %v\n%+v\n%q", x.docs, want, o.Totals, db.Exec(t, "SELECT * FROM layshaft.outbox LIMIT 3"))
		}
	}
	if n := changes[0] + changes[1]; n < products {
		t.Errorf("only %d changes", n)
	} else {
		t.Logf("%d changes, %d runs", n, x.runs)
	}
}

// A slot that no process reads, and which so fills the disk of the database, is shown with a
// warning and the way out.
func TestSlotWithoutReader(t *testing.T) {
	db := pgtest.New(t)
	db.Exec(t, "SELECT pg_create_logical_replication_slot('left', 'pgoutput')")
	defer db.Exec(t, "SELECT pg_drop_replication_slot('left')")
	out, err := exec.Command(filepath.Join(binDir, "layshaft"), "pg", "status", db.DSN()).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "No process reads slot left") || !strings.Contains(string(out), "SELECT pg_drop_replication_slot('left')") {
		t.Errorf("%v:\n%s", err, out)
	}
}

// change writes, deletes and rolls back rows until ctx ends, and returns the number of commits.
func change(ctx context.Context, t *testing.T, db *pgtest.DB, products int, seed uint64) (commits int) {
	rng := rand.New(rand.NewPCG(seed, 0))
	for ctx.Err() == nil {
		c, err := postgres.Connect(ctx, db.DSN(), postgres.Options{})
		if err != nil {
			continue // it was just killed
		}
		for ctx.Err() == nil && err == nil {
			sql, end := fmt.Sprintf("INSERT INTO products VALUES (%d, 'v%d') ON CONFLICT (id) DO UPDATE SET name = excluded.name", rng.IntN(products), rng.Int32()), "COMMIT"
			if rng.IntN(5) == 0 {
				sql = fmt.Sprintf("DELETE FROM products WHERE id = %d", rng.IntN(products))
			}
			if rng.IntN(3) == 0 {
				end = "ROLLBACK"
			}
			if _, err = c.Query(ctx, "BEGIN; "+sql+"; "+end); err == nil && end == "COMMIT" {
				commits++
			}
		}
		c.Close()
		var known *postgres.Error
		if err != nil && ctx.Err() == nil && !errors.As(err, &known) {
			t.Error(err)
		}
	}
	return commits
}
