package indexio

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unsafe"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/search/query"

	"github.com/layshaft/layshaft/internal/jsoncodec"
	"github.com/layshaft/layshaft/internal/report"
)

// Index is an open index of records of type T. Its methods may be called by several goroutines.
type Index[T any] struct {
	all    bleve.IndexAlias
	shards []bleve.Index
	fields []field
	dir    string // temporary
}

// Open opens an index that Write has written to a directory of this machine. It unpacks the index
// into a temporary directory, which Close removes. T must have the same fields as it was written
// with.
func Open[T any](dir string) (x *Index[T], err error) {
	x = &Index[T]{all: bleve.NewIndexAlias()}
	if x.fields, err = fieldsOf(reflect.TypeFor[T]()); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, "manifest.json")); err != nil {
		return nil, fmt.Errorf("index %s is missing or incomplete: %w; write it by indexio.Write", dir, err)
	}
	parts, err := filepath.Glob(filepath.Join(escape(dir), "part-*.bleve"))
	if err != nil {
		return nil, err
	}
	if x.dir, err = os.MkdirTemp("", "layshaft-search-"); err != nil {
		return nil, err
	}
	opened := x
	defer func() {
		if err != nil {
			err = errors.Join(err, opened.Close())
		}
	}()
	for i, part := range parts {
		shard := filepath.Join(x.dir, strconv.Itoa(i))
		if n, err := unpack(part, shard); err != nil {
			return nil, fmt.Errorf("%s: %w", part, err)
		} else if n == 0 {
			continue // of a task without records
		}
		b, err := bleve.OpenUsing(shard, map[string]any{"read_only": true})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part, err)
		}
		x.shards = append(x.shards, b)
		x.all.Add(b)
	}
	return x, nil
}

// escape quotes the characters of a path that are special in a pattern.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// unpack writes the files of an archive below dir, and returns their number.
func unpack(archive, dir string) (n int, err error) {
	f, err := os.Open(archive)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if !filepath.IsLocal(h.Name) {
			return n, fmt.Errorf("file name %q leads out of its directory", h.Name)
		}
		path := filepath.Join(dir, h.Name)
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return n, err
		}
		out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return n, err
		}
		_, err = io.Copy(out, r)
		if err = errors.Join(err, out.Close()); err != nil {
			return n, err
		}
		n++
	}
}

// Close closes the index and removes its temporary directory.
func (x *Index[T]) Close() error {
	var errs []error
	for _, s := range x.shards {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(x.dir))...)
}

// Query selects documents. The zero value finds all of them.
type Query struct {
	// Text is what a user typed. A document must contain each of its words, the last one perhaps as
	// the beginning of a word, in any field with the tag text or keyword.
	Text string
	// Terms are values of fields with the tag keyword; the document must have one of each list.
	Terms map[string][]string
	// Ranges are ranges of fields with the tag number.
	Ranges map[string]Range
	// Facets are fields to count the found documents by.
	Facets []Facet
	// From and Size choose the page: Size documents from number From, counted from 0. Size zero
	// means 10.
	From, Size int
	// Sort is a field with the tag number or keyword; with a minus before it, from the highest to
	// the lowest value. Empty sorts by how well a document fits, then by ID.
	Sort string
}

// Range is a range of numbers from Min to below Max. Nil means no limit.
type Range struct{ Min, Max *float64 }

// Facet is a field to count documents by. A field with the tag number needs Ranges, by name.
type Facet struct {
	Field  string
	Size   int // the most values to return; zero means 10
	Ranges map[string]Range
}

// Count is the number of found documents with a value of a facet, or in a range.
type Count struct {
	Value string // of the field, or the name of the range
	N     int
}

// Result is one page of found documents.
type Result[T any] struct {
	Total  uint64 // all found documents
	Docs   []T
	Facets map[string][]Count // by field; the largest first
	Took   time.Duration
}

// deepest is the last document that a page may show. All documents before a page are collected, so
// a bound keeps a request from filling the memory.
const deepest = 10_000

// Search returns one page of documents.
func (x *Index[T]) Search(ctx context.Context, q Query) (*Result[T], error) {
	if q.Size == 0 {
		q.Size = 10
	}
	if q.From < 0 || q.Size < 0 || q.From+q.Size > deepest {
		return nil, fmt.Errorf("page of %s from number %d: pages end at %d; narrow the query instead", report.Plural(q.Size, "document"), q.From, deepest)
	}
	var must []query.Query
	if words := strings.Fields(q.Text); len(words) > 0 {
		words = slices.DeleteFunc(words, func(w string) bool { return !strings.ContainsFunc(w, isWordRune) })
		if len(words) == 0 {
			must = append(must, bleve.NewMatchNoneQuery())
		}
		for i, word := range words {
			match := bleve.NewMatchQuery(word)
			match.SetField(textField)
			match.SetOperator(query.MatchQueryOperatorAnd)
			if i < len(words)-1 {
				must = append(must, match)
				continue
			}
			prefix := bleve.NewPrefixQuery(strings.ToLower(word))
			prefix.SetField(textField)
			prefix.SetBoost(0.5)
			must = append(must, bleve.NewDisjunctionQuery(match, prefix))
		}
	}
	for _, name := range sortedKeys(q.Terms) {
		if err := x.check(name, exact); err != nil {
			return nil, err
		}
		var one []query.Query
		for _, value := range q.Terms[name] {
			term := bleve.NewTermQuery(value)
			term.SetField(name)
			term.SetBoost(0)
			one = append(one, term)
		}
		must = append(must, bleve.NewDisjunctionQuery(one...))
	}
	for _, name := range sortedKeys(q.Ranges) {
		if err := x.check(name, numeric); err != nil {
			return nil, err
		}
		r := bleve.NewNumericRangeQuery(q.Ranges[name].Min, q.Ranges[name].Max)
		r.SetField(name)
		r.SetBoost(0)
		must = append(must, r)
	}
	var all query.Query = bleve.NewMatchAllQuery()
	if len(must) > 0 {
		all = bleve.NewConjunctionQuery(must...)
	}
	req := bleve.NewSearchRequestOptions(all, q.Size, q.From, false)
	req.Fields = []string{sourceField}
	req.SortBy([]string{"-_score", "_id"})
	if name := strings.TrimPrefix(q.Sort, "-"); name != "" {
		if x.check(name, numeric) != nil && x.check(name, exact) != nil {
			return nil, x.check(name, numeric)
		}
		req.SortBy([]string{q.Sort, "_id"})
	}
	for _, f := range q.Facets {
		if err := x.check(f.Field, map[bool]kind{false: exact, true: numeric}[len(f.Ranges) > 0]); err != nil {
			return nil, err
		}
		size := f.Size
		if size == 0 {
			size = 10
		}
		facet := bleve.NewFacetRequest(f.Field, size)
		for _, name := range sortedKeys(f.Ranges) {
			facet.AddNumericRange(name, f.Ranges[name].Min, f.Ranges[name].Max)
		}
		req.AddFacet(f.Field, facet)
	}
	if len(x.shards) == 0 {
		return &Result[T]{Facets: map[string][]Count{}}, nil
	}
	found, err := x.all.SearchInContext(ctx, req)
	if err != nil {
		return nil, err
	}
	return x.result(found)
}

// isWordRune reports whether a rune is part of a word, so that a text of signs has no words.
func isWordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// check returns an error unless a field has a kind.
func (x *Index[T]) check(name string, k kind) error {
	if slices.ContainsFunc(x.fields, func(f field) bool { return f.name == name && f.kind == k }) {
		return nil
	}
	return fmt.Errorf("%v has no field %q with the tag index:%q", reflect.TypeFor[T](), name, map[kind]string{exact: "keyword", numeric: "number"}[k])
}

func (x *Index[T]) result(found *bleve.SearchResult) (*Result[T], error) {
	r := &Result[T]{Total: found.Total, Took: found.Took, Facets: map[string][]Count{}}
	dec, err := jsoncodec.NewDecoder(reflect.TypeFor[T]())
	if err != nil {
		return nil, err
	}
	for _, hit := range found.Hits {
		source, _ := hit.Fields[sourceField].(string)
		line := append(make([]byte, 0, len(source)+1+jsoncodec.Padding), source...)
		line = append(line, '\n')
		var doc T
		if err := dec.Decode(line[:len(source)], unsafe.Pointer(&doc)); err != nil {
			return nil, fmt.Errorf("document %q: %w", hit.ID, err)
		}
		r.Docs = append(r.Docs, doc)
	}
	for name, f := range found.Facets {
		var list []Count
		if f.Terms != nil {
			for _, t := range f.Terms.Terms() {
				list = append(list, Count{t.Term, t.Count})
			}
		}
		for _, t := range f.NumericRanges {
			list = append(list, Count{t.Name, t.Count})
		}
		r.Facets[name] = list
	}
	return r, nil
}
