// Package searchio writes documents to Elasticsearch and OpenSearch, through net/http alone. Write
// is a sink for pipelines, Open a client for single documents.
//
//	server := searchio.Server{URL: "https://search.example:9200"}
//	docs.WriteTo(searchio.Write(server, "products", func(d Doc) string { return d.SKU }).
//		Version(func(d Doc) int64 { return d.Changed.UnixMicro() }))
//
// # Again is harmless
//
// Each document has an ID and, with Version, a version, both made from its record. So a task that
// runs again, a request that is sent again after a lost connection, and a whole job that runs again
// change nothing. The server keeps a newer document and answers 409, which counts as done.
//
// # Kind to the server
//
// At most Server.InFlight requests are in flight over the whole cluster, whatever the number of
// workers: attempts hold parts of a budget; see connector.BudgetUser. A request is bounded by
// documents and bytes. If the server answers 429 or 5xx for a request or for single documents,
// these are sent again after a pause. Pauses double up to ten seconds, and are as long as the
// header Retry-After asks for. Meanwhile the attempt sends nothing else. A request that the server
// refuses as too large (413) is halved. A request with half an answer, or none in time, is sent
// again.
//
// # Bad documents
//
// A document that the server refuses for its content (400) is a bad record. It is put into the
// quarantine with the server's reason, within mapreduce.MaxBad; see mapreduce.Reporting.
//
// # A new index every night
//
// With Rebuild, the job fills a new index behind an alias, and switches the alias at its end.
//
// # Credentials
//
// Secrets are never part of a plan. Each process reads them from its environment; see Server.Env. A
// program on a cluster needs them where it is started, and workers need them in theirs.
package searchio
