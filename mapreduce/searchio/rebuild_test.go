package searchio

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/searchtest"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

const body = `{"settings": {"number_of_replicas": 2, "refresh_interval": "30s"}, "mappings": {"_meta": {"owner": "shop"}, "properties": {"price": {"type": "double"}}}}`

// Each run builds a new index, switches the alias, and keeps one former index.
func TestRebuild(t *testing.T) {
	f := &searchtest.Fake{}
	f.Create("products-000002") // of somebody else
	var during []string
	f.Before = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
		if strings.HasSuffix(r.URL.Path, "/_bulk") {
			during = f.Indexes()
		}
		return false
	}
	sink := Write(server(f), "products", sku).Rebuild(Rebuild{Body: body})
	for run, want := range []string{
		"products-000001 [products] refresh=30s replicas=2; products-000002 [] refresh=<nil> replicas=1",
		"products-000001 [] refresh=30s replicas=2; products-000002 [] refresh=<nil> replicas=1; products-000003 [products] refresh=30s replicas=2",
		"products-000002 [] refresh=<nil> replicas=1; products-000003 [] refresh=30s replicas=2; products-000004 [products] refresh=30s replicas=2",
	} {
		n := int64(10 + run)
		if err := load(t.Context(), sink, products(n).Cut(4), mapreduce.Local{Slots: 4}); err != nil {
			t.Fatal(err)
		}
		checkDocs(t, f, "products", n)
		if got := strings.Join(f.Indexes(), "; "); got != want {
			t.Errorf("run %d:\n%s, want\n%s", run, got, want)
		}
		if !strings.Contains(strings.Join(during, "; "), " [] refresh=-1 replicas=0") {
			t.Errorf("run %d: while it was filled: %s", run, during)
		}
	}
	name, err := Rollback(t.Context(), server(f), "products")
	if err != nil || name != "products-000003" {
		t.Errorf("rolled back to %q, %v", name, err)
	}
	checkDocs(t, f, "products", 11)
	if _, err := Rollback(t.Context(), server(f), "products"); err == nil || !strings.Contains(err.Error(), "no former index") {
		t.Errorf("a second rollback: %v", err)
	}
}

// A run that fails leaves the alias as it is, and no new index.
func TestRebuildFails(t *testing.T) {
	f := &searchtest.Fake{}
	sink := Write(server(f), "products", sku).Rebuild(Rebuild{Body: body, AtLeast: 0.5})
	if err := load(t.Context(), sink, products(10), mapreduce.Local{}); err != nil {
		t.Fatal(err)
	}
	before := f.Indexes()
	same := func(doc) string { return "same" }
	for _, x := range []struct {
		name string
		sink connector.Sink[doc]
		n    int64
		want string
	}{
		{"too few", sink, 4, "index products-000002 has 4 documents, and products has 10: less than the share 0.5"},
		{"equal IDs", Write(server(f), "products", same).Rebuild(Rebuild{}), 9, "has 1 document, and 9 should be there: several records have the same ID"},
		{"a panic", Write(server(f), "products", func(d doc) string { panic("oh") }).Rebuild(Rebuild{}), 9, "oh"},
	} {
		err := load(t.Context(), x.sink, products(x.n), mapreduce.Local{})
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %s", x.name, err, x.want)
		}
		if got := f.Indexes(); !slices.Equal(got, before) {
			t.Errorf("%s: indexes %v, want %v", x.name, got, before)
		}
	}
	if err := load(t.Context(), Write(server(f), "products", same).Rebuild(Rebuild{Duplicates: true}), products(9), mapreduce.Local{}); err != nil || len(f.Docs("products")) != 1 {
		t.Errorf("permitted duplicates: %v, %d documents", err, len(f.Docs("products")))
	}
}

// Finish may be killed between any two requests and called again.
func TestFinishKilled(t *testing.T) {
	for kill := 1; ; kill++ {
		f := &searchtest.Fake{}
		sink := Write(server(f), "products", sku).Rebuild(Rebuild{Body: body})
		if err := load(t.Context(), sink, products(3), mapreduce.Local{}); err != nil {
			t.Fatal(err)
		}
		w, err := sink.Open(t.Context(), connector.SinkTask{Job: "next"})
		if err != nil {
			t.Fatal(err)
		}
		for i := range int64(5) {
			d := product(i)
			if err := w.Write(&d); err != nil {
				t.Fatal(err)
			}
		}
		part, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		f.Before = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if n++; n == kill {
				cancel()
				panic("killed")
			}
			return false
		}
		killed := sink.Finish(ctx, "next", [][]byte{part})
		f.Before = nil
		if err := sink.Finish(t.Context(), "next", [][]byte{part}); err != nil {
			t.Fatalf("killed at request %d: %v", kill, err)
		}
		checkDocs(t, f, "products", 5)
		if got, want := strings.Join(f.Indexes(), "; "), "products-000001 [] refresh=30s replicas=2; products-000002 [products] refresh=30s replicas=2"; got != want {
			t.Fatalf("killed at request %d: %s, want %s", kill, got, want)
		}
		if ok, err := sink.Published(t.Context(), "next", time.Time{}); !ok || err != nil {
			t.Errorf("published: %v, %v", ok, err)
		}
		if killed == nil {
			return
		}
	}
}

// What cannot work is an error before the run, with a way out.
func TestCheck(t *testing.T) {
	f := &searchtest.Fake{}
	f.Create("products")
	deny := func(status int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) })
	}
	mapping := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			w.WriteHeader(400)
			fmt.Fprint(w, `{"error":{"type":"mapper_parsing_exception","reason":"No handler for type [doubel]"},"status":400}`)
			return
		}
		f.ServeHTTP(w, r)
	})
	plain := httptest.NewServer(f)
	defer plain.Close()
	secure := httptest.NewTLSServer(f)
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	defer secure.Close()
	write := func(s Server) Sink[doc] { return Write(s, "products", sku) }
	for _, x := range []struct {
		name string
		sink connector.Sink[doc]
		want string
	}{
		{"no index", Write(server(f), "moon", sku), `the server has no index "moon": create it`},
		{"bad name", Write(server(f), "Moon", sku), `index "Moon": use 1 to 200 lower-case letters`},
		{"no ID", Write[doc](server(f), "products", nil), "the function for IDs is nil"},
		{"bad batch", write(server(f)).Batch(0, 1), "use positive numbers"},
		{"no credentials", write(server(deny(401))), "set LAYSHAFT_SEARCH_USER and LAYSHAFT_SEARCH_PASSWORD, or LAYSHAFT_SEARCH_API_KEY"},
		{"no permission", write(server(deny(403))), "the user needs the right"},
		{"redirect", write(server(deny(302))), "redirects are not followed"},
		{"an index, not an alias", write(server(f)).Rebuild(Rebuild{}), `"products" is an index; Rebuild needs the name for an alias`},
		{"refused mapping", Write(server(mapping), "docs", sku).Rebuild(Rebuild{}), "refuses an index with this Rebuild.Body: search server http://search.test:9200: status 400: mapper_parsing_exception: No handler for type [doubel]"},
		{"bad body", Write(server(f), "docs", sku).Rebuild(Rebuild{Body: "{"}), "Rebuild.Body is not the JSON"},
		{"bad share", Write(server(f), "docs", sku).Rebuild(Rebuild{AtLeast: 2}), "AtLeast 2: use a share"},
		{"password in the URL", write(Server{URL: "http://u:hunter2@host:9200"}), "LAYSHAFT_SEARCH_USER and LAYSHAFT_SEARCH_PASSWORD, so that no plan"},
		{"bad URL", write(Server{URL: "search:9200"}), "is not of the form http://HOST:9200"},
		{"unknown CA", write(Server{URL: secure.URL}), "name the file of its CA in LAYSHAFT_SEARCH_CA"},
		{"no TLS", write(Server{URL: strings.Replace(plain.URL, "http:", "https:", 1)}), "check the scheme of the address"},
		{"in flight", write(Server{URL: plain.URL, InFlight: -1}), "InFlight -1"},
	} {
		t.Run(x.name, func(t *testing.T) {
			err := load(t.Context(), x.sink, products(1), mapreduce.Local{})
			if err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("%v\nwant %s", err, x.want)
			} else if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}
	if len(f.Indexes()) != 1 {
		t.Errorf("indexes %v; want no trial left", f.Indexes())
	}
}

// Credentials come from variables or files, are sent with each request, and appear nowhere else.
func TestSecrets(t *testing.T) {
	f := &searchtest.Fake{}
	var seen []string
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		if strings.HasSuffix(r.URL.Path, "_bulk") {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"error":"no permissions"}`)
			return
		}
		f.ServeHTTP(w, r)
	}))
	defer secure.Close()
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("EU_CA", file("ca.pem", pemOf(secure)))
	for name, set := range map[string]func(t *testing.T){
		"Basic ZWxpOmh1bnRlcjI=": func(t *testing.T) { t.Setenv("EU_USER", "eli"); t.Setenv("EU_PASSWORD", "hunter2") },
		"ApiKey hunter2":         func(t *testing.T) { t.Setenv("EU_API_KEY_FILE", file("key", []byte("hunter2\n"))) },
	} {
		t.Run(name, func(t *testing.T) {
			set(t)
			seen = nil
			var out, log bytes.Buffer
			target := mapreduce.Local{State: t.TempDir(), Reporting: mapreduce.Reporting{Out: &out, Err: &log, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}}
			sink := Write(Server{URL: secure.URL, Env: "EU"}, "products", sku).Rebuild(Rebuild{})
			err := load(t.Context(), sink, products(9), target)
			if err == nil || !strings.Contains(err.Error(), "no permissions") {
				t.Fatal(err)
			}
			target.Explain = true
			explained := load(t.Context(), sink, products(9), target)
			if len(seen) == 0 || slices.ContainsFunc(seen, func(h string) bool { return h != name }) {
				t.Errorf("sent %q, want %q each time", seen, name)
			}
			all := out.String() + log.String() + err.Error() + fmt.Sprint(explained, sink, f.Requests())
			for _, secret := range []string{"hunter2", "ZWxpOmh1bnRlcjI"} {
				if strings.Contains(all, secret) {
					t.Errorf("%s appears in:\n%s", secret, all)
				}
			}
			err = filepath.WalkDir(target.State, func(path string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				b, err := os.ReadFile(path)
				if bytes.Contains(b, []byte("hunter2")) {
					t.Errorf("the secret is in %s", path)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func pemOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}
