package searchio

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/layshaft/layshaft/internal/searchtest"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

const mapping = `{"mappings": {"dynamic": "strict", "properties": {"sku": {"type": "keyword"}, "name": {"type": "text"}, "price": {"type": "double"}}}}`

// real is a server under test.
type real struct {
	t   testing.TB
	url string
}

// request sends a request and returns the answer.
func (r real) request(method, path, body string) string {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

// docs returns the documents of an index as the server stores them, and the highest number that it
// gave to a change.
func (r real) docs(index string) (docs map[string]string, changes int64) {
	r.t.Helper()
	r.request("POST", "/"+index+"/_refresh", "")
	docs = map[string]string{}
	after := ""
	for {
		var page struct {
			Hits struct {
				Hits []struct {
					ID     string          `json:"_id"`
					Source json.RawMessage `json:"_source"`
					Seq    int64           `json:"_seq_no"`
					Sort   []string        `json:"sort"`
				}
			}
		}
		text := r.request("POST", "/"+index+"/_search", `{"size":5000,"seq_no_primary_term":true,"sort":[{"sku":"asc"}]`+after+`}`)
		if err := json.Unmarshal([]byte(text), &page); err != nil {
			r.t.Fatal(err, text)
		}
		for _, h := range page.Hits.Hits {
			docs[h.ID] = string(h.Source)
			changes = max(changes, h.Seq)
			after = fmt.Sprintf(`,"search_after":[%q]`, h.Sort[0])
		}
		if len(page.Hits.Hits) == 0 {
			return docs, changes
		}
	}
}

func (r real) check(index string, n int64) (changes int64) {
	r.t.Helper()
	docs, changes := r.docs(index)
	if !maps.Equal(docs, want(n)) {
		r.t.Errorf("%s has %d documents, want those of %d records", index, len(docs), n)
	}
	return changes
}

// A real OpenSearch with a write queue for one request, behind a proxy that fails one request in
// five, has each document once.
func TestOpenSearch(t *testing.T) {
	if testing.Short() {
		t.Skip("starts OpenSearch")
	}
	r := real{t, searchtest.Start(t, "thread_pool.write.queue_size=1")}
	proxy := &searchtest.Proxy{URL: r.url, Fault: func(n int) string {
		return []string{"", "cut", "", "", "", "cut after", "", "", "503", "", "half", "", "", "429", ""}[n%15]
	}}
	front := httptest.NewServer(proxy)
	front.Config.ErrorLog = nil
	defer front.Close()
	s := Server{URL: front.URL, InFlight: 4}
	const n = 10_000
	sink := Write(s, "products", sku).Batch(100, 1<<20).Rebuild(Rebuild{Body: mapping})
	for run := range 2 {
		if err := load(t.Context(), sink, products(n+int64(run)).Cut(8), mapreduce.Local{Slots: 8}); err != nil {
			t.Fatal(err)
		}
		r.check("products", n+int64(run))
	}
	if most := proxy.Most(); most > 4 {
		t.Errorf("%d requests in flight, want at most 4", most)
	}
	if got := r.request("GET", "/products/_settings?filter_path=*.settings.index.refresh_interval,*.settings.index.number_of_replicas", ""); got != `{"products-000002":{"settings":{"index":{"number_of_replicas":"1"}}}}` {
		t.Errorf("settings of the new index: %s", got)
	}
	if stats := r.request("GET", "/_nodes/stats/thread_pool?filter_path=nodes.*.thread_pool.write.rejected", ""); strings.Contains(stats, `"rejected":0`) {
		t.Logf("no request was rejected by the queue: %s", stats)
	}
	if name, err := Rollback(t.Context(), s, "products"); err != nil || name != "products-000001" {
		t.Errorf("rollback to %q: %v", name, err)
	}
	r.check("products", n)

	// into an index that exists, with versions: the second run and a late event change nothing
	r.request("PUT", "/live", mapping)
	live := Write(s, "live", sku).Version(changed).Deleted(func(d doc) bool { return d.Gone }).Batch(500, 1<<20)
	var before int64
	for run := range 2 {
		if err := load(t.Context(), live, products(2000).Cut(4), mapreduce.Local{Slots: 4}); err != nil {
			t.Fatal(err)
		}
		if after := r.check("live", 2000); run > 0 && after != before {
			t.Errorf("the second run changed documents: number %d, was %d", after, before)
		} else {
			before = after
		}
	}
	late := product(7)
	late.Name, late.Changed = "late", 3
	gone := product(8)
	gone.Changed, gone.Gone = 100, true
	if err := load(t.Context(), live, memio.Of(late, gone), mapreduce.Local{}); err != nil {
		t.Fatal(err)
	}
	docs, _ := r.docs("live")
	if docs["A-7"] != want(8)["A-7"] || docs["A-8"] != "" {
		t.Errorf("after a late change and a deletion: %q and %q", docs["A-7"], docs["A-8"])
	}

	// refused documents and mappings
	file := filepath.Join(t.TempDir(), "bad.jsonl")
	err := load(t.Context(), Write(s, "narrow", sku).Rebuild(Rebuild{Body: strings.Replace(mapping, `"text"`, `"double"`, 1)}), products(3), mapreduce.Local{Reporting: mapreduce.Reporting{Quarantine: file}}, mapreduce.MaxBad(3))
	if b, readErr := os.ReadFile(file); err != nil || readErr != nil || strings.Count(string(b), "failed to parse field [name] of type [double]") != 3 {
		t.Errorf("%v, %v, quarantine:\n%s", err, readErr, b)
	}
	err = load(t.Context(), Write(s, "wrong", sku).Rebuild(Rebuild{Body: strings.Replace(mapping, `"text"`, `"txt"`, 1)}), products(3), mapreduce.Local{})
	if err == nil || !strings.Contains(err.Error(), "No handler for type [txt]") {
		t.Errorf("a wrong mapping: %v", err)
	}
	if got := r.request("GET", "/_cat/indices?h=index", ""); strings.Contains(got, "trial") || strings.Contains(got, "wrong") {
		t.Errorf("left behind: %s", got)
	}
}

// straight is a loop of bulk requests as one writes it by hand, with so many in flight.
func straight(b *testing.B, url string, n, perRequest, inFlight int64) {
	var next atomic.Int64
	done := make(chan error, inFlight)
	for range inFlight {
		go func() {
			var body bytes.Buffer
			out := json.NewEncoder(&body)
			for {
				from := next.Add(perRequest) - perRequest
				if from >= n {
					done <- nil
					return
				}
				body.Reset()
				for i := range perRequest {
					d := product(from + i)
					fmt.Fprintf(&body, `{"index":{"_id":%q}}`+"\n", d.SKU)
					_ = out.Encode(d)
				}
				resp, err := http.Post(url, "application/x-ndjson", bytes.NewReader(body.Bytes()))
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
				if err != nil {
					done <- err
					return
				}
			}
		}()
	}
	for range inFlight {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

// A bulk load by the sink against a straight loop of the same requests with the same concurrency,
// in documents per second. LAYSHAFT_SEARCH_BENCH=1 uses OpenSearch instead of a server that only
// counts.
func BenchmarkLoad(b *testing.B) {
	const n, perRequest = 40_000, 1000
	url, f := "", http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var out bytes.Buffer
		out.WriteString(`{"errors":false,"items":[`)
		for i := range bytes.Count(body, []byte("\n")) / 2 {
			if i > 0 {
				out.WriteByte(',')
			}
			out.WriteString(`{"index":{"status":201}}`)
		}
		out.WriteString("]}")
		_, _ = w.Write(out.Bytes())
	}))
	if os.Getenv("LAYSHAFT_SEARCH_BENCH") != "" {
		url = searchtest.Start(b)
	} else {
		srv := httptest.NewServer(f)
		defer srv.Close()
		url = srv.URL
	}
	r := real{b, url}
	run := 0
	fresh := func() string {
		b.StopTimer()
		defer b.StartTimer()
		run++
		index := "bench" + strconv.Itoa(run)
		if os.Getenv("LAYSHAFT_SEARCH_BENCH") != "" {
			r.request("PUT", "/"+index, strings.Replace(mapping, `{"mappings"`, `{"settings": {"refresh_interval": "-1", "number_of_replicas": 0}, "mappings"`, 1))
		}
		return index
	}
	b.Run("straight", func(b *testing.B) {
		for b.Loop() {
			straight(b, url+"/"+fresh()+"/_bulk", n, perRequest, 4)
		}
		b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "docs/s")
	})
	b.Run("sink", func(b *testing.B) {
		for b.Loop() {
			index := fresh()
			done := make(chan error, 4)
			for part := range int64(4) {
				go func() {
					w, err := Write(Server{URL: url}, index, sku).Open(b.Context(), connector.SinkTask{Job: "bench"})
					for i := part * n / 4; i < (part+1)*n/4 && err == nil; i++ {
						d := product(i)
						err = w.Write(&d)
					}
					if err == nil {
						_, err = w.Close()
					}
					done <- err
				}()
			}
			for range 4 {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "docs/s")
	})
}

// Encoding a document allocates nothing.
func BenchmarkEncode(b *testing.B) {
	enc, err := Write(Server{}, "x", sku).encoder()
	if err != nil {
		b.Fatal(err)
	}
	w := &writer[doc]{s: Write(Server{}, "x", sku).Version(changed).Batch(1<<30, 1<<40), enc: enc, cur: new(batch), bytes: 1 << 40}
	d := product(12345)
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Write(&d); err != nil {
			b.Fatal(err)
		}
		if len(w.cur.ops) == 1000 {
			w.cur.reset()
		}
	}
}
