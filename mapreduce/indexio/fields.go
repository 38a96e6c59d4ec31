package indexio

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/analysis/analyzer/custom"
	"github.com/blevesearch/bleve/v2/analysis/analyzer/keyword"
	"github.com/blevesearch/bleve/v2/analysis/token/lowercase"
	"github.com/blevesearch/bleve/v2/analysis/tokenizer/unicode"
	"github.com/blevesearch/bleve/v2/mapping"
)

// The fields of an index beside the fields of the records.
const (
	textField   = "_text"   // all words of a document
	sourceField = "_source" // the document as JSON
)

// kind is how a field is indexed.
type kind int

const (
	text    kind = iota // its words are found
	exact               // its words are found, and it can be filtered and counted as a whole
	numeric             // it can be filtered by ranges, counted, and sorted by
)

// field is a field of T with a tag index.
type field struct {
	name string // in JSON
	at   []int  // for reflect.Value.FieldByIndex
	kind kind
}

// fieldsOf returns the indexed fields of a struct type.
func fieldsOf(t reflect.Type) ([]field, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%v is no struct; its fields name what is indexed, by tags such as index:\"text\"", t)
	}
	var list []field
	for _, f := range reflect.VisibleFields(t) {
		tag, ok := f.Tag.Lookup("index")
		if !ok || !f.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		x := field{name: name, at: f.Index}
		words, number := isWords(f.Type), isNumber(f.Type)
		switch {
		case tag == "text" && words:
			x.kind = text
		case tag == "keyword" && words:
			x.kind = exact
		case tag == "number" && number:
			x.kind = numeric
		default:
			return nil, fmt.Errorf("%v.%s: tag index:%q does not fit its type %v; use text or keyword for strings, slices and maps of strings, and number for numbers", t, f.Name, tag, f.Type)
		}
		if slices.ContainsFunc(list, func(y field) bool { return y.name == name }) {
			return nil, fmt.Errorf("%v.%s: another field is named %q too", t, f.Name, name)
		}
		list = append(list, x)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%v has no field with a tag such as index:\"text\", so nothing could be found", t)
	}
	return list, nil
}

func isWords(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String:
		return true
	case reflect.Slice:
		return t.Elem().Kind() == reflect.String
	case reflect.Map:
		return t.Elem().Kind() == reflect.String && t.Key().Kind() == reflect.String
	}
	return false
}

func isNumber(t reflect.Type) bool {
	return reflect.Int <= t.Kind() && t.Kind() <= reflect.Float64 && t.Kind() != reflect.Uintptr
}

// wordsOf returns the strings of a value; a map gives them in the order of its keys.
func wordsOf(v reflect.Value) []string {
	switch v.Kind() {
	case reflect.String:
		return []string{v.String()}
	case reflect.Slice:
		list := make([]string, v.Len())
		for i := range list {
			list[i] = v.Index(i).String()
		}
		return list
	}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = v.MapIndex(k).String()
	}
	return list
}

func numberOf(v reflect.Value) float64 {
	switch {
	case v.CanInt():
		return float64(v.Int())
	case v.CanUint():
		return float64(v.Uint())
	}
	return v.Float()
}

// document returns what bleve indexes of a record.
func document(fields []field, v reflect.Value, source string) map[string]any {
	doc := map[string]any{sourceField: source}
	var all []string
	for _, f := range fields {
		x := v.FieldByIndex(f.at)
		if f.kind == numeric {
			doc[f.name] = numberOf(x)
			continue
		}
		words := wordsOf(x)
		all = append(all, words...)
		if f.kind == exact {
			doc[f.name] = words
		}
	}
	doc[textField] = strings.Join(all, " \n")
	return doc
}

// mappingOf returns the mapping of an index.
func mappingOf(fields []field) mapping.IndexMapping {
	doc := bleve.NewDocumentStaticMapping()
	add := func(name string, f *mapping.FieldMapping, store, index, values bool) {
		f.Store, f.Index, f.DocValues, f.IncludeInAll, f.IncludeTermVectors = store, index, values, false, false
		doc.AddFieldMappingsAt(name, f)
	}
	words := bleve.NewTextFieldMapping()
	words.Analyzer = "words"
	add(textField, words, false, true, false)
	source := bleve.NewTextFieldMapping()
	source.Analyzer = keyword.Name
	add(sourceField, source, true, false, false)
	for _, f := range fields {
		switch f.kind {
		case exact:
			add(f.name, bleve.NewKeywordFieldMapping(), false, true, true)
		case numeric:
			add(f.name, bleve.NewNumericFieldMapping(), false, true, true)
		}
	}
	m := bleve.NewIndexMapping()
	// without stop words: a product may be called The Who
	if err := m.AddCustomAnalyzer("words", map[string]any{"type": custom.Name, "tokenizer": unicode.Name, "token_filters": []string{lowercase.Name}}); err != nil {
		panic(err) // the names belong to registered parts
	}
	m.DefaultMapping = doc
	m.IndexDynamic, m.StoreDynamic, m.DocValuesDynamic = false, false, false
	return m
}
