package main

import (
	"context"
	_ "embed"
	"errors"
	"html/template"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/layshaft/layshaft/mapreduce/indexio"
)

//go:embed page.html
var pageText string

// page escapes all values by their place in the HTML.
var page = template.Must(template.New("page").Parse(pageText))

// perPage is the number of products on a page.
const perPage = 24

// view is the content of the page.
type view struct {
	Text, Sort, Error          string
	Result                     *indexio.Result[Document]
	Brands, Categories, Prices []option
	Sorts                      []option
	Page, Pages                int
	Previous, Next             string
	Hidden                     url.Values // the chosen values, for the form
}

// search is the handler of the search page.
type search struct {
	index *indexio.Index[Document]
	renew func(context.Context, []Document) ([]Document, error) // to newer documents; may be nil
}

// ServeHTTP answers one query of the page: q, brand, category, price, sort and page.
func (s search) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.URL.Path != "/" || r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "there is only the search page, at /", http.StatusNotFound)
		return
	}
	v := s.find(r.Context(), r.URL.Query())
	if v.Error != "" {
		w.WriteHeader(http.StatusBadRequest)
	}
	if err := page.Execute(w, v); err != nil {
		log.Print("catalog: ", err) // the reader has left
	}
}

// find returns the content of the page for a query.
func (s search) find(ctx context.Context, in url.Values) view {
	number, _ := strconv.Atoi(in.Get("page"))
	v := view{Text: in.Get("q"), Sort: in.Get("sort"), Page: max(number, 1), Hidden: url.Values{}}
	if len(v.Text) > 200 {
		v.Text = strings.ToValidUTF8(v.Text[:200], "")
	}
	for _, name := range []string{"brand", "category", "price", "sort"} {
		if in.Has(name) {
			v.Hidden[name] = in[name]
		}
	}
	q := indexio.Query{Text: v.Text, Sort: v.Sort, From: (v.Page - 1) * perPage, Size: perPage, Terms: map[string][]string{}, Ranges: map[string]indexio.Range{}}
	for _, name := range []string{"brand", "category"} {
		if in.Has(name) {
			q.Terms[name] = in[name]
		}
	}
	prices := map[string]indexio.Range{}
	for _, p := range priceRanges {
		if prices[p.Name] = rangeOf(p.Min, p.Max); in.Get("price") == p.Name {
			q.Ranges["price"] = prices[p.Name]
		}
	}
	q.Facets = []indexio.Facet{{Field: "brand", Size: 12}, {Field: "category", Size: 12}, {Field: "price", Ranges: prices}}
	var err error
	if v.Result, err = s.index.Search(ctx, q); err != nil {
		v.Error, v.Result = err.Error(), &indexio.Result[Document]{}
		return v
	}
	if s.renew != nil {
		if v.Result.Docs, err = s.renew(ctx, v.Result.Docs); err != nil {
			log.Print("catalog: the page shows documents of the night: ", err)
		}
	}
	v.Pages = int((min(v.Result.Total, 10_000-perPage) + perPage - 1) / perPage)
	v.Brands, v.Categories = options(in, "brand", v.Result.Facets["brand"]), options(in, "category", v.Result.Facets["category"])
	byName := map[string]int{}
	for _, c := range v.Result.Facets["price"] {
		byName[c.Value] = c.N
	}
	for _, p := range priceRanges {
		v.Prices = append(v.Prices, toggle(in, "price", p.Name, byName[p.Name]))
	}
	for _, o := range sorts {
		v.Sorts = append(v.Sorts, option{o.Name, link(in, "sort", o.Field), 0, v.Sort == o.Field})
	}
	if v.Page > 1 {
		v.Previous = link(in, "page", strconv.Itoa(v.Page-1))
	}
	if v.Page < v.Pages {
		v.Next = link(in, "page", strconv.Itoa(v.Page+1))
	}
	return v
}

// serve shows the search page until ctx ends. renew may be nil.
func serve(ctx context.Context, out io.Writer, addr, dir string, renew func(context.Context, []Document) ([]Document, error)) error {
	index, err := indexio.Open[Document](dir)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return errors.Join(err, index.Close())
	}
	srv := &http.Server{Handler: guard(search{index, renew}), ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	_, _ = io.WriteString(out, "search page at http://"+l.Addr().String()+"/\n")
	if err = srv.Serve(l); ctx.Err() != nil {
		err = nil // stopped by the user
	}
	return errors.Join(err, index.Close())
}
