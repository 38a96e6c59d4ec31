package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/searchtest"
	"github.com/layshaft/layshaft/tasks"
)

// fakeShop is a shop whose search server is a small one in memory.
func fakeShop(t testing.TB, products int64) (*shop, *searchtest.Fake) {
	fake := &searchtest.Fake{}
	engine := httptest.NewServer(fake)
	t.Cleanup(engine.Close)
	return newShop(t, products, engine.URL, func() map[string]string { return fake.Docs(alias) }), fake
}

// Two nightly runs make the documents of the SQL join.
func TestNightly(t *testing.T) {
	s, _ := fakeShop(t, 2000)
	s.nightly(t)
	s.check(t)
	first := s.docs()
	s.nightly(t)
	if !reflect.DeepEqual(s.docs(), first) {
		t.Error("the second run changed documents")
	}
}

// changes are transactions that change documents.
var changes = []string{
	`UPDATE products SET title = ' New title' WHERE id = 1`,
	`UPDATE prices SET price = price + 1 WHERE product_id BETWEEN 10 AND 19`,
	`UPDATE stock SET quantity = quantity - 1000 WHERE product_id = 20`,
	`DELETE FROM attributes WHERE product_id = 30 AND name = 'color'`,
	`INSERT INTO attributes VALUES (30, 'size', 'XL'), (31, 'size', 'S')`,
	`UPDATE images SET product_id = 41, position = 9 WHERE product_id = 40 AND position = 1`,
	`DELETE FROM products WHERE id BETWEEN 50 AND 59`,
	`DELETE FROM prices WHERE product_id = 60 AND market = 'DE'`,
	`UPDATE prices SET currency = 'XXX' WHERE product_id = 61`,
	`INSERT INTO prices VALUES (8, 'DE', 12.5, 'EUR')`,
	`INSERT INTO products (id, sku, title, category_id, rating) VALUES (5000, 'NEW', 'New', 4, 4.5);
	 INSERT INTO prices VALUES (5000, 'DE', 99.9, 'usd')`,
	`DELETE FROM products WHERE id = 70`,
	`INSERT INTO products (id, sku, title, category_id, rating) VALUES (70, 'BACK', 'Back', 5, 1);
	 INSERT INTO prices VALUES (70, 'DE', 1, 'GBP')`,
}

// Committed changes reach their documents, and one that is rolled back reaches none.
func TestFollow(t *testing.T) {
	s, fake := fakeShop(t, 2000)
	testFollow(t, s)
	_, _, writes := fake.Counts()
	s.Exec(t, "BEGIN; UPDATE prices SET price = 1; DELETE FROM products; ROLLBACK")
	s.settle(t)
	if _, _, n := fake.Counts(); n != writes {
		t.Errorf("a transaction that was rolled back wrote %d documents", n-writes)
	}
}

// A document that the search server refuses is a dead letter with the reason, at once. Others of its
// batch are written.
func TestFollow_refused(t *testing.T) {
	s, fake := fakeShop(t, 2000)
	s.nightly(t)
	s.install(t)
	fake.Refuse = func(_, id string, _ []byte) (int, string) {
		if id == "3" {
			return http.StatusBadRequest, "failed to parse field [title]"
		}
		return 0, ""
	}
	s.follows(t)
	s.Exec(t, "UPDATE products SET title = 'New' WHERE id BETWEEN 1 AND 5")
	s.await(t)
	dead, err := s.tasks.Dead(t.Context(), "index", 10)
	if err != nil || len(dead) != 1 || dead[0].Attempts != 1 || !strings.Contains(dead[0].Error, "failed to parse field [title]") {
		t.Errorf("dead letters: %+v, %v", dead, err)
	}
	for id, text := range s.docs() {
		if n, _ := strconv.Atoi(id); n < 6 && n != 3 && !strings.Contains(text, `"title":"New"`) {
			t.Errorf("document %s", text)
		}
	}
}

func testFollow(t *testing.T, s *shop) {
	s.nightly(t)
	s.install(t)
	s.follows(t)
	for _, x := range changes {
		s.Exec(t, x)
	}
	s.settle(t)
	s.check(t)
}

// The same, with a real OpenSearch.
func TestFollow_openSearch(t *testing.T) {
	if os.Getenv("LAYSHAFT_NIGHTLY") == "" {
		t.Skip("set LAYSHAFT_NIGHTLY=1")
	}
	url := searchtest.Start(t)
	testFollow(t, newShop(t, 2000, url, func() map[string]string {
		resp, err := http.Post(url+"/"+alias+"/_refresh", "application/json", nil)
		if err == nil {
			_ = resp.Body.Close()
			resp, err = http.Get(url + "/" + alias + "/_search?size=10000")
		}
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var page struct {
			Hits struct {
				Hits []struct {
					ID     string          `json:"_id"`
					Source json.RawMessage `json:"_source"`
				}
			}
		}
		if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
			t.Fatal(err)
		}
		docs := map[string]string{}
		for _, h := range page.Hits.Hits {
			docs[h.ID] = string(h.Source)
		}
		return docs
	}))
}

// Transactions that the snapshot of the nightly run does not show are queued again, and no others:
// one that began before it, a deletion, and nothing from a rollback.
func TestNightly_lateChanges(t *testing.T) {
	s, fake := fakeShop(t, 2000)
	s.nightly(t)
	s.install(t)
	s.Exec(t, `SELECT layshaft.unwatch('products', 'index'); UPDATE prices SET price = 3 WHERE product_id = 1`)
	db := openDatabase(s.DSN(), 1)
	defer db.close()
	for _, x := range []string{"BEGIN", "UPDATE prices SET price = 7 WHERE product_id = 5"} {
		if _, err := db.query(t.Context(), x); err != nil {
			t.Fatal(err)
		}
	}
	fake.Before = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.URL.Path == "/_aliases" {
			_, err := db.query(t.Context(), "COMMIT")
			if err != nil {
				t.Error(err)
			}
			s.Exec(t, "DELETE FROM products WHERE id = 10")
			s.Exec(t, "BEGIN; UPDATE prices SET price = 9; ROLLBACK")
		}
		return false
	}
	s.nightly(t)
	var ids []string
	for _, row := range s.Exec(t, "SELECT convert_from(payload, 'UTF8'), coalesce_key FROM layshaft.outbox ORDER BY 1") {
		ids = append(ids, row[0]+row[1])
	}
	if want := []string{`{"key": {"id": 10}, "table": "products"}t`, `{"key": {"id": 5}, "table": "products"}t`}; !slices.Equal(ids, want) {
		t.Errorf("queued %q, want %q", ids, want)
	}
	s.follows(t)
	s.settle(t)
	s.check(t)
}

// Without a search server, the page shows the table of changed documents over the nightly ones. An
// older event after a newer one changes nothing.
func TestDocuments(t *testing.T) {
	s, _ := fakeShop(t, 2000)
	s.nightly(t)
	var night []Document
	for _, text := range s.docs() {
		var l struct {
			Document
			Price json.Number `json:"price"`
		}
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		l.Document.Price = cents(t, l.Price.String())
		night = append(night, l.Document)
	}
	for _, x := range changes {
		s.Exec(t, x)
	}
	db := openDatabase(s.DSN(), 2)
	defer db.close()
	f := &follower{db, documents{db}, "DE", rates}
	var batch []change
	for id := range int64(100) {
		c := change{Table: "products"}
		c.Key.ID = id
		batch = append(batch, c)
	}
	if _, err := f.index(t.Context(), batch); err.(tasks.ItemErrors).Error() != "no task of the batch failed" {
		t.Fatal(err)
	}
	for _, older := range []edit{{"1", 5, &Document{Title: "older"}}, {"1", 5, nil}, {"1", 6, &Document{Title: "older, too"}}} {
		if err := f.docs.write(t.Context(), []edit{older})[0]; err != nil {
			t.Error(err)
		}
	}
	fresh, err := documents{db}.renew(t.Context(), night)
	if err != nil {
		t.Fatal(err)
	}
	s.nightly(t)
	want := s.docs()
	delete(want, "8") // new: the page finds them with the next index
	delete(want, "5000")
	if len(fresh) != len(want) {
		t.Errorf("%d documents, want %d", len(fresh), len(want))
	}
	for _, d := range fresh {
		if text := want[docID(d)]; !strings.Contains(text, `"changed":`+strconv.FormatInt(d.Changed, 10)) || !strings.Contains(text, `"title":"`+d.Title+`"`) {
			t.Errorf("the page shows %+v, want %s", d, text)
		}
	}
}
