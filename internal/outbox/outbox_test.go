package outbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/pgtest"
	"github.com/layshaft/layshaft/internal/postgres"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// desk is a coordinator that queues each token once.
type desk struct {
	mu      sync.Mutex
	tokens  map[uint64]bool
	tasks   []*tasksv1.TaskSpec
	changed chan struct{}
	// answer changes the answer to a task; nil accepts all.
	answer func(*tasksv1.TaskSpec) *tasksv1.Accepted
	// lose, if set, is the error after a batch was queued.
	lose error
	// again counts each submit as a task of its own, also without a token.
	again bool
}

func (d *desk) submit(_ context.Context, r *tasksv1.SubmitTasksRequest) (*tasksv1.SubmitTasksResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := &tasksv1.SubmitTasksResponse{}
	for _, s := range r.GetTasks() {
		a := &tasksv1.Accepted{Task: s.GetToken()}
		if d.answer != nil {
			a = d.answer(s)
		}
		if a.GetRefused() == "" && (d.again || !d.tokens[s.GetToken()]) {
			d.tokens[s.GetToken()] = true
			d.tasks = append(d.tasks, s)
		}
		out.Accepted = append(out.Accepted, a)
	}
	select {
	case d.changed <- struct{}{}:
	default:
	}
	err := d.lose
	d.lose = nil
	return out, err
}

// await waits for n tasks and returns them in order of their payload.
func (d *desk) await(t testing.TB, n int) (all []string) {
	t.Helper()
	late := time.After(30 * time.Second)
	for {
		d.mu.Lock()
		got := len(d.tasks)
		if got >= n {
			for _, s := range d.tasks {
				all = append(all, text(s))
			}
			d.tasks = nil
		}
		d.mu.Unlock()
		if got > n && n > 0 {
			t.Errorf("%d tasks, want %d: %q", got, n, all)
		}
		if got >= n {
			slices.Sort(all)
			return all
		}
		select {
		case <-d.changed:
		case <-late:
			t.Fatalf("%d tasks, want %d", got, n)
		}
	}
}

// text formats a task.
func text(s *tasksv1.TaskSpec) string {
	out := s.GetFunction() + "(" + string(s.GetInput()) + ")"
	if s.GetUnique() != "" {
		out += " unique=" + s.GetUnique()
	}
	if s.GetFresh() {
		out += " fresh"
	}
	if p := s.GetPriority(); p != 0 {
		out += " " + strings.ToLower(strings.TrimPrefix(p.String(), "TASK_PRIORITY_"))
	}
	if s.GetDueNanos() > 0 {
		out += fmt.Sprintf(" in %v", time.Until(time.Unix(0, s.GetDueNanos())).Round(time.Minute))
	}
	return out
}

// outboxOf makes a database with an outbox and a forwarder.
func outboxOf(t testing.TB) (*pgtest.DB, *desk) {
	t.Helper()
	db := pgtest.New(t)
	if err := Apply(t.Context(), db.DSN(), Migration("public")); err != nil {
		t.Fatal(err)
	}
	d := &desk{tokens: map[uint64]bool{}, changed: make(chan struct{}, 1)}
	forward(t, db, d)
	return db, d
}

// forward runs a forwarder until the end of the test, or stop.
func forward(t testing.TB, db *pgtest.DB, d *desk) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Forward(ctx, Config{Database: db.DSN(), Submit: d.submit}) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// A commit queues each task once, with all its properties; a rollback queues none.
func TestCommit(t *testing.T) {
	db, d := outboxOf(t)
	db.Exec(t, `BEGIN; SELECT layshaft_enqueue('index', 'never'); ROLLBACK`)
	db.Exec(t, `BEGIN;
		SELECT layshaft_enqueue('index', '1');
		SAVEPOINT s; SELECT layshaft_enqueue('index', 'never either'); ROLLBACK TO s;
		SELECT layshaft_enqueue('index', '{"a": [2, null]}'::jsonb, priority => 'high');
		SELECT layshaft_enqueue('index', '\xff00fe'::bytea, unique_key => 'k', priority => 'low');
		SELECT layshaft_enqueue('index', '4', coalesce_key => 'k', after => '1 hour');
		SELECT layshaft_enqueue('index', NULL::text);
		SELECT layshaft_do_background('a', '5'), layshaft_do_high_background('b', '6', 'u'), layshaft_do_low_background('c', 'ä€');
		COMMIT`)
	want := []string{"a(5)", "b(6) unique=u high", "c(ä€) low", "index()", "index(1)", "index(4) unique=k fresh in 1h0m0s", `index({"a": [2, null]}) high`, "index(\xff\x00\xfe) unique=k low"}
	if got := d.await(t, len(want)); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if s := awaitEmpty(t, db); s.Refused != 0 || s.Oldest != 0 {
		t.Errorf("%+v", s)
	}
}

// awaitEmpty waits until no row is left: rows are removed a while after their tasks are queued.
func awaitEmpty(t *testing.T, db *pgtest.DB) Status {
	t.Helper()
	for {
		s, err := Look(t.Context(), db.DSN())
		if err != nil {
			t.Fatal(err)
		}
		if s.Waiting == 0 {
			return s
		}
	}
}

// Wrong arguments are refused in the transaction of the user, with the value and the way out.
func TestWrongArguments(t *testing.T) {
	db, _ := outboxOf(t)
	db.Exec(t, "CREATE TABLE keyless (a int)")
	for sql, want := range map[string]string{
		`SELECT layshaft_enqueue('f', 'x', priority => 'urgent')`:                    "priority 'urgent' is none of high, normal and low",
		`SELECT layshaft_enqueue('', 'x')`:                                           "function '' must have 1 to 512 bytes",
		`SELECT layshaft_enqueue(NULL, 'x')`:                                         "function NULL must have",
		`SELECT layshaft_enqueue('f', repeat('x', 1048577))`:                         "the payload has 1048577 bytes, at most 1048576",
		`SELECT layshaft_enqueue('f', 'x', unique_key => 'a', coalesce_key => 'b')`:  "exclude each other",
		`SELECT layshaft_do('f', 'x')`:                                               "a transaction cannot wait for a task",
		`SELECT layshaft.watch('keyless', 'f')`:                                      "has no primary key",
		`SELECT layshaft.watch('keyless', 'f', '{b}')`:                               "has no column b",
		`SELECT layshaft.watch('keyless', 'f', '{a}', of => 'x', of_key => '{a,b}')`: "columns of key: 1, of of_key: 2",
		`SELECT layshaft.watch('keyless', 'f', '{a}', priority => 'urgent')`:         "priority 'urgent'",
		`SELECT layshaft.watch('nothing', 'f')`:                                      `relation "nothing" does not exist`,
	} {
		c, err := postgres.Connect(t.Context(), db.DSN(), postgres.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = c.Query(t.Context(), sql); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", sql, err, want)
		}
		c.Close()
	}
}

// Each changed row of a watched table becomes one task, whoever changes it.
func TestWatch(t *testing.T) {
	db, d := outboxOf(t)
	role := db.Name
	db.Exec(t, `CREATE TABLE "Products" (id int PRIMARY KEY, name text);
		CREATE TABLE prices (product_id int, market text, price numeric, PRIMARY KEY (product_id, market));
		GRANT ALL ON "Products", prices TO `+role+`;
		SELECT layshaft.watch('"Products"', 'index', of => 'product', priority => 'low');
		SELECT layshaft.watch('prices', 'index', '{product_id}', of => 'product', of_key => '{id}');
		SELECT layshaft.watch('prices', 'price''s %s {}');`)
	product := func(id int) string {
		p := fmt.Sprintf(`{"key": {"id": %d}, "table": "product"}`, id)
		return "index(" + p + ") unique=" + p + " fresh"
	}
	price := func(id int, market string) string {
		p := fmt.Sprintf(`{"key": {"market": %q, "product_id": %d}, "table": "prices"}`, market, id)
		return "price's %s {}(" + p + ") unique=" + p + " fresh"
	}
	for _, tt := range []struct {
		sql  string
		want []string
	}{
		{`INSERT INTO "Products" SELECT n, 'x' FROM generate_series(1, 3) AS n`, []string{product(1) + " low", product(2) + " low", product(3) + " low"}},
		{`UPDATE "Products" SET name = 'y' WHERE id <= 2`, []string{product(1) + " low", product(2) + " low"}},
		{`UPDATE "Products" SET id = 9 WHERE id = 3`, []string{product(3) + " low", product(9) + " low"}},
		{`DELETE FROM "Products" WHERE id = 9`, []string{product(9) + " low"}},
		{`INSERT INTO prices VALUES (1, 'de', 1), (1, 'fr', 2), (2, 'de', 3)`, []string{product(1), product(2), price(1, "de"), price(1, "fr"), price(2, "de")}},
		{`SELECT layshaft.unwatch('prices', 'index', 'product'); DELETE FROM prices WHERE market = 'fr'`, []string{price(1, "fr")}},
	} {
		if strings.Contains(tt.sql, "layshaft") {
			db.Exec(t, tt.sql)
		} else {
			db.Exec(t, "BEGIN; SET LOCAL ROLE "+role+"; "+tt.sql+"; UPDATE prices SET price = 0 WHERE false; COMMIT")
		}
		slices.Sort(tt.want)
		if got := d.await(t, len(tt.want)); !slices.Equal(got, tt.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.sql, got, tt.want)
		}
	}
	s, err := Look(t.Context(), db.DSN())
	if err != nil || !slices.Equal(s.Tables, []string{`"Products"`, "prices"}) {
		t.Errorf("%+v, %v", s, err)
	}
	if err := Apply(t.Context(), db.DSN(), Migration("public")); err != nil {
		t.Errorf("a second install: %v", err)
	}
	db.Exec(t, "CREATE TABLE layshaft.written (job text); CREATE SCHEMA other; CREATE FUNCTION other.changed_x() RETURNS int LANGUAGE sql AS 'SELECT 1'")
	for range 2 {
		if err := Apply(t.Context(), db.DSN(), Removal("public")); err != nil {
			t.Fatal(err)
		}
		db.Exec(t, "SELECT other.changed_x(), * FROM layshaft.written")
	}
	db.Exec(t, `DROP SCHEMA other CASCADE; DELETE FROM "Products"`)
	if got := db.Exec(t, `SELECT proname FROM pg_proc WHERE proname LIKE '%layshaft%' OR proname LIKE 'changed%'`); len(got) > 0 {
		t.Errorf("left behind: %q", got)
	}
	if _, err := Look(t.Context(), db.DSN()); err == nil || !strings.Contains(err.Error(), "layshaft pg install") {
		t.Errorf("without an outbox: %v", err)
	}
	db.Exec(t, "DROP TABLE layshaft.written")
	if err := Apply(t.Context(), db.DSN(), Removal("public")); err != nil {
		t.Fatal(err)
	}
	if got := db.Exec(t, "SELECT FROM pg_namespace WHERE nspname = 'layshaft'"); len(got) > 0 {
		t.Error("an empty schema is left behind")
	}
	if err := Apply(t.Context(), db.DSN(), Removal("public")); err != nil {
		t.Errorf("without a schema: %v", err)
	}
}

// A full queue holds up only its own function. A task that is refused for good is set aside.
func TestRefused(t *testing.T) {
	db, d := outboxOf(t)
	d.mu.Lock()
	d.answer = func(s *tasksv1.TaskSpec) *tasksv1.Accepted {
		switch s.GetFunction() {
		case "full":
			return &tasksv1.Accepted{Refused: "queue full", Full: true}
		case "bad":
			return &tasksv1.Accepted{Refused: "no such thing"}
		}
		return &tasksv1.Accepted{Task: 1}
	}
	d.mu.Unlock()
	db.Exec(t, `SELECT layshaft_enqueue('full', n::text) FROM generate_series(1, 5000) AS n; SELECT layshaft_enqueue('bad', 'x'); SELECT layshaft_enqueue('good', 'y')`)
	if got := d.await(t, 1); got[0] != "good(y)" {
		t.Errorf("%q", got)
	}
	s, err := Look(t.Context(), db.DSN())
	for err == nil && s.Refused == 0 {
		s, err = Look(t.Context(), db.DSN())
	}
	if err != nil || s.Waiting != 5000 || s.Refused != 1 || s.Reason != "no such thing" || s.Oldest <= 0 {
		t.Errorf("%+v, %v", s, err)
	}
	d.mu.Lock()
	d.answer = nil
	d.mu.Unlock()
	d.await(t, 5000)
}

// Rows whose queueing is not known are sent again with the same tokens. A lost connection and a
// database that is away end nothing.
func TestFailures(t *testing.T) {
	db, d := outboxOf(t)
	d.mu.Lock()
	d.lose = errors.New("the answer got lost")
	d.mu.Unlock()
	db.Exec(t, `SELECT layshaft_enqueue('f', n::text) FROM generate_series(1, 100) AS n`)
	d.await(t, 100)
	for range 5 {
		db.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'layshaft outbox%' AND datname = current_database()`)
		db.Exec(t, `SELECT layshaft_enqueue('f', n::text) FROM generate_series(1, 100) AS n`)
		d.await(t, 100)
	}
	awaitEmpty(t, db)
}

// No commit stays unnoticed while forwarders fall asleep and wake, in many transactions at once,
// short and long ones. Without polls, a lost wake-up would last.
func TestWake(t *testing.T) {
	was := idlePoll
	idlePoll = time.Hour
	t.Cleanup(func() { idlePoll = was })
	db, d := outboxOf(t)
	write(t, db, d)
	c, err := postgres.Connect(t.Context(), db.DSN(), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	rng := rand.New(rand.NewPCG(7, 0))
	for range 60 { // each the last one; it begins while the forwarder works, and ends when that falls asleep
		if _, err := c.Query(t.Context(), fmt.Sprintf("BEGIN; SELECT layshaft_enqueue('f', 'last'); SELECT pg_sleep(%f); COMMIT", rng.Float64()/50)); err != nil {
			t.Fatal(err)
		}
		d.await(t, 1)
	}
	forward(t, db, d)
	write(t, db, d)
	db.Exec(t, "SELECT layshaft_enqueue('f', 'last')") // when both sleep
	d.await(t, 1)
}

// write commits tasks from several connections, and waits for them.
func write(t *testing.T, db *pgtest.DB, d *desk) {
	const writers, commits = 4, 50
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			c, err := postgres.Connect(t.Context(), db.DSN(), postgres.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			rng := rand.New(rand.NewPCG(uint64(w), 0))
			for range commits {
				sql := "BEGIN; SELECT layshaft_enqueue('f', 'x');"
				if rng.IntN(2) == 0 {
					sql += fmt.Sprintf(" SELECT pg_sleep(%f);", rng.Float64()/50)
				}
				if _, err := c.Query(t.Context(), sql+" COMMIT"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	d.await(t, writers*commits)
}

// Changes of the same keys that wait together become one task for each key, whatever else waits. A
// change that comes after a lost answer has a task of its own.
func TestCoalesced(t *testing.T) {
	db := pgtest.New(t)
	if err := Apply(t.Context(), db.DSN(), Migration("public")); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, "CREATE TABLE products (id int PRIMARY KEY, n int); SELECT layshaft.watch('products', 'index'); INSERT INTO products SELECT n, 0 FROM generate_series(1, 1000) AS n")
	for range 50 {
		db.Exec(t, "UPDATE products SET n = n + 1")
	}
	db.Exec(t, `SELECT layshaft_enqueue('other', n::text), layshaft_enqueue('unique', 'x', unique_key => 'k'), layshaft_enqueue('due', 'x', coalesce_key => 'k', after => '1h') FROM generate_series(1, 10) AS n`)
	d := &desk{tokens: map[uint64]bool{}, changed: make(chan struct{}, 1), lose: errors.New("the answer got lost")}
	stop := forward(t, db, d)
	if n := len(d.await(t, 1030)); n != 1030 {
		t.Errorf("%d tasks, want one per product and 30 others", n)
	}
	awaitEmpty(t, db)
	stop()

	// A forwarder has the rows of products 1 and 2 queued, but not removed them, when product 1
	// changes again.
	db.Exec(t, "UPDATE products SET n = n + 1 WHERE id <= 2")
	var ask *tasksv1.SubmitTasksRequest
	for _, then := range []string{"UPDATE products SET n = n + 1 WHERE id = 1", ""} {
		ctx, cancel := context.WithCancel(t.Context())
		_ = Forward(ctx, Config{Database: db.DSN(), Submit: func(ctx context.Context, r *tasksv1.SubmitTasksRequest) (*tasksv1.SubmitTasksResponse, error) {
			if ask = r; then != "" {
				_, err := d.submit(ctx, r)
				db.Exec(t, then)
				cancel()
				return nil, errors.Join(err, errors.New("the forwarder ends"))
			}
			defer cancel()
			return d.submit(ctx, r)
		}})
		cancel()
	}
	if len(ask.Tasks) != 2 {
		t.Errorf("%d tasks, want 2", len(ask.Tasks))
	}
	if n := len(d.await(t, 3)); n != 3 {
		t.Errorf("%d tasks, want products 1 and 2, and 1 again", n)
	}
}

// BenchmarkLatency measures from a commit until its task is queued.
func BenchmarkLatency(b *testing.B) {
	db, d := outboxOf(b)
	c, err := postgres.Connect(b.Context(), db.DSN(), postgres.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	var all []time.Duration
	for b.Loop() {
		begun := time.Now()
		if _, err := c.Query(b.Context(), "SELECT layshaft_enqueue('f', 'x')"); err != nil {
			b.Fatal(err)
		}
		d.await(b, 1)
		all = append(all, time.Since(begun))
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkDrain measures how fast waiting rows are queued.
func BenchmarkDrain(b *testing.B) {
	const rows = 100_000
	for b.Loop() {
		b.StopTimer()
		db := pgtest.New(b)
		if err := Apply(b.Context(), db.DSN(), Migration("public")); err != nil {
			b.Fatal(err)
		}
		db.Exec(b, fmt.Sprintf(`SELECT layshaft_enqueue('f', n::text) FROM generate_series(1, %d) AS n`, rows))
		d := &desk{tokens: map[uint64]bool{}, changed: make(chan struct{}, 1)}
		b.StartTimer()
		stop := forward(b, db, d)
		d.await(b, rows)
		b.StopTimer()
		stop()
		b.StartTimer()
	}
	b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
