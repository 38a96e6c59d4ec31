package searchio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/internal/searchtest"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

type doc struct {
	SKU     string  `json:"sku"`
	Name    string  `json:"name"`
	Price   float64 `json:"price"`
	Changed int64   `json:"-"`
	Gone    bool    `json:"-"`
}

func sku(d doc) string    { return d.SKU }
func changed(d doc) int64 { return d.Changed }
func product(i int64) doc {
	return doc{SKU: fmt.Sprintf("A-%d", i), Name: "name \"ä\"", Price: float64(i), Changed: i + 1}
}
func products(n int64) memio.Source[doc] { return memio.Generate(n, product) }

// wire is a network to a handler in memory: it works under a fake clock.
type wire struct{ http.Handler }

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	done := make(chan any, 1)
	go func() {
		defer func() { done <- recover() }()
		w.ServeHTTP(rec, r)
	}()
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case cut := <-done:
		if cut != nil {
			return nil, errors.New("connection reset by peer")
		}
	}
	resp := rec.Result()
	if resp.Header.Get("Half") != "" {
		b, _ := io.ReadAll(resp.Body)
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(string(b[:len(b)/2])), brokenReader{}))
	}
	return resp, nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func server(f http.Handler) Server { return Server{URL: "http://search.test:9200", transport: wire{f}} }

type none struct{}

// load runs a pipeline of records into a sink.
func load(ctx context.Context, sink connector.Sink[doc], source connector.Source[doc], target mapreduce.Local, opts ...mapreduce.PlanOption) error {
	def := mapreduce.Define("load", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[mapreduce.None] {
		mapreduce.Read(p, source).WriteTo(sink)
		return mapreduce.Nothing(p)
	}, opts...)
	_, err := def.Collect(ctx, target, none{})
	return err
}

// attempt writes records through one attempt of a sink, without a pipeline.
func attempt(ctx context.Context, s Sink[doc], n int64) (bad []string, err error) {
	w, err := s.Open(ctx, connector.SinkTask{Job: "job", Of: 1, Attempt: 1})
	if err != nil {
		return nil, err
	}
	w.(connector.RefusingWriter).SetBad(func(err error, record []byte) error {
		bad = append(bad, fmt.Sprintf("%v %s", err, record))
		return nil
	})
	for i := range n {
		d := product(i)
		if err := w.Write(&d); err != nil {
			w.Abort()
			return bad, err
		}
	}
	_, err = w.Close()
	if err != nil {
		w.Abort()
	}
	return bad, err
}

// want returns the documents of products(n).
func want(n int64) map[string]string {
	all := map[string]string{}
	for i := range n {
		d := product(i)
		b, _ := json.Marshal(d)
		all[d.SKU] = string(b)
	}
	return all
}

func checkDocs(t *testing.T, f *searchtest.Fake, index string, n int64) {
	t.Helper()
	if got := f.Docs(index); !maps.Equal(got, want(n)) {
		t.Errorf("%d documents, want those of %d records; one is %s", len(got), n, got["A-1"])
	}
}

// A pipeline writes all documents, never with more requests in flight than permitted. The same run
// again changes nothing.
func TestPipeline(t *testing.T) {
	f := &searchtest.Fake{}
	f.Create("products")
	s := server(f)
	s.InFlight = 2
	sink := Write(s, "products", sku).Version(changed).Batch(20, 1<<20)
	for run := range 2 {
		if err := load(t.Context(), sink, products(1000).Cut(8), mapreduce.Local{Slots: 6}); err != nil {
			t.Fatal(err)
		}
		checkDocs(t, f, "products", 1000)
		if bulks, most, writes := f.Counts(); writes != 1000 || most > 2 || bulks < 50*(run+1) {
			t.Errorf("run %d: %d requests, %d at once, %d changes; want at most 2 at once and 1000 changes", run, bulks, most, writes)
		}
	}
}

// Every fault of the server is overcome: each document is there once, and none is lost.
func TestFaults(t *testing.T) {
	busy := func(status int) func(w http.ResponseWriter, f *searchtest.Fake) {
		return func(w http.ResponseWriter, _ *searchtest.Fake) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
		}
	}
	faults := map[string]func(w http.ResponseWriter, f *searchtest.Fake){
		"429": busy(429), "500": busy(500), "502": busy(502), "503": busy(503), "504": busy(504), "408": busy(408),
		"cut":        func(http.ResponseWriter, *searchtest.Fake) { panic("cut") },
		"html":       func(w http.ResponseWriter, _ *searchtest.Fake) { fmt.Fprint(w, "<html>") },
		"few items":  func(w http.ResponseWriter, _ *searchtest.Fake) { fmt.Fprint(w, `{"errors":false,"items":[]}`) },
		"cut after":  nil,
		"half after": nil,
		"slow":       nil,
	}
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &searchtest.Fake{}
				f.Create("products")
				var n atomic.Int32
				h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !strings.HasSuffix(r.URL.Path, "/_bulk") || n.Add(1)%2 == 0 {
						f.ServeHTTP(w, r)
						return
					}
					switch name {
					case "cut after": // the server did it, and the answer is lost
						f.ServeHTTP(httptest.NewRecorder(), r)
						panic("cut")
					case "slow":
						<-r.Context().Done()
					case "half after":
						w.Header().Set("Half", "1")
						f.ServeHTTP(w, r)
					default:
						faults[name](w, f)
					}
				})
				start := time.Now()
				bad, err := attempt(t.Context(), Write(server(h), "products", sku).Version(changed).Batch(25, 1<<20), 100)
				if err != nil || len(bad) > 0 {
					t.Fatal(err, bad)
				}
				checkDocs(t, f, "products", 100)
				if _, _, writes := f.Counts(); writes != 100 {
					t.Errorf("%d changes, want 100", writes)
				}
				if took := time.Since(start); name == "429" && (took < 28*time.Second || took > 40*time.Second) {
					t.Errorf("4 pauses of Retry-After: 7 took %v", took)
				}
			})
		})
	}
}

// Items that are busy are sent again, alone. The pauses grow.
func TestBusyItems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &searchtest.Fake{}
		f.Create("products")
		tries := map[string]int{}
		f.Refuse = func(_, id string, _ []byte) (int, string) {
			tries[id]++
			switch {
			case id == "A-7" && tries[id] < 6:
				return 429, "queue is full"
			case strings.HasSuffix(id, "3") && tries[id] < 2:
				return 503, "shard is away"
			}
			return 0, ""
		}
		bad, err := attempt(t.Context(), Write(server(f), "products", sku).Batch(50, 1<<20), 100)
		if err != nil || len(bad) > 0 {
			t.Fatal(err, bad)
		}
		checkDocs(t, f, "products", 100)
		if tries["A-7"] != 6 || tries["A-13"] != 2 || tries["A-8"] != 1 {
			t.Errorf("A-7 sent %d times, A-13 %d, A-8 %d; want 6, 2, 1", tries["A-7"], tries["A-13"], tries["A-8"])
		}
	})
}

// A server that stays away fails the attempt after GiveUp. One that accepts a few documents at a
// time does not.
func TestGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &searchtest.Fake{}
		f.Create("products")
		f.Before = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			w.WriteHeader(503)
			return true
		}
		s := server(f)
		s.GiveUp = time.Minute
		start := time.Now()
		_, err := attempt(t.Context(), Write(s, "products", sku), 10)
		if took := time.Since(start); err == nil || !strings.Contains(err.Error(), "status 503: no reason given; given up after 1m") || took > 2*time.Minute {
			t.Errorf("%v after %v", err, took)
		}
		f.Before = nil
		n := 0
		f.Refuse = func(string, string, []byte) (int, string) {
			if n++; n%4 == 0 {
				return 0, ""
			}
			return 429, "queue is full"
		}
		if _, err := attempt(t.Context(), Write(s, "products", sku), 30); err != nil {
			t.Error(err)
		}
		checkDocs(t, f, "products", 30)
	})
}

// A request that is too large is halved until it fits; a single document that is too large is bad.
func TestTooLarge(t *testing.T) {
	f := &searchtest.Fake{MaxBody: 700}
	f.Create("products")
	long := doc{SKU: "long", Name: strings.Repeat("x", 1000)}
	s := Write(server(f), "products", sku).Batch(1000, 4000)
	w, err := s.Open(t.Context(), connector.SinkTask{Job: "job"})
	if err != nil {
		t.Fatal(err)
	}
	var bad []string
	w.(connector.RefusingWriter).SetBad(func(err error, record []byte) error {
		bad = append(bad, fmt.Sprintf("%v %.20s", err, record))
		return nil
	})
	for i := range int64(200) {
		d := product(i)
		if err := w.Write(&d); err != nil {
			t.Fatal(err)
		}
		if i == 100 {
			if err := w.Write(&long); err != nil {
				t.Fatal(err)
			}
		}
	}
	b, err := w.Close()
	if err != nil || string(b) != `{"index":"","docs":200}` {
		t.Errorf("%s, %v", b, err)
	}
	checkDocs(t, f, "products", 200)
	if len(bad) != 1 || !strings.HasPrefix(bad[0], `document "long": status 413`) || !strings.HasSuffix(bad[0], `{"sku":"long","name"`) {
		t.Errorf("bad: %q", bad)
	}
}

// Refused documents go to the quarantine with the reason of the server, others are written.
func TestQuarantine(t *testing.T) {
	f := &searchtest.Fake{}
	f.Create("products")
	f.Refuse = func(_, id string, _ []byte) (int, string) {
		if id == "A-5" {
			return 400, "failed to parse field [price]"
		}
		return 0, ""
	}
	file := filepath.Join(t.TempDir(), "bad.jsonl")
	sink := Write(server(f), "products", func(d doc) string {
		if d.SKU == "A-8" {
			return ""
		}
		return d.SKU
	})
	target := mapreduce.Local{Reporting: mapreduce.Reporting{Quarantine: file}}
	err := load(t.Context(), sink, products(20), target)
	if err == nil || !strings.Contains(err.Error(), "MaxBad") {
		t.Errorf("without MaxBad: %v", err)
	}
	if err := load(t.Context(), sink, products(20), target, mapreduce.MaxBad(2)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`document \"A-5\": refused_exception: failed to parse field [price]`, `"record":"{\"sku\":\"A-5\"`, `its ID is empty`, `"operator":"write at sink_test.go:`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("quarantine lacks %s:\n%s", want, b)
		}
	}
	if n := len(f.Docs("products")); n != 18 {
		t.Errorf("%d documents, want 18", n)
	}
}

// Requests are as small as the memory of an attempt demands.
func TestMemory(t *testing.T) {
	const n = 60_000
	for memory, most := range map[int64]int{8 << 20: 1 << 20, 32 << 20: 4 << 20} {
		f, largest := &searchtest.Fake{}, atomic.Int64{}
		f.Create("products")
		f.Before = func(_ http.ResponseWriter, _ *http.Request, body []byte) bool {
			for was := largest.Load(); int64(len(body)) > was && !largest.CompareAndSwap(was, int64(len(body))); was = largest.Load() {
			}
			return false
		}
		sink := Write(server(f), "products", sku).Batch(1<<30, 1<<30)
		if err := load(t.Context(), sink, products(n).Cut(1), mapreduce.Local{Slots: 1, Memory: memory}); err != nil {
			t.Fatal(err)
		}
		if got := int(largest.Load()); got > most || got < most/2 {
			t.Errorf("memory %d: the largest request has %d bytes, want about %d", memory, got, most)
		}
		if got := len(f.Docs("products")); got != n {
			t.Errorf("memory %d: %d documents, want %d", memory, got, n)
		}
	}
}

// Deletions delete. An older event after a newer one changes nothing.
func TestVersions(t *testing.T) {
	f := &searchtest.Fake{}
	f.Create("products")
	sink := Write(server(f), "products", sku).Version(changed).Deleted(func(d doc) bool { return d.Gone })
	for _, x := range []struct {
		name  string
		d     doc
		price string
	}{
		{"new", doc{SKU: "A", Price: 1, Changed: 10}, "1"},
		{"newer", doc{SKU: "A", Price: 2, Changed: 20}, "2"},
		{"late", doc{SKU: "A", Price: 3, Changed: 15}, "2"},
		{"late deletion", doc{SKU: "A", Changed: 12, Gone: true}, "2"},
		{"deletion", doc{SKU: "A", Changed: 30, Gone: true}, ""},
		{"deletion again", doc{SKU: "A", Changed: 31, Gone: true}, ""},
		{"late after the deletion", doc{SKU: "A", Price: 4, Changed: 25}, ""},
	} {
		if err := load(t.Context(), sink, memio.Of(x.d), mapreduce.Local{}); err != nil {
			t.Fatal(x.name, err)
		}
		if got := f.Docs("products")["A"]; (got == "") != (x.price == "") || !strings.HasSuffix(strings.TrimSuffix(got, "}"), x.price) {
			t.Errorf("%s: %s, want price %s", x.name, got, x.price)
		}
	}
}
