// Package indexio writes a full-text index that needs no server, and searches it. It is for
// examples, tests and small catalogues, up to some hundred thousand documents on one machine. For
// more, and for changes between two runs, write to a search server by package searchio.
//
//	type Product struct {
//		SKU   string  `json:"sku"`
//		Title string  `json:"title" index:"text"`
//		Brand string  `json:"brand" index:"keyword"`
//		Price float64 `json:"price" index:"number"`
//	}
//	products.WriteTo(indexio.Write("index", func(p Product) string { return p.SKU }))
//	...
//	index, err := indexio.Open[Product]("index")
//	found, err := index.Search(ctx, indexio.Query{Text: "garden hose", Facets: []indexio.Facet{{Field: "brand"}}})
//
// The tag index chooses how a field is used: text for words, keyword for words that can also be
// filtered and counted as a whole, number for ranges and order. Other fields are only returned.
//
// Each task builds one shard, some hundred documents at a time, so the memory does not depend on
// the size of the index. Shards are files, as in the other sinks: they appear when the job
// is done, all or none. The index is made by bleve (github.com/blevesearch/bleve), which
// adds 13 MB to a program that imports this package, and nothing to others.
package indexio
