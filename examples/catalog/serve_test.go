package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/searchtest"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/indexio"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// listings writes n listings, and one with text that a page must escape.
func listings(t *testing.T, dir string, n int64) {
	def := mapreduce.Define("listings", func(p *mapreduce.Plan, dir string) mapreduce.Dataset[mapreduce.None] {
		mapreduce.Read(p, memio.Generate(n, func(i int64) Listing {
			x := Product{ID: i + 1, UpdatedAt: time.Unix(i, 0), SKU: fmt.Sprint("A-", i), Title: fmt.Sprintf("Garden hose %d m", i), Brand: []string{"Acme", "Bolt & Söhne"}[i%2],
				Category: "garden", Price: Cents(500 + 1000*i), Stock: i, Rating: 4.5, Attributes: map[string]string{"color": "red"}}
			if i == 3 {
				x.Title, x.Brand = `<script>alert("x")</script>`, `"><b>`
			}
			return Listing{Product: x}
		})).WriteTo(jsonio.Write[Listing](dir))
		return mapreduce.Nothing(p)
	})
	if _, err := def.Collect(t.Context(), mapreduce.Local{}, dir); err != nil {
		t.Fatal(err)
	}
}

// A page of another site that points its name to this machine gets nothing.
func TestForeignHost(t *testing.T) {
	page := httptest.NewServer(guard(http.NotFoundHandler()))
	defer page.Close()
	for host, want := range map[string]int{"": 404, "localhost:80": 404, "[::1]:80": 404, "127.0.0.1": 404, "rebound.example": 403, "127.0.0.1.rebound.example:80": 403} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, page.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		resp, err := page.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("host %q: status %d, want %d", host, resp.StatusCode, want)
		}
	}
}

// The page finds, filters, sorts and pages, and escapes what products and users contain.
func TestPage(t *testing.T) {
	dir := t.TempDir()
	listings(t, filepath.Join(dir, "listings"), 60)
	fake := &searchtest.Fake{}
	engine := httptest.NewServer(fake)
	defer engine.Close()
	in := IndexParams{Listings: filepath.Join(dir, "listings"), Out: filepath.Join(dir, "index"), Server: engine.URL}
	if err := buildIndex(t.Context(), mapreduce.Local{}, in); err != nil {
		t.Fatal(err)
	}
	if n := len(fake.Docs("products")); n != 60 {
		t.Errorf("the search server has %d documents, want 60", n)
	}
	index, err := indexio.Open[Document](in.Out)
	if err != nil {
		t.Fatal(err)
	}
	defer index.Close()
	page := httptest.NewServer(search{index, nil})
	defer page.Close()
	for _, c := range []struct {
		query  string
		status int
		want   []string
	}{
		{"", 200, []string{"60 products", "Page 1 of 3", `<span>Bolt &amp; Söhne</span><small>29</small>`, "200 and more"}},
		{"q=garden+hose+12", 200, []string{"Garden hose 12 m", "125.00 €", "12 in stock"}},
		{"brand=Acme&sort=-price", 200, []string{"30 products", `href="/?brand=Acme&amp;sort=price"`, `<a href="/?sort=-price" aria-current="true"><span>Acme</span>`, "585.00 €"}},
		{"price=10+to+50&page=1", 200, []string{"4 products", "45.00 €"}},
		{"page=3", 200, []string{"Page 3 of 3", `rel="prev"`}},
		{"q=moon", 200, []string{"0 products", "Nothing found"}},
		{"q=" + url.QueryEscape(`"><script>alert(1)</script>`), 200, []string{`value="&#34;&gt;&lt;script&gt;alert(1)`}},
		{"q=alert", 200, []string{"&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;", "&#34;&gt;&lt;b&gt;"}},
		{"sort=moon", 400, []string{"no field &#34;moon&#34;"}},
		{"page=99999", 400, []string{"pages end at 10000"}},
		{"page=-5&q=" + strings.Repeat("ä", 300), 200, []string{"0 products"}},
	} {
		resp, err := http.Get(page.URL + "/?" + c.query)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != c.status {
			t.Errorf("%s: status %d, %v", c.query, resp.StatusCode, err)
		}
		for _, want := range c.want {
			if !strings.Contains(string(b), want) {
				t.Errorf("%s: no %s in\n%s", c.query, want, b[strings.Index(string(b), "<body>"):])
			}
		}
		if strings.Contains(string(b), "<script") || strings.Contains(string(b), "<b>") {
			t.Errorf("%s: markup of a product or user is not escaped", c.query)
		}
	}
}

// The page ends with its context; an index that is newer than the listings is not built again.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	in := IndexParams{Listings: filepath.Join(dir, "listings"), Out: filepath.Join(dir, "index")}
	if err := buildIndex(t.Context(), mapreduce.Local{}, in); err == nil || !strings.Contains(err.Error(), "run catalog without -serve first") {
		t.Error(err)
	}
	listings(t, in.Listings, 5)
	for range 2 {
		if err := buildIndex(t.Context(), mapreduce.Local{}, in); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error)
	go func() { ended <- serve(ctx, w, "127.0.0.1:0", in.Out, nil) }()
	var address string
	if _, err := fmt.Fscanf(r, "search page at %s\n", &address); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(address)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	_ = resp.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
