package pgio_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/pgtest"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/pgio"
)

type pair struct{ ID, N int64 }

// pairs makes two tables whose sums are equal in every state.
func pairs(t testing.TB) *pgtest.DB {
	db := pgtest.New(t)
	for _, name := range []string{"a", "b"} {
		db.Exec(t, `CREATE TABLE `+name+` (id bigint PRIMARY KEY, n bigint NOT NULL); INSERT INTO `+name+` SELECT i, 1 FROM generate_series(1, 30000) i`)
	}
	db.Exec(t, "ANALYZE")
	t.Setenv("LAYSHAFT_PG_SHOP", db.DSN())
	return db
}

// sums adds up n of both tables. each is called for each record.
func sums(each func()) *mapreduce.Definition[int, mapreduce.KV[string, int64]] {
	return mapreduce.Define("sums", func(p *mapreduce.Plan, _ int) mapreduce.Dataset[mapreduce.KV[string, int64]] {
		read := func(table string) mapreduce.Dataset[mapreduce.KV[string, int64]] {
			return mapreduce.Map(mapreduce.Read(p, pgio.Rows[pair]("shop", table)), func(x pair) mapreduce.KV[string, int64] {
				each()
				return mapreduce.KV[string, int64]{Key: table, Value: x.N}
			})
		}
		return mapreduce.ReduceByKey(mapreduce.Union(read("a"), read("b")), func(x, y int64) int64 { return x + y })
	})
}

func check(t *testing.T, got []mapreduce.KV[string, int64]) int64 {
	t.Helper()
	if len(got) != 2 || got[0].Value != got[1].Value {
		t.Fatalf("the tables differ: %v", got)
	}
	return got[0].Value
}

// All splits of all tables are read on one snapshot, whatever is written meanwhile.
func TestOneSnapshot(t *testing.T) {
	db := pairs(t)
	write := sync.OnceFunc(func() { db.Exec(t, "UPDATE a SET n = 2; UPDATE b SET n = 2") })
	got, err := sums(write).Collect(t.Context(), mapreduce.Local{Slots: 2, Workers: 2, Reporting: mapreduce.Reporting{Progress: "none"}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if n := check(t, got); n != 30000 {
		t.Errorf("the sum is %d, want 30000, as before the change", n)
	}
}

// cutOwner ends the connection that holds the snapshot.
func cutOwner(t testing.TB, db *pgtest.DB) {
	if got := db.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'layshaft plan'"); len(got) != 1 || got[0][0] != "t" {
		t.Errorf("no connection holds the snapshot: %v", got)
	}
}

// A job whose snapshot is lost after a change starts over on a new snapshot and prints so. It goes
// on if nothing has changed.
func TestLostSnapshot(t *testing.T) {
	for _, changed := range []bool{true, false} {
		db := pairs(t)
		cut := sync.OnceFunc(func() {
			cutOwner(t, db)
			if changed {
				db.Exec(t, "UPDATE a SET n = 2; UPDATE b SET n = 2")
			}
		})
		var said bytes.Buffer
		got, err := sums(cut).Collect(t.Context(), mapreduce.Local{Slots: 1, Reporting: mapreduce.Reporting{Progress: "none", Err: &said}}, 0)
		if err != nil {
			t.Fatalf("changed %v: %v", changed, err)
		}
		want := int64(30000)
		if changed {
			want = 60000
		}
		if n := check(t, got); n != want {
			t.Errorf("changed %v: the sum is %d, want %d", changed, n, want)
		}
		if again := strings.Contains(said.String(), "starts over on a new snapshot"); again != changed {
			t.Errorf("changed %v: printed %q", changed, &said)
		}
	}
}

// A server that crashes while rows are read costs an attempt, if nothing has changed. Otherwise the
// job starts over.
func TestServerCrashes(t *testing.T) {
	for _, changed := range []bool{true, false} {
		db := pairs(t)
		crash := sync.OnceFunc(func() {
			db.Crash(t)
			if changed {
				db.Exec(t, "UPDATE a SET n = 2; UPDATE b SET n = 2")
			}
		})
		n, want := 0, int64(30000)
		got, err := sums(func() {
			if n++; n == 10_000 {
				crash()
			}
		}).Collect(t.Context(), mapreduce.Local{Slots: 1, Reporting: mapreduce.Reporting{Progress: "none"}}, 0)
		if err != nil {
			t.Fatalf("changed %v: %v", changed, err)
		}
		if changed {
			want = 60000
		}
		if sum := check(t, got); sum != want {
			t.Errorf("changed %v: the sum is %d, want %d", changed, sum, want)
		}
	}
}

// A run leaves no connection behind.
func TestNoConnectionIsLeft(t *testing.T) {
	db := pairs(t)
	if _, err := sums(func() {}).Collect(context.Background(), mapreduce.Local{Slots: 2, Reporting: mapreduce.Reporting{Progress: "none"}}, 0); err != nil {
		t.Fatal(err)
	}
	if n := db.Connections(t, "application_name LIKE 'layshaft%'", 0); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// A job never has more connections than its limit, the one of the snapshot included.
func TestConnections(t *testing.T) {
	db := pairs(t)
	var most, now int
	var mu sync.Mutex
	count := func() {
		mu.Lock()
		defer mu.Unlock()
		if now++; now%5000 != 0 {
			return
		}
		most = max(most, db.Connections(t, "application_name LIKE 'layshaft%'", 3))
	}
	d := mapreduce.Define("count", func(p *mapreduce.Plan, _ int) mapreduce.Dataset[int64] {
		read := func(table string) mapreduce.Dataset[int64] {
			return mapreduce.Map(mapreduce.Read(p, pgio.Rows[pair]("shop", table).Connections(3)), func(x pair) int64 {
				count()
				return x.N
			})
		}
		return mapreduce.Union(read("a"), read("b"))
	})
	if _, err := d.Collect(t.Context(), mapreduce.Local{Slots: 6, Memory: 64 << 20, Reporting: mapreduce.Reporting{Progress: "none"}}, 0); err != nil {
		t.Fatal(err)
	}
	if most == 0 || most > 3 {
		t.Errorf("there were %d connections, want at most 3", most)
	}
}

// A read that is cancelled ends its statement on the server, also one that sends nothing for long.
func TestCancel(t *testing.T) {
	db := pairs(t)
	s := pgio.Rows[pair]("shop", "SELECT id, n FROM a, pg_sleep(600)")
	splits, err := s.Splits(t.Context(), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Read(ctx, splits[0], connector.NewReader(func(*pair) {}, nil)) }()
	reading := func() bool {
		return len(db.Exec(t, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'layshaft read' AND state = 'active' AND query LIKE 'COPY%'")) > 0
	}
	for !reading() {
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("a cancelled read returned nil")
	}
	for reading() {
	}
}

// A statement that takes longer than allowed is an error with the way out.
func TestStatementTimeout(t *testing.T) {
	pairs(t)
	s := pgio.Rows[pair]("shop", "SELECT id, n FROM a, pg_sleep(600)").StatementTimeout(50 * time.Millisecond)
	splits, err := s.Splits(t.Context(), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Read(t.Context(), splits[0], connector.NewReader(func(*pair) {}, nil))
	if err == nil || !strings.Contains(err.Error(), "raise StatementTimeout") {
		t.Error(err)
	}
}

// Of several servers, all readers take the one that the snapshot is on.
func TestSeveralServers(t *testing.T) {
	db := pairs(t)
	s := db.Server
	for _, prefer := range []string{"any", "prefer-standby", "read-write"} {
		t.Setenv("LAYSHAFT_PG_SHOP", fmt.Sprintf("host=127.0.0.1,%s port=1,%d user=postgres dbname=%s sslmode=disable target_session_attrs=%s", s.Dir, s.Port, db.Name, prefer))
		got, splits := rows(t, pgio.Rows[pair]("shop", "a"), 1<<30)
		if len(got) != 30000 {
			t.Errorf("%s: %d rows in %d splits", prefer, len(got), len(splits))
		}
		out, err := sums(func() {}).Collect(t.Context(), mapreduce.Local{Slots: 2, Reporting: mapreduce.Reporting{Progress: "none"}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		check(t, out)
	}
	t.Setenv("LAYSHAFT_PG_SHOP", fmt.Sprintf("host=127.0.0.1,%s port=1,%d user=postgres dbname=%s sslmode=disable target_session_attrs=standby", s.Dir, s.Port, db.Name))
	if got := planError(t, pgio.Rows[pair]("shop", "a")); !strings.Contains(got, "database shop: 127.0.0.1:1") {
		t.Errorf("no server fits: %s", got)
	}
}
