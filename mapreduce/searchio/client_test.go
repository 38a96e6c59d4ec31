package searchio

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/internal/searchtest"
)

// Calls during a request share the next one, and many changes of a document become one.
func TestClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &searchtest.Fake{}
		f.Create("products")
		f.Before = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
			if strings.HasSuffix(r.URL.Path, "_bulk") {
				time.Sleep(time.Second)
			}
			return false
		}
		c, err := Open[doc](t.Context(), server(f), "products")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var all sync.WaitGroup
		for i := range 5000 {
			all.Go(func() {
				id := fmt.Sprint("A-", i%100)
				if err := c.Put(t.Context(), id, int64(i+1), doc{SKU: id, Price: float64(i)}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		bulks, most, writes := f.Counts()
		if bulks > 2 || most != 1 || writes > 200 {
			t.Errorf("%d requests, %d at once, %d changes; want 2, 1, and at most 200", bulks, most, writes)
		}
		for i := range 100 {
			if got, want := f.Docs("products")[fmt.Sprint("A-", i)], fmt.Sprintf(`"price":%d}`, 4900+i); !strings.HasSuffix(got, want) {
				t.Errorf("%s, want %s", got, want)
			}
		}
		if err := c.Delete(t.Context(), "A-1", 5); err != nil || f.Docs("products")["A-1"] == "" {
			t.Errorf("a late deletion: %v, %q", err, f.Docs("products")["A-1"])
		}
		if err := c.Delete(t.Context(), "A-1", 9000); err != nil || f.Docs("products")["A-1"] != "" {
			t.Errorf("a deletion: %v, %q", err, f.Docs("products")["A-1"])
		}
		if err := c.Delete(t.Context(), "never", 0); err != nil {
			t.Error("a missing document:", err)
		}
	})
}

// A refused document fails its own call alone; a caller that leaves, or Close, ends the wait.
func TestClientErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &searchtest.Fake{Refuse: func(_, id string, _ []byte) (int, string) {
			if id == "bad" {
				return 400, "failed to parse"
			}
			return 0, ""
		}}
		f.Create("products")
		if _, err := Open[doc](t.Context(), server(f), "moon"); err == nil || !strings.Contains(err.Error(), `no index "moon"`) {
			t.Errorf("a missing index: %v", err)
		}
		c, err := Open[doc](t.Context(), server(f), "products")
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for _, id := range []string{"a", "bad", "c"} {
			all.Go(func() {
				if err := c.Put(t.Context(), id, 0, doc{}); (id == "bad") != errors.Is(err, ErrRefused) {
					t.Errorf("%s: %v", id, err)
				}
			})
		}
		all.Wait()
		for id, version := range map[string]int64{"": 0, "x": -1} {
			if err := c.Put(t.Context(), id, version, doc{}); err == nil {
				t.Errorf("ID %q, version %d: no error", id, version)
			}
		}
		f.Before = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			w.WriteHeader(503)
			return true
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Put(ctx, "d", 0, doc{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after the caller's time: %v", err)
		}
		all.Go(func() {
			if err := c.Put(t.Context(), "e", 0, doc{}); !errors.Is(err, ErrClosed) {
				t.Errorf("a call during Close: %v", err)
			}
		})
		synctest.Wait()
		c.Close()
		all.Wait()
		if err := c.Put(t.Context(), "f", 0, doc{}); !errors.Is(err, ErrClosed) {
			t.Errorf("a call after Close: %v", err)
		}
	})
}
