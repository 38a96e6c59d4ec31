//go:build unix

package cluster

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/layshaft/layshaft/e2e/internal/proc"
	"github.com/layshaft/layshaft/internal/pgtest"
	"github.com/layshaft/layshaft/internal/searchtest"
)

var catalogProducts = flag.Int("products", 4000, "number of products of TestCatalog; from 100,000 on, the search server is OpenSearch")

// TestCatalog runs examples/catalog as docs/catalogue.md does: the night on three workers, the day
// by a follower. Products change meanwhile, one document in ten is refused for a moment, the
// connection of the snapshot is cut, and workers and the coordinator are killed. The documents
// equal the result of one SQL statement. The database and the search server never see more at once than
// allowed.
func TestCatalog(t *testing.T) {
	// A night of fewer products may have read everything before its snapshot is cut.
	const allPhases = 100_000
	n := *catalogProducts
	limit := patience + time.Duration(n)*10*time.Millisecond
	db := pgtest.New(t)
	t.Setenv("LAYSHAFT_PG_shop", db.TCP())
	begun := time.Now()
	step := func(format string, args ...any) {
		t.Logf("%6.1f s: "+format, append([]any{time.Since(begun).Seconds()}, args...)...)
	}
	start := func(name string, args ...string) *process {
		return proc.Start(t, limit, name, exec.Command(filepath.Join(binDir, "catalog"), append([]string{"-database", "shop"}, args...)...))
	}
	if code := start("generate", "-generate", strconv.Itoa(n)).Wait(t); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	step("%d products in the database", n)
	if out, err := exec.Command(filepath.Join(binDir, "layshaft"), "pg", "install", "shop").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	db.Exec(t, "SELECT layshaft.watch('products', 'index')")

	docs, front := catalogServer(t, n)
	m := startMembers(t, config{workers: 3, slots: 2, coord: []string{"-outbox", "shop"}})
	night := start("night", "-search", front.url, "-cluster", m.grpc, "-dir", filepath.Join(t.TempDir(), "catalog"))
	var changes sync.WaitGroup
	changes.Go(func() { changeProducts(t, db, n) })
	most, phase := 0, 0
	for deadline := time.After(limit); night.IsAlive(); {
		select {
		case <-night.Ended:
		case <-deadline:
			t.Fatalf("the night takes more than %v, in phase %d", limit, phase)
		case <-time.After(100 * time.Millisecond): // the next look
		}
		most = max(most, db.Connections(t, "datname = current_database() AND application_name IN ('layshaft plan', 'layshaft read', 'layshaft write')", 8))
		jobs := m.look().Jobs
		switch {
		case len(jobs) == 0:
		case phase == 0 && jobs[0].Done > 0:
			phase++
			db.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'layshaft plan'")
			step("the connection of the snapshot is cut")
		case phase == 1 && night.Count("starts over on a new snapshot") > 0 && jobs[0].Done > 1:
			phase++
			m.die(0)
			m.coord.Kill()
			m.startCoordinator()
			step("a worker and the coordinator were killed, %d tasks done", jobs[0].Done)
		case phase == 2 && front.Requests() > 2:
			phase++
			m.restartWorker(0)
			m.die(1)
			m.coord.Kill()
			m.startCoordinator()
			step("another worker and the coordinator were killed, %d bulk requests", front.Requests())
		}
	}
	again := night.Count("starts over on a new snapshot")
	if code := night.Wait(t); code != 0 || phase == 0 || again > 1 || n >= allPhases && (phase != 3 || again != 1) {
		t.Fatalf("exit code %d, phase %d, the job started over %d times", code, phase, again)
	}
	step("the night has ended: %s", lastLine(night.Out.String()))
	changes.Wait()
	step("all changes are committed; the day begins")

	start("day", "-follow", "-search", front.url, "-cluster", m.grpc)
	var tasks struct {
		Totals struct{ Waiting, Delayed, Running, Done, Failed int }
	}
	for deadline := time.Now().Add(limit); ; {
		waiting := db.Exec(t, "SELECT count(*) FROM layshaft.outbox")[0][0]
		m.ask(&tasks, "task", "status")
		if n := tasks.Totals; waiting == "0" && n.Waiting+n.Delayed+n.Running == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s rows wait in the outbox, tasks: %+v", waiting, tasks.Totals)
		}
		<-time.After(100 * time.Millisecond) // the next look
	}
	step("all changes have followed: %d tasks, %d failed", tasks.Totals.Done, tasks.Totals.Failed)
	if tasks.Totals.Failed > 0 {
		t.Errorf("%d tasks have failed", tasks.Totals.Failed)
	}
	compareDocuments(t, db, docs(), n)
	step("compared; at most %d connections, and %d bulk requests of %d at once", most, front.Most(), front.Requests())
	if most < 2 || most > 8 {
		t.Errorf("there were %d connections at once, want 2 to 8", most)
	}
	if front.Most() > 4+1 { // the follower has one of its own
		t.Errorf("there were %d bulk requests at once, want at most 4, and 1 of the follower", front.Most())
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// catalogFront is the address of a proxy before a search server.
type catalogFront struct {
	*searchtest.Proxy
	url string
}

// catalogServer starts a search server that refuses one document in ten at first, and cuts some
// requests. docs returns the documents of the alias products by ID.
func catalogServer(t *testing.T, n int) (docs func() map[string]string, front catalogFront) {
	proxy := &searchtest.Proxy{Fault: func(n int) string { return map[int]string{3: "cut", 5: "503", 7: "cut after", 11: "half"}[n%20] }}
	var seen sync.Map
	proxy.Busy = func(id string) bool {
		if !strings.HasSuffix(id, "7") {
			return false
		}
		_, again := seen.LoadOrStore(id, true)
		return !again
	}
	if n >= 100_000 {
		proxy.URL = searchtest.Start(t)
		docs = func() map[string]string { return allDocuments(t, proxy.URL) }
	} else {
		fake := &searchtest.Fake{}
		engine := httptest.NewServer(fake)
		t.Cleanup(engine.Close)
		proxy.URL = engine.URL
		docs = func() map[string]string { return fake.Docs("products") }
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return docs, catalogFront{proxy, server.URL}
}

// allDocuments reads the alias products of a real server page by page.
func allDocuments(t *testing.T, url string) map[string]string {
	docs := map[string]string{}
	post := func(path, body string) (page struct {
		Hits struct {
			Hits []struct {
				ID     string          `json:"_id"`
				Source json.RawMessage `json:"_source"`
				Sort   json.RawMessage
			}
		}
	}) {
		resp, err := http.Post(url+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
			t.Fatal(err)
		}
		return page
	}
	post("/products/_refresh", "")
	after := ""
	for {
		hits := post("/products/_search", `{"size": 10000, "sort": [{"id": "asc"}]`+after+`}`).Hits.Hits
		for _, h := range hits {
			docs[h.ID] = string(h.Source)
			after = `, "search_after": ` + string(h.Sort)
		}
		if len(hits) == 0 {
			return docs
		}
	}
}

// changeProducts changes, one after the other, one product in 25, in transactions of ten.
func changeProducts(t *testing.T, db *pgtest.DB, n int) {
	c, err := pgconn.Connect(t.Context(), db.DSN())
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close(t.Context())
	for i := range n / 250 {
		from := 1 + i*250
		sql := []string{
			"UPDATE products SET title = title || '.' WHERE id BETWEEN %d AND %d",
			"UPDATE prices SET price = price + 1 WHERE product_id BETWEEN %d AND %d",
			"UPDATE stock SET quantity = quantity + 1 WHERE product_id BETWEEN %d AND %d",
			"DELETE FROM products WHERE id BETWEEN %d AND %d",
			"BEGIN; UPDATE prices SET price = 1 WHERE product_id BETWEEN %d AND %d; ROLLBACK; UPDATE attributes SET value = value || '!' WHERE product_id BETWEEN %[1]d AND %[2]d",
		}[i%5]
		if _, err := c.Exec(t.Context(), fmt.Sprintf(sql, from, from+9)).ReadAll(); err != nil {
			t.Error(err)
			return
		}
		<-time.After(20 * time.Millisecond) // changes come all the time
	}
}

// compareDocuments compares all documents with the documents of the reference of examples/catalog.
func compareDocuments(t *testing.T, db *pgtest.DB, docs map[string]string, n int) {
	t.Helper()
	reference, err := os.ReadFile("../../examples/catalog/testdata/reference.sql")
	if err != nil {
		t.Fatal(err)
	}
	medians := map[string]float64{}
	for _, row := range db.Exec(t, "SELECT category, median FROM category_medians") {
		medians[row[0]], _ = strconv.ParseFloat(row[1], 64)
	}
	c, err := pgconn.Connect(t.Context(), db.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	next, number, wrong := "BEGIN; DECLARE reference CURSOR FOR "+string(reference)+"; FETCH 10000 FROM reference", 0, 0
	for {
		results, err := c.Exec(t.Context(), next).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		next = "FETCH 10000 FROM reference"
		rows := results[len(results)-1].Rows
		if len(rows) == 0 {
			break
		}
		number += len(rows)
		for _, row := range rows {
			if got, want := docs[string(row[0])], string(row[1]); !sameDocument(t, got, want, medians) {
				if wrong++; wrong <= 5 {
					t.Errorf("document %s is %s, want %s", row[0], got, want)
				}
			}
		}
	}
	if len(docs) != number || number < n*9/10 || wrong > 0 {
		t.Errorf("%d documents, want %d; %d are wrong or missing", len(docs), number, wrong)
	}
}

// sameDocument compares a document with the reference, which has no price level.
func sameDocument(t *testing.T, document, reference string, medians map[string]float64) bool {
	var got, want map[string]any
	if document == "" {
		return false
	}
	for text, x := range map[string]*map[string]any{document: &got, reference: &want} {
		if err := json.Unmarshal([]byte(text), x); err != nil {
			t.Fatal(err)
		}
	}
	level, _ := got["price_level"].(float64)
	if category, _ := want["category"].(string); math.Abs(level-want["price"].(float64)/medians[category]) > 0.001 {
		return false
	}
	delete(got, "price_level")
	maps.DeleteFunc(want, func(_ string, v any) bool { return v == nil })
	return reflect.DeepEqual(got, want)
}
