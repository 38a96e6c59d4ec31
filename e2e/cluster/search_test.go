//go:build unix

package cluster

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/searchtest"
)

// TestDocuments builds a search index on three workers while the server refuses one document in ten
// for a moment and cuts connections, and a worker and the coordinator are killed. Each document is
// there once. The server never sees more requests at once than allowed, and the password is shown
// nowhere.
func TestDocuments(t *testing.T) {
	const n, secret = 12_000, "hunter2-of-the-search-server"
	t.Setenv("LAYSHAFT_SEARCH_USER", "eli")
	t.Setenv("LAYSHAFT_SEARCH_PASSWORD", secret)
	var tries sync.Map
	var bulks, strangers atomic.Int32
	fake := &searchtest.Fake{Refuse: func(_, id string, _ []byte) (int, string) {
		if _, again := tries.LoadOrStore(id, true); !again && strings.HasSuffix(id, "7") {
			return http.StatusTooManyRequests, "queue is full"
		}
		return 0, ""
	}}
	fake.Before = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		if _, password, _ := r.BasicAuth(); password != secret {
			strangers.Add(1)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		if strings.HasSuffix(r.URL.Path, "/_bulk") {
			time.Sleep(20 * time.Millisecond) // a real server takes longer
			if bulks.Add(1)%9 == 0 {
				panic(http.ErrAbortHandler)
			}
		}
		return false
	}
	engine := httptest.NewServer(fake)
	defer engine.Close()
	m := startMembers(t, config{workers: 3, slots: 3})
	r := launch(t, "documents", "documents", "-cluster", m.grpc, "-url", engine.URL, "-n", fmt.Sprint(n))
	until(t, "four tasks are committed", func() bool {
		jobs := m.look().Jobs
		return len(jobs) > 0 && jobs[0].Done >= 4 || !r.IsAlive()
	})
	m.die(0)
	m.coord.Kill()
	m.startCoordinator()
	if code := r.Wait(t); code != 0 || strangers.Load() > 0 {
		t.Fatalf("exit code %d, %d requests without the password:\n%s", code, strangers.Load(), r.Err.String())
	}
	docs := fake.Docs("products")
	for i := range n {
		if id := fmt.Sprint("A-", i); docs[id] != fmt.Sprintf(`{"sku":%q,"price":%d}`, id, i) {
			t.Fatalf("document %s is %s", id, docs[id])
		}
	}
	if _, most, _ := fake.Counts(); len(docs) != n || most < 2 || most > 4 {
		t.Errorf("%d documents, at most %d requests at once; want %d, and 2 to 4 at once", len(docs), most, n)
	}
	if list := fake.Indexes(); len(list) != 1 || !strings.HasPrefix(list[0], "products-000001 [products]") {
		t.Errorf("indexes: %v", list)
	}
	m.searchSecret(secret, map[string][]byte{"documents": []byte(r.Err.String() + strings.Join(r.Cmd.Args, " "))})
}
